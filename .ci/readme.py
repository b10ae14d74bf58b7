"""Print one code block of the README, so that CI runs what stands there and not a copy of it.

python .ci/readme.py sh 0        the first block marked `sh`
python .ci/readme.py python 0    the first block marked `python`
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def blocks(language: str, text: str) -> list[str]:
    """All fenced blocks of that language, in order."""
    return re.findall(rf"^```{re.escape(language)}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def main() -> int:
    """Print the block that the command line asks for."""
    language, number = sys.argv[1], int(sys.argv[2])
    found = blocks(language, README.read_text())
    if number >= len(found):
        print(f"README.md has {len(found)} blocks of {language}, so none with number {number}", file=sys.stderr)
        return 1
    print(found[number], end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
