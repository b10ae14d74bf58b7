"""Look into a wheel: is everything in it that users need, and nothing else?

python .ci/check_wheel.py dist/switchgear-0.1.0-py3-none-any.whl
"""

from __future__ import annotations

import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parent.parent


def faults(names: list[str], metadata: str, project: dict[str, object], setuptools: dict[str, object]) -> list[str]:
    """What is wrong with a wheel that holds these files, in words."""
    version = project["version"]
    info = f"switchgear-{version}.dist-info/"
    modules = [name for name in names if not name.startswith(info)]
    missing = [
        f"{package} has no __init__.py in the wheel"
        for package in setuptools["packages"]  # type: ignore[attr-defined]
        if package.replace(".", "/") + "/__init__.py" not in names
    ]
    if "switchgear/py.typed" not in names:
        missing.append("py.typed is missing: type checkers would ignore the annotations")
    if info + "licenses/LICENSE" not in names:
        missing.append("the licence is missing")
    strange = [
        f"{name} has no business in the wheel"
        for name in modules
        if not name.startswith("switchgear/") or PurePosixPath(name).suffix not in {".py", ".typed"}
    ]
    inside = Parser().parsestr(metadata)["Version"]
    wrong = [] if inside == version else [f"the wheel says version {inside}, pyproject.toml says {version}"]
    return missing + strange + wrong + uncovered(modules, setuptools)


def uncovered(modules: list[str], setuptools: dict[str, object]) -> list[str]:
    """Modules of the checkout that did not get into the wheel."""
    folders: dict[str, str] = setuptools["package-dir"]  # type: ignore[assignment]
    return [
        f"{path.relative_to(ROOT)} is not in the wheel"
        for package, folder in folders.items()
        for path in sorted((ROOT / folder).rglob("*.py"))
        if f"{package.replace('.', '/')}/{path.relative_to(ROOT / folder).as_posix()}" not in modules
    ]


def main() -> int:
    """Print the faults of the wheel named on the command line; 1 if there are any."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    version = pyproject["project"]["version"]
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        names = wheel.namelist()
        metadata = wheel.read(f"switchgear-{version}.dist-info/METADATA").decode()
    found = faults(names, metadata, pyproject["project"], pyproject["tool"]["setuptools"])
    for fault in found:
        print(fault, file=sys.stderr)
    print(f"{len(names)} files in the wheel, {len(found)} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
