"""The drawing of the dashboard's panels."""

from xml.etree import ElementTree

import pytest

from dev import dashboard
from dev.dashboard import Line


def test_the_panels_are_drawn(monkeypatch):
    """Each with its lines, which are broken where there was nothing."""
    points = tuple((float(t), float(t % 7)) for t in (*range(30), *range(60, 100)))
    lines = [Line("a < b", points), Line("never", ())]
    monkeypatch.setattr(dashboard, "query", lambda *_: lines)
    picture = ElementTree.fromstring(dashboard.draw("", 0, 100))  # noqa: S314 - ours
    panels = list(picture.findall(".//{*}g"))
    assert len(panels) == 12
    for panel in panels:
        drawn = [
            path.get("d", "") for path in panel.findall(".//{*}path") if path.get("stroke-width")
        ]
        assert drawn[0].count("M") == 2
        assert drawn[0].count("L") == len(points) - 2
        assert "a < b" in [text.text for text in panel.findall(".//{*}text")]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "", "0"),
        (2.5 * 1024**2, "B/s", "2.5 MiB/s"),
        (3 * 1024**4, "B/s", "3.07e+03 GiB/s"),
        (0.025, "s", "25 ms"),
        (4, "s", "4 s"),
        (0.5, "/s", "0.5/s"),
    ],
)
def test_numbers(value, unit, text):
    assert dashboard._number(value, unit) == text
