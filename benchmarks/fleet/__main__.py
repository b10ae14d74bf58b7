"""The command: prints a table for each scene, draws three of them, and says which promises are kept."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import lines
from ..harness import silence
from ..rst import list_table
from .picture import panel
from .run import Course
from .scenes import SCENES, Scene

HEAD = ("", "calls", "succeeded [%]", "p50 [ms]", "p99 [ms]", "p99.9 [ms]", "attempts a call")


def rows(scene: Scene, courses: Mapping[str, Course]) -> list[tuple[str, ...]]:
    """The table."""
    found = []
    for name, course in courses.items():
        latencies = (f"{1000 * course.quantile(q):.0f}" for q in (0.5, 0.99, 0.999))
        succeeded = f"{100 * course.answered(scene.within):.3f}"
        found.append((name, f"{course.calls:,}", succeeded, *latencies, f"{course.attempts / course.calls:.3f}"))
    return found


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def _write(options: argparse.Namespace, played: Sequence[tuple[Scene, Mapping[str, Course]]]) -> None:
    if options.json is not None:
        document = {
            scene.name: {name: dict(zip(HEAD[1:], row, strict=True)) for name, *row in rows(scene, courses)}
            for scene, courses in played
        }
        options.json.write_text(json.dumps({"seed": options.seed, **document}, indent=1) + "\n")
    if options.svg is not None:
        options.svg.write_text(lines.svg([one for one in (panel(*each) for each in played) if one is not None]))
    if options.rst is not None:
        parts = []
        for scene, courses in played:
            parts.extend(list_table(f"{scene.title}; seed {options.seed}", HEAD, rows(scene, courses)))
            parts.extend(f"* {text}: {'kept' if kept else 'BROKEN'}" for text, kept in scene.promises(courses))
            parts.append("")
        options.rst.write_text("\n".join(parts))


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, print, write."""
    names = [scene.name for scene in SCENES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks fleet", description="Fleets in virtual time.")
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"which (all if none is named): {', '.join(names)}")
    parser.add_argument("--seed", type=int, default=1)
    for kind in ("json", "svg", "rst"):
        parser.add_argument(f"--{kind}", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    if unknown := set(options.scenes) - set(names):
        parser.error(f"no scene is called {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    played, broken = [], 0
    for scene in SCENES:
        if options.scenes and scene.name not in options.scenes:
            continue
        with silence():  # of instances that are ejected
            courses = scene.play(options.seed, _progress)
        _progress("")
        print(scene.title)
        for row in (HEAD, *rows(scene, courses)):
            print(f"  {row[0]:<40}" + "".join(f"{cell:>16}" for cell in row[1:]))
        for text, kept in scene.promises(courses):
            broken += not kept
            print(f"  {'kept' if kept else 'BROKEN'}: {text}", flush=True)
        played.append((scene, courses))
    _write(options, played)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
