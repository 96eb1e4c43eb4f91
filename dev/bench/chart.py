"""The chart of the README: CPU per GiB and peak memory, ours beside the others', as SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from dev.bench.contenders import SCHEMES, WORKER
from dev.bench.rows import CPU, RSS, Row, human
from dev.bench.stage import MiB

_WIDTH, _BAR, _GAP = 860, 22, 8
_LABELS, _BARS, _COLUMN = 112, 152, 430
"""Room for names, for bars, and between the two columns."""
_TYPICAL = 16 * MiB
_NAMES = {"http": "plain HTTP", "https": "TLS at both ends"}
_OURS, _OTHERS = "#1f6feb", "#8b949e"
_STYLE = "font: 13px system-ui, sans-serif; fill: #57606a"


def chart(rows: Sequence[Row], subtitle: str) -> str:
    """Bars from the medians, a line from the smallest to the largest, and each as a multiple of ours.

    CPU at the usual part size, memory at the largest, which is where buffers show.
    """
    shown = [row for row in rows if row[CPU]]
    sizes = sorted({row["part_size_bytes"] for row in shown})
    if not sizes:
        return _svg(60, [_text(16, 30, "nothing was measured")])
    typical = _TYPICAL if _TYPICAL in sizes else sizes[0]
    body = [
        _text(16, 28, "CPU seconds per GiB", bold=True),
        _text(16, 46, f"parts of {human(typical)}"),
        _text(16 + _COLUMN, 28, "peak resident memory, MiB", bold=True),
        _text(16 + _COLUMN, 46, f"parts of {human(sizes[-1])}"),
    ]
    longest = {
        figure: max(row[figure]["max"] for row in shown if row["part_size_bytes"] == size)
        for figure, size in ((CPU, typical), (RSS, sizes[-1]))
    }
    top = 76
    for scheme in SCHEMES:
        left = _select(shown, scheme, typical)
        right = _select(shown, scheme, sizes[-1])
        if not left:
            continue
        body.append(_text(16, top, _NAMES[scheme], bold=True))
        body += _bars(16, top + 12, left, CPU, longest[CPU], lambda value: f"{value:.2f}")
        body += _bars(
            16 + _COLUMN, top + 12, right, RSS, longest[RSS], lambda value: f"{value / MiB:.0f}"
        )
        top += 48 + max(len(left), len(right)) * (_BAR + _GAP)
    body.append(_text(16, top, subtitle))
    return _svg(top + 16, body)


def _bars(
    x: int, y: int, rows: Sequence[Row], figure: str, longest: float, write: Callable[[float], str]
) -> list[str]:
    ours = [row[figure]["median"] for row in rows if row["contender"] == WORKER]
    body = []
    for row in rows:
        low, median, high = (row[figure][key] for key in ("min", "median", "max"))
        start, middle = x + _LABELS, y + _BAR / 2
        a, b, c = (start + _BARS * value / longest for value in (low, median, high))
        mine = row["contender"] == WORKER
        times = "" if mine or not ours else f" ({median / ours[0]:.1f} x ours)"
        body += [
            _text(start - 8, middle + 5, row["contender"], bold=mine, anchor="end"),
            f'<rect x="{start}" y="{y}" width="{b - start:.1f}" height="{_BAR}" rx="2"'
            f' fill="{_OURS if mine else _OTHERS}"/>',
            f'<path d="M{a:.1f} {middle}H{c:.1f}" stroke="#24292f" stroke-width="1.5"/>',
            _text(c + 8, middle + 5, write(median) + times, bold=mine),
        ]
        y += _BAR + _GAP
    return body


def _select(rows: Sequence[Row], scheme: str, size: int) -> list[Row]:
    """Of one scheme and part size, the least CPU first."""
    found = [r for r in rows if (r["scheme"], r["part_size_bytes"]) == (scheme, size)]
    return sorted(found, key=lambda row: float(row[CPU]["median"]))


def _text(x: float, y: float, text: str, *, bold: bool = False, anchor: str = "start") -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'


def _svg(height: int, body: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"'
    background = f'<rect width="{_WIDTH}" height="{height}" rx="6" fill="#ffffff"/>'
    inside = "\n".join([background, f'<g style="{_STYLE}">', *body, "</g>"])
    return f'{head} width="{_WIDTH}" height="{height}">\n{inside}\n</svg>\n'
