"""A recorded terminal session as a picture: `python3 -m dev.picture docs/demo.txt docs/demo.svg`."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

_WIDTH = 112


def main() -> int:
    source, target = map(Path, sys.argv[1:])
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True)
    for line in source.read_text().splitlines():
        console.print(Text.from_ansi(line), soft_wrap=False, overflow="ellipsis", no_wrap=True)
    target.write_text(console.export_svg(title="make demo"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
