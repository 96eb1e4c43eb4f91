"""How many requests the operator sends to the API server, by verb and resource: counted by the API server.

Its metrics do not tell clients apart, but its flow control does: a FlowSchema of our own for each verb and
resource changes nothing about how a request is served, and has a counter.
https://kubernetes.io/docs/concepts/cluster-administration/flow-control/
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from dev import lab

_NAME = "multipartcopy-bench-"
_OTHER = f"{_NAME}other"
_METRIC = "apiserver_flowcontrol_dispatched_requests_total"
_COPIES, _BATCH, _CORE = "multipartcopy.dev", "batch", ""
_ASKED = (
    (_COPIES, "multipartcopies", ("get", "list", "watch", "patch")),
    (_COPIES, "multipartcopies/status", ("patch",)),
    (_BATCH, "jobs", ("get", "list", "watch", "create", "patch", "delete")),
    (_CORE, "pods", ("get", "list", "watch")),
    (_CORE, "secrets", ("get",)),
    (_CORE, "events", ("create", "list")),
)
"""As manifests/rbac.yaml allows it: group, resource, verbs."""


def flow_schemas() -> dict[str, dict[str, Any]]:
    """By what they count: ``get pods``; ``other`` counts the rest of the operator's."""
    schemas = {
        f"{verb} {resource}": _schema(
            f"{_NAME}{verb}-{resource.replace('/', '-')}", 100, [verb], [group], [resource]
        )
        for group, resource, verbs in _ASKED
        for verb in verbs
    }
    return schemas | {"other": _schema(_OTHER, 200, ["*"], ["*"], ["*"])}


def _schema(
    name: str, precedence: int, verbs: list[str], groups: list[str], resources: list[str]
) -> dict[str, Any]:
    account = {"namespace": lab.SYSTEM, "name": "multipartcopy-operator"}
    rule: dict[str, Any] = {
        "subjects": [{"kind": "ServiceAccount", "serviceAccount": account}],
        "resourceRules": [
            {
                "verbs": verbs,
                "apiGroups": groups,
                "resources": resources,
                "namespaces": ["*"],
                "clusterScope": True,
            }
        ],
    }
    if name == _OTHER:
        rule["nonResourceRules"] = [{"verbs": ["*"], "nonResourceURLs": ["*"]}]
    return {
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "FlowSchema",
        "metadata": {"name": name},
        "spec": {
            "matchingPrecedence": precedence,
            "priorityLevelConfiguration": {"name": "workload-low"},  # as without it
            "rules": [rule],
        },
    }


@contextmanager
def counting() -> Iterator[None]:
    """The schemas, from before the block until after it."""
    schemas = list(flow_schemas().values())
    lab.apply(*schemas)
    try:
        time.sleep(5)  # until the API server sorts by them; nothing tells when
        yield
    finally:
        names = [schema["metadata"]["name"] for schema in schemas]
        lab.kubectl("delete", "flowschemas", *names, "--ignore-not-found")


def requests() -> Counter[str]:
    """Since the API server's start, by what is counted."""
    return parse_requests(lab.kubectl("get", "--raw", "/metrics"))


def parse_requests(text: str) -> Counter[str]:
    """From the API server's metrics."""
    lines = [line for line in text.splitlines() if line.startswith(_METRIC)]
    of_schema = {schema["metadata"]["name"]: what for what, schema in flow_schemas().items()}
    counted: Counter[str] = Counter()
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            what = of_schema.get(sample.labels.get("flow_schema", ""))
            if what:
                counted[what] += int(sample.value)
    return counted
