"""The metrics and the alerts, as Prometheus's own tool judges them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest

from multipartcopy.api.reasons import Reason
from multipartcopy.api.status import Phase
from multipartcopy.metrics import Metrics
from tests.unit.facts import SPEC
from tests.unit.test_metrics_docs import PANELS

ROOT = Path(__file__).parents[2]
RULES = yaml.safe_load((ROOT / "manifests/components/monitoring/alerts.yaml").read_text())["spec"]
TESTS = Path(__file__).with_name("alerts_test.yaml")

Promtool = Callable[..., str]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The rules file that a Prometheus without its operator would be given."""
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(RULES))
    return path


def test_the_names_follow_the_conventions(promtool: Promtool) -> None:
    metrics = Metrics()
    metrics.under_way("uid", (Phase.COPYING, Reason.COPYING))
    metrics.s3_request("HeadObject", 200)
    metrics.store_error("source", Reason.ACCESS_DENIED)
    metrics.left_behind("ns", "n", SPEC.destination.s3, "u", ours=True)
    assert promtool("check", "metrics", stdin=generate_latest(metrics.registry).decode()) == ""


def test_the_rules_are_valid(promtool: Promtool, rules: Path) -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", rules)


def test_each_alert_fires_when_it_should(promtool: Promtool, rules: Path) -> None:
    (rules.parent / TESTS.name).write_text(TESTS.read_text())
    promtool("test", "rules", rules.parent / TESTS.name)


def test_each_alert_is_seen_to_fire() -> None:
    cases = [
        case
        for test in yaml.safe_load(TESTS.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    alerts = {rule["alert"] for group in RULES["groups"] for rule in group["rules"]}
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == alerts
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == alerts


def test_the_queries_of_the_dashboard_are_valid(promtool: Promtool, tmp_path: Path) -> None:
    """As rules, since that is what the tool can check."""
    queries = [expression for targets in PANELS.values() for expression in targets]
    records = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(queries)
    ]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": records}]}))
    promtool("check", "rules", path)
