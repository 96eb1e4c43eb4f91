"""The status subresource holds all that the operator writes, and only the operator writes it."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from multipartcopy.api.codec import from_json, to_json
from multipartcopy.api.report import pack_crcs
from multipartcopy.api.status import Batch, Phase, Status
from multipartcopy.plan import MAX_BATCH_SIZE
from tests.apiserver.kubectl import Kubectl
from tests.apiserver.samples import FULL_STATUS, MD5, manifest


@pytest.fixture
def name(kubectl: Kubectl) -> str:
    return str(kubectl.create(manifest())["metadata"]["name"])


def unset(value: Any, path: str = "status") -> Iterator[str]:
    """Fields that would not show in JSON."""
    if value is None or value == ():
        yield path
    elif isinstance(value, tuple):
        for item in value:
            yield from unset(item, f"{path}[]")
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from unset(item, f"{path}[]")
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from unset(getattr(value, field.name), f"{path}.{field.name}")


def test_the_full_status_is_full() -> None:
    assert list(unset(FULL_STATUS)) == []


def test_every_field_survives(kubectl: Kubectl, name: str) -> None:
    wanted = to_json(FULL_STATUS)
    assert kubectl.patch_status(name, wanted)["status"] == wanted
    assert from_json(Status, kubectl.get(name)["status"]) == FULL_STATUS


def test_a_status_as_it_begins_is_accepted(kubectl: Kubectl, name: str) -> None:
    wanted = to_json(Status())
    assert kubectl.patch_status(name, wanted)["status"] == wanted


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_is_accepted(kubectl: Kubectl, name: str, phase: Phase) -> None:
    assert kubectl.patch_status(name, {"phase": phase})["status"]["phase"] == phase


def test_an_unknown_field_is_dropped(kubectl: Kubectl, name: str) -> None:
    assert "invented" not in kubectl.patch_status(name, {"invented": 1})["status"]


def test_a_change_of_spec_leaves_the_status_alone(kubectl: Kubectl, name: str) -> None:
    change = {"spec": {"parallelism": 9}, "status": {"phase": "Succeeded"}}
    kubectl("patch", "mpc", name, "--type=merge", f"--patch={json.dumps(change)}")
    changed = kubectl.get(name)
    assert changed["spec"]["parallelism"] == 9
    assert changed["status"] == {"observedGeneration": -1}


def test_a_change_of_status_leaves_the_spec_alone(kubectl: Kubectl, name: str) -> None:
    before = kubectl.get(name)
    change = {"spec": {"parallelism": 9}, "status": {"phase": "Pending"}}
    arguments = ("--subresource=status", "--type=merge", f"--patch={json.dumps(change)}")
    kubectl("patch", "mpc", name, *arguments)
    after = kubectl.get(name)
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert after["status"]["phase"] == "Pending"


def test_an_attempt_has_one_upload(kubectl: Kubectl, name: str) -> None:
    kubectl.patch_status(name, {"attempt": 1, "upload": {"id": "first"}})
    complaint = kubectl.refused_status(name, {"upload": {"id": "second"}})
    assert "upload.id is written once for each attempt" in complaint
    kubectl.patch_status(name, {"upload": {"checksum": True}})
    kubectl.patch_status(name, {"attempt": 2, "upload": {"id": "second"}})
    kubectl.patch_status(name, {"upload": None})
    kubectl.patch_status(name, {"attempt": 3, "upload": {"id": "third"}})


def test_a_mode_has_one_plan(kubectl: Kubectl, name: str) -> None:
    plan = {"partSize": 5242880, "partCount": 1, "batchSize": 1, "batchCount": 1}
    other = plan | {"partSize": 5242881}
    kubectl.patch_status(name, {"mode": "ServerSide", "plan": plan})
    complaint = kubectl.refused_status(name, {"plan": other})
    assert "plan is written once for each mode" in complaint
    kubectl.patch_status(name, {"mode": "Relay", "plan": other})
    complaint = kubectl.refused_status(name, {"mode": "ServerSide", "plan": plan})
    assert "mode goes from ServerSide to Relay, and not back" in complaint


@pytest.mark.parametrize(
    ("field", "first", "second"),
    [
        ("source", {"etag": "first", "size": 1}, {"etag": "second", "size": 1}),
        (
            "plan",
            {"partSize": 5242880, "partCount": 1, "batchSize": 1, "batchCount": 1},
            {"partSize": 5242881, "partCount": 1, "batchSize": 1, "batchCount": 1},
        ),
    ],
)
def test_what_a_copy_is_built_on_cannot_be_rewritten(
    kubectl: Kubectl, name: str, field: str, first: Any, second: Any
) -> None:
    kubectl.patch_status(name, {field: first})
    assert f"{field} is written once" in kubectl.refused_status(name, {field: second})
    kubectl.patch_status(name, {field: None})
    kubectl.patch_status(name, {field: second})


def test_times_are_times(kubectl: Kubectl, name: str) -> None:
    assert "must be of type date-time" in kubectl.refused_status(name, {"startTime": "now"})


def test_a_ledger_of_ten_thousand_parts_fits(kubectl: Kubectl, name: str) -> None:
    parts, size = 10_000, MAX_BATCH_SIZE
    batches = {
        str(number): Batch(
            f"{first}-{last}", (MD5,) * (last - first + 1), pack_crcs([2**64 - 1] * size), 1 << 40
        )
        for number, first in enumerate(range(1, parts + 1, size))
        for last in [min(first + size - 1, parts)]
    }
    assert len(batches) == 105
    resource = kubectl.get(name)
    resource["status"] = to_json(dataclasses.replace(FULL_STATUS, batches=batches))
    kubectl("replace", "--subresource=status", "-f-", stdin=resource)
    assert from_json(Status, kubectl.get(name)["status"]).batches == batches


def test_copies_are_selected_by_phase(kubectl: Kubectl, name: str) -> None:
    kubectl.patch_status(name, {"phase": "Aborting"})
    selected = kubectl("get", "mpc", "--field-selector=status.phase=Aborting", "--output=name")
    assert f"multipartcopy.multipartcopy.dev/{name}" in selected.split()
    others = kubectl("get", "mpc", "--field-selector=status.phase=Succeeded", "--output=name")
    assert f"multipartcopy.multipartcopy.dev/{name}" not in others.split()
