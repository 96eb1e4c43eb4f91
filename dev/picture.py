"""Lines of a recorded terminal session as a picture: `python -m dev.picture TEXT SVG FIRST LAST`."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

_WIDTH = 104


def main() -> int:
    source, target, first, last = sys.argv[1:]
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True)
    for line in Path(source).read_text().splitlines()[int(first) - 1 : int(last)]:
        console.print(Text(line), overflow="ellipsis", no_wrap=True)
    picture = console.export_svg(title="make demo")
    # Fonts of another host: the reader's own will do.
    Path(target).write_text(re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL))
    return 0


if __name__ == "__main__":
    sys.exit(main())
