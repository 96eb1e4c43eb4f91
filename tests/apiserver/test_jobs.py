"""What the API server says of a Job that is made as a spec asks for. Each is suspended: it makes no pod."""

import uuid
from dataclasses import replace
from typing import Any

import pytest
import yaml

from multipartcopy.api.codec import from_json
from multipartcopy.api.spec import Spec
from multipartcopy.api.status import Status
from multipartcopy.jobs import Image, Owner, build_job
from multipartcopy.kube import KubeError, connect
from multipartcopy.reconcile.facts import read_job
from multipartcopy.reconcile.ledger import missing
from tests.apiserver.kubectl import ROOT, Kubectl
from tests.apiserver.samples import FULL_STATUS, manifest

STATUS: Status = replace(FULL_STATUS, source_reading=None, destination_reading=None, batches={})


def full_spec() -> dict[str, Any]:
    documents = yaml.safe_load_all((ROOT / "manifests/samples/full.yaml").read_text())
    return next(d["spec"] for d in documents if d["kind"] == "MultipartCopy")


def made(kubectl: Kubectl, worker: dict[str, Any]) -> dict[str, Any]:
    """The manifest of the first run of a copy that is there, with this ``spec.worker``."""
    copy = kubectl.create(manifest())
    spec = from_json(Spec, {**copy["spec"], "worker": worker})
    owner = Owner(copy["metadata"]["name"], str(kubectl.namespace), copy["metadata"]["uid"])
    job = build_job(owner, spec, STATUS, missing(STATUS), Image("i"))
    job["spec"]["suspend"] = True
    return job


def test_a_job_with_every_field_of_the_worker_is_taken_as_it_is(kubectl: Kubectl) -> None:
    job = made(kubectl, full_spec()["worker"])
    kube = connect()
    kube.create_job(job["metadata"]["namespace"], job)
    uid = job["metadata"]["labels"]["multipartcopy.dev/uid"]
    (there,) = kube.list_jobs(job["metadata"]["namespace"], uid)
    wanted, found = job["spec"]["template"]["spec"], there["spec"]["template"]["spec"]
    for name in wanted.keys() - {"containers", "volumes", "securityContext"}:
        assert found[name] == wanted[name], name
    assert there["metadata"]["labels"].items() >= job["metadata"]["labels"].items()
    assert read_job(there).suspended


@pytest.mark.parametrize(
    ("affinity", "sentence"),
    [
        ({"nodeAffinity": {"required": []}}, "affinity.nodeAffinity.required.* not permitted"),
        (
            {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "a", "operator": "Is", "values": ["b"]}]}
                        ]
                    }
                }
            },
            "operator",
        ),
    ],
    ids=["misspelt", "wrong"],
)
def test_an_affinity_that_cannot_be_is_refused_with_the_job(
    kubectl: Kubectl, affinity: dict[str, Any], sentence: str
) -> None:
    """Its schema has a hole there, and nothing must get lost in it without a word."""
    job = made(kubectl, {"affinity": affinity})
    job["metadata"]["name"] = f"job-{uuid.uuid4().hex[:8]}"
    with pytest.raises(KubeError, match=sentence) as caught:
        connect().create_job(job["metadata"]["namespace"], job)
    assert caught.value.status in (400, 422)
