"""The page of the metrics, the dashboard and the alerts are about the metrics that there are."""

import json
import re
from pathlib import Path

import pytest
import yaml

from multipartcopy.api.reasons import Reason
from multipartcopy.api.status import Phase
from multipartcopy.metrics import Metrics

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/metrics.md").read_text()
MONITORING = ROOT / "manifests/components/monitoring"
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
RULES = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["spec"]["groups"]
ALERTS = {rule["alert"]: rule["expr"] for group in RULES for rule in group["rules"]}
PANELS = {
    panel["title"]: [target["expr"] for target in panel["targets"]] for panel in DASHBOARD["panels"]
}
QUERIES = [
    *((name, expression) for name, expression in ALERTS.items()),
    *((title, expression) for title, targets in PANELS.items() for expression in targets),
]


def served() -> dict[str, tuple[str, tuple[str, ...], str]]:
    """Type, labels and help of each metric of ours, by the name that a query uses."""
    found = {}
    for collector in Metrics().registry._collector_to_names:
        for family in collector.collect():
            if family.name.startswith("multipartcopy_"):
                total = "_total" if family.type == "counter" else ""
                labels = collector._labelnames  # type: ignore[attr-defined]
                found[family.name + total] = family.type, labels, family.documentation
    return found


def test_the_page_has_each_of_them() -> None:
    rows = [
        f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {question} |"
        for name, (kind, labels, question) in served().items()
    ]
    table = [line for line in PAGE.splitlines() if line.startswith("| `multipartcopy_")]
    assert table == rows, "docs/metrics.md should have\n" + "\n".join(rows)


@pytest.mark.parametrize(("where", "expression"), QUERIES)
def test_what_a_query_uses_is_there(where: str, expression: str) -> None:
    metrics = served()
    names = re.findall(r"\bmultipartcopy_\w+", expression)
    assert names
    labels = {"le"}
    for name in names:
        known = name if name in metrics else re.sub(r"_(bucket|count|sum)$", "", name)
        assert known in metrics, where
        labels.update(metrics[known][1])
    grouped = re.findall(r"\bby \(([^)]*)\)", expression)
    used = {word.strip() for words in grouped for word in words.split(",")}
    matched = dict(re.findall(r'(\w+)=~?"([^"]*)"', expression))
    assert used | matched.keys() <= labels
    assert set(matched.get("reason", "Copied").split("|")) <= set(Reason)
    assert set(matched.get("phase", "Copying").split("|")) <= set(Phase)


def test_every_metric_has_its_panel() -> None:
    shown = " ".join(expression for targets in PANELS.values() for expression in targets)
    assert [name for name in served() if name not in shown] == []


def test_the_page_has_every_alert() -> None:
    assert re.findall(r"^\| `(MultipartCopy\w+)` \|", PAGE, re.MULTILINE) == list(ALERTS)


def test_a_dashboard_asks_the_chosen_prometheus() -> None:
    for panel in DASHBOARD["panels"]:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
