"""What tools that apply all the time, and wait, may rely on."""

import json
from dataclasses import replace
from typing import Any

import pytest

from multipartcopy.api.codec import to_json
from multipartcopy.api.conditions import summarize
from multipartcopy.api.names import ANNOTATION_RETRY
from multipartcopy.api.reasons import Reason
from multipartcopy.api.status import Destination, Phase, Pin, Status
from multipartcopy.jobs import Image
from multipartcopy.kube import connect
from multipartcopy.reconcile.act import Effects, Memory
from multipartcopy.reconcile.decide import Write, decide
from multipartcopy.reconcile.facts import Limits
from multipartcopy.reconcile.observe import observe
from tests.apiserver.kubectl import Kubectl
from tests.apiserver.samples import FULL_STATUS, MD5, NOW, manifest

SUCCEEDED = Status(completion_time=NOW, destination=Destination(MD5, 1))
FAILED = Status(completion_time=NOW)


def apply(kubectl: Kubectl, manager: str, copy: dict[str, Any]) -> dict[str, Any]:
    options = ("--server-side", f"--field-manager={manager}", "--output=json")
    applied: dict[str, Any] = json.loads(kubectl("apply", *options, "-f-", stdin=copy))
    return applied


def failed() -> Status:
    said = summarize(Phase.FAILED, "SourceChanged", "m", generation=1, now=NOW, before=())
    pin = Pin(MD5, 1)
    return replace(FAILED, phase=Phase.FAILED, conditions=said, observed_generation=1, source=pin)


def ended(kubectl: Kubectl, phase: Phase) -> str:
    """The name of a copy that has ended, as the operator leaves it."""
    name = str(kubectl.create(manifest())["metadata"]["name"])
    status = SUCCEEDED if phase is Phase.SUCCEEDED else FAILED
    reason = Reason.COPIED if phase is Phase.SUCCEEDED else Reason.SOURCE_CHANGED
    said = summarize(phase, reason, "m", generation=1, now=NOW, before=())
    status = replace(status, phase=phase, conditions=said, observed_generation=1)
    kubectl.patch_status(name, to_json(status))
    return name


def edit(kubectl: Kubectl, name: str) -> None:
    patch = json.dumps({"spec": {"parallelism": 9}})
    kubectl("patch", "mpc", name, "--type=merge", f"--patch={patch}")


@pytest.mark.parametrize(
    ("condition", "phase"),
    [("Complete", Phase.SUCCEEDED), ("Ready", Phase.SUCCEEDED), ("Failed", Phase.FAILED)],
)
def test_a_wait_is_not_kept_waiting_by_a_change_after_the_end(
    kubectl: Kubectl, condition: str, phase: Phase
) -> None:
    name = ended(kubectl, phase)
    wait = ("wait", f"mpc/{name}", f"--for=condition={condition}", "--timeout=0")
    kubectl(*wait)
    edit(kubectl, name)
    assert "condition not met" in kubectl.refused(*wait)  # kubectl goes by observedGeneration
    kube, memory = connect(), Memory()
    assert kubectl.namespace
    seen = observe(kube, kubectl.namespace, name, memory)
    Effects(kube, Image("i"), None, Limits()).perform(decide(seen), seen, memory)
    kubectl(*wait)


def looked_at(kubectl: Kubectl, name: str) -> dict[str, Any]:
    """By the operator, once; what it is then."""
    kube, memory = connect(), Memory()
    assert kubectl.namespace
    seen = observe(kube, kubectl.namespace, name, memory)
    action = decide(seen)
    if isinstance(action, Write):
        Effects(kube, Image("i"), None, Limits()).perform(action, seen, memory)
    return kubectl.get(name)


def test_what_is_tried_again_by_a_manifest_is_tried_once(kubectl: Kubectl) -> None:
    """The value stays in Git, and is applied again and again."""
    copy = manifest()
    copy["metadata"]["annotations"] = {ANNOTATION_RETRY: "2026-01-01"}
    name = copy["metadata"]["name"]
    kubectl("apply", "-f-", stdin=copy)
    kubectl.patch_status(name, to_json(failed()))
    kubectl("wait", f"mpc/{name}", "--for=condition=Failed", "--timeout=0")
    after = looked_at(kubectl, name)["status"]
    assert (after["phase"], after["handledRetry"]) == ("Pending", "2026-01-01")
    assert "completionTime" not in after
    assert "source" not in after
    kubectl("wait", f"mpc/{name}", "--for=condition=Failed=False", "--timeout=0")
    kubectl.patch_status(name, to_json(replace(failed(), handled_retry="2026-01-01")))
    before = kubectl.get(name)
    kubectl("apply", "-f-", stdin=copy)
    assert looked_at(kubectl, name) == before
    kubectl("annotate", f"mpc/{name}", "--overwrite", f"{ANNOTATION_RETRY}=2026-01-02")
    assert looked_at(kubectl, name)["status"]["handledRetry"] == "2026-01-02"


def test_two_managers_do_not_conflict(kubectl: Kubectl) -> None:
    """A GitOps tool has the copy; somebody else, or something, has its parallelism."""
    copy = manifest()
    name = copy["metadata"]["name"]
    apply(kubectl, "gitops", copy)
    alone = {key: copy[key] for key in ("apiVersion", "kind", "metadata")}
    apply(kubectl, "tuner", {**alone, "spec": {"parallelism": 16}})
    kubectl.patch_status(name, to_json(FULL_STATUS))
    before = kubectl.get(name)
    after = apply(kubectl, "gitops", copy)
    assert after["spec"]["parallelism"] == 16
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    both = {**copy, "spec": {**copy["spec"], "parallelism": 2}}
    conflict = kubectl.refused(
        "apply", "--server-side", "--field-manager=gitops", "-f-", stdin=both
    )
    assert 'conflict with "tuner"' in conflict
    assert ".spec.parallelism" in conflict


def test_the_operator_sets_fields_under_its_own_name(kubectl: Kubectl) -> None:
    """And none of the spec."""
    name = ended(kubectl, Phase.SUCCEEDED)
    edit(kubectl, name)
    kube, memory = connect(), Memory()
    seen = observe(kube, str(kubectl.namespace), name, memory)
    Effects(kube, Image("i"), None, Limits()).perform(decide(seen), seen, memory)
    shown = kubectl("get", "mpc", name, "--output=json", "--show-managed-fields")
    owned = {
        (entry["manager"], *entry["fieldsV1"])
        for entry in json.loads(shown)["metadata"]["managedFields"]
    }
    assert [fields for who, *fields in owned if who == "multipartcopy-operator"] == [["f:status"]]


def test_what_one_manager_no_longer_asks_for_falls_back_to_the_default(kubectl: Kubectl) -> None:
    copy = manifest(parallelism=8)
    assert apply(kubectl, "gitops", copy)["spec"]["parallelism"] == 8
    del copy["spec"]["parallelism"]
    assert apply(kubectl, "gitops", copy)["spec"]["parallelism"] == 4


@pytest.mark.parametrize("options", [["--server-side"], []], ids=["server-side", "client-side"])
def test_nothing_drifts(kubectl: Kubectl, options: list[str]) -> None:
    """Defaults and status are no difference; applied again, not even the resourceVersion changes."""
    copy = manifest({"worker.streams": 2})
    name = copy["metadata"]["name"]
    kubectl("apply", *options, "-f-", stdin=copy)
    kubectl("diff", *options, "-f-", stdin=copy)
    kubectl.patch_status(name, to_json(FULL_STATUS))
    before = kubectl.get(name)
    kubectl("apply", *options, "-f-", stdin=copy)
    kubectl("diff", *options, "-f-", stdin=copy)
    assert kubectl.get(name) == before
    copy["spec"]["parallelism"] = 5
    kubectl.refused("diff", *options, "-f-", stdin=copy)
