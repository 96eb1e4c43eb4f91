"""The dashboard's panels as a picture, from a real run: `python -m dev.dashboard docs/dashboard.svg [ADDRESS:PORT]`.

A Prometheus scrapes the operator for a few minutes, while somebody lets it work, for example by `make demo`;
then each panel's queries are drawn. Without an address it is the operator in the cluster of KUBECONFIG. There is no
Grafana in it: the queries are the dashboard's, the drawing is ours.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import re
import socket
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from dev import lab
from dev.cluster.prereqs import install

DASHBOARD = lab.ROOT / "manifests/components/monitoring/dashboard.json"
_SCRAPE = 2
"""Seconds."""
_RATE = "30s"
"""In the place of Grafana's ``$__rate_interval``."""
_WIDTH, _HEIGHT, _GAP, _COLUMNS = 400, 230, 12, 3
_LEFT, _TOP, _RIGHT, _BOTTOM = 72, 40, 16, 78
"""Room around the lines of a panel, for title, numbers and legend."""
_COLOURS = (
    "#1f6feb",
    "#d29922",
    "#2da44e",
    "#cf222e",
    "#8250df",
    "#57606a",
    "#bf3989",
    "#1b7c83",
    "#953800",
    "#24292f",
)
_UNITS = {"Bps": "B/s", "ops": "/s", "reqps": "/s", "s": "s", "short": ""}


@dataclass(frozen=True)
class Line:
    """One series of a panel: its name, and (seconds since the beginning, value) by time."""

    name: str
    points: tuple[tuple[float, float], ...]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.dashboard")
    parser.add_argument("picture", type=Path)
    parser.add_argument("target", nargs="?", metavar="ADDRESS:PORT")
    parser.add_argument(
        "--seconds", type=float, default=300, help="at most an hour; Ctrl-C ends it"
    )
    options = parser.parse_args()
    with prometheus(options.target or _operator()) as address:
        print(f"Prometheus at http://{address} watches for {options.seconds:.0f} s")
        begin = time.time()
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(min(options.seconds, 3600))
        options.picture.write_text(draw(address, begin, time.time()))
    return 0


def _operator() -> str:
    selector = "--selector=app.kubernetes.io/component=operator"
    (pod,) = lab.get("--namespace", lab.SYSTEM, "pods", selector)["items"]
    return f"{pod['status']['podIP']}:8081"


@contextlib.contextmanager
def prometheus(target: str) -> Iterator[str]:
    """A Prometheus on loopback that scrapes ``target``; its address."""
    install({"prometheus": "prometheus"})
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as directory:
        config = {
            "global": {"scrape_interval": f"{_SCRAPE}s"},
            "scrape_configs": [
                {
                    "job_name": "multipartcopy",
                    "honor_labels": True,
                    "static_configs": [{"targets": [target]}],
                }
            ],
        }
        Path(directory, "prometheus.yml").write_text(json.dumps(config))
        command = ["prometheus", f"--web.listen-address={address}", "--log.level=error"]
        command += [f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}"]
        server = subprocess.Popen(command)
        try:
            lab.wait_until("Prometheus", lambda: _answers(address), 30)
            yield address
        finally:
            server.terminate()
            server.wait(30)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready", timeout=5):
            return True
    except OSError:
        return False


def draw(address: str, begin: float, end: float) -> str:
    """All panels of the dashboard as SVG, from ``begin`` to ``end`` (Unix time)."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    body = []
    for number, panel in enumerate(panels):
        lines = [line for target in panel["targets"] for line in query(address, target, begin, end)]
        row, column = divmod(number, _COLUMNS)
        at = f"translate({_GAP + column * (_WIDTH + _GAP)} {_GAP + row * (_HEIGHT + _GAP)})"
        unit = _UNITS[panel["fieldConfig"]["defaults"]["unit"]]
        inside = "\n".join(_panel(panel["title"], lines, unit, end - begin))
        body.append(f'<g transform="{at}">\n{inside}\n</g>')
    rows = -(-len(panels) // _COLUMNS)
    width, height = (
        _GAP + count * (size + _GAP) for count, size in ((_COLUMNS, _WIDTH), (rows, _HEIGHT))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' style="font: 12px system-ui, sans-serif">\n'
        f'<rect width="{width}" height="{height}" fill="#f6f8fa"/>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def query(address: str, target: dict[str, str], begin: float, end: float) -> list[Line]:
    """One query of a panel, as Grafana would ask it."""
    parameters = {
        "query": target["expr"].replace("$__rate_interval", _RATE),
        "start": begin,
        "end": end,
        "step": _step(end - begin),
    }
    url = f"http://{address}/api/v1/query_range?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        series: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return [
        Line(
            _legend(target["legendFormat"], one["metric"]),
            tuple((t - begin, float(v)) for t, v in one["values"] if v != "NaN"),
        )
        for one in series
    ]


def _step(seconds: float) -> float:
    return max(1.0, seconds / 200)


def _legend(template: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), template)


def _panel(title: str, lines: Sequence[Line], unit: str, seconds: float) -> list[str]:
    lines = sorted(lines, key=lambda line: -max((v for _, v in line.points), default=0))
    most = max((v for line in lines for _, v in line.points), default=0.0) or 1.0
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    body = [
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="4" fill="#ffffff" stroke="#d0d7de"/>',
        _text(12, 22, title, bold=True),
    ]
    for share in (0.0, 0.5, 1.0):
        y = _TOP + height * (1 - share)
        body.append(f'<path d="M{_LEFT} {y:.1f}h{width}" stroke="#eaeef2"/>')
        body.append(_text(_LEFT - 6, y + 4, _number(most * share, unit), anchor="end"))
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        x = _LEFT + width * share
        body.append(_text(x, _TOP + height + 16, f"{seconds * share:.0f} s", anchor=anchor))
    for number, line in enumerate(lines):
        colour = _COLOURS[number % len(_COLOURS)]
        path, last = "", -math.inf
        for moment, value in line.points:
            # Where a query had no answer for a while there is a gap.
            path += "M" if moment - last > 1.5 * _step(seconds) else "L"
            x, y = _LEFT + width * moment / seconds, _TOP + height * (1 - value / most)
            path += f"{x:.1f} {y:.1f}"
            last = moment
        body.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    return [*body, *_names(lines)] if lines else [*body, _text(_LEFT + 8, _TOP + 20, "no data")]


def _names(lines: Sequence[Line]) -> list[str]:
    """The legend, as far as there is room for it."""
    body, x, y = [], 12.0, _HEIGHT - _BOTTOM + 38
    for number, line in enumerate(lines):
        width = 24 + 7 * len(line.name)
        if x + width > _WIDTH:
            x, y = 12.0, y + 15
        if y > _HEIGHT - 4:
            break
        colour = _COLOURS[number % len(_COLOURS)]
        body.append(f'<rect x="{x:.0f}" y="{y - 5}" width="8" height="3" fill="{colour}"/>')
        body.append(_text(x + 12, y, line.name))
        x += width
    return body


def _number(value: float, unit: str) -> str:
    """Of three digits or so: ``12 MiB/s``, ``3.5``, ``25 ms``."""
    if unit == "B/s":
        for prefix in ("", "Ki", "Mi"):
            if value < 1024:
                return f"{value:.3g} {prefix}B/s"
            value /= 1024
        return f"{value:.3g} GiB/s"
    if unit == "s" and 0 < value < 1:
        return f"{value * 1000:.3g} ms"
    return f"{value:.3g}{' s' if unit == 's' else unit}"


def _text(x: float, y: float, text: str, *, bold: bool = False, anchor: str = "start") -> str:
    weight = ' font-weight="600"' if bold else ""
    place = f'x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"'
    return f'<text {place} fill="#24292f"{weight}>{escape(text)}</text>'


if __name__ == "__main__":
    raise SystemExit(main())
