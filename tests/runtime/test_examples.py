"""The example of docs/kernel.rst, run as it stands there: it prints what its comments say."""

import re
import runpy
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "kernel.py"


async def test_an_actor_crashes_and_goes_on_with_what_it_knew(autojump_clock, capsys) -> None:
    await runpy.run_path(str(EXAMPLE))["main"]()
    said = re.findall(r"print\(.*\)  # ([^:\n]*)", EXAMPLE.read_text())
    assert capsys.readouterr().out.splitlines() == said
