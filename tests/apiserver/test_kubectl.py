"""What people see: columns, explanations, waits."""

from pathlib import Path

import pytest

from multipartcopy.api.codec import to_json
from tests.apiserver.kubectl import CRD, ROOT, Kubectl
from tests.apiserver.samples import FULL_STATUS, NOW, manifest


def test_columns(kubectl: Kubectl) -> None:
    name = kubectl.create(manifest())["metadata"]["name"]
    kubectl.patch_status(name, to_json(FULL_STATUS))
    header, row = kubectl("get", "mpc", name).splitlines()
    assert header.split() == ["NAME", "PHASE", "REASON", "PROGRESS", "PARTS", "SIZE", "AGE"]
    assert row.split()[:-1] == [name, "Copying", "Copying", "10", "2/20", "100.0", "MiB"]


def test_wide_columns(kubectl: Kubectl) -> None:
    name = kubectl.create(manifest())["metadata"]["name"]
    kubectl.patch_status(name, to_json(FULL_STATUS))
    header, row = kubectl("get", "mpc", name, "--output=wide").splitlines()
    assert {"SOURCE", "URL", "DESTINATION", "RATE", "PROOF", "MESSAGE"} <= set(header.split())
    for text in ("a/key", "5242880", "Copying  ", "copying 20 parts of 5.0 MiB"):
        assert text in row


def test_a_source_that_is_a_url_is_shown_without_its_query(kubectl: Kubectl) -> None:
    changes = {"source": {"http": {"url": "https://h/data.nc?signature=secret"}}}
    name = kubectl.create(manifest(changes))["metadata"]["name"]
    seen = {"etag": "", "size": 1, "validator": "Size", "url": "https://h/data.nc"}
    kubectl.patch_status(name, {"source": seen})
    _, row = kubectl("get", "mpc", name, "--output=wide").splitlines()
    assert "https://h/data.nc " in row
    assert "secret" not in row


def test_columns_of_a_copy_that_nobody_has_seen_yet(kubectl: Kubectl) -> None:
    name = kubectl.create(manifest())["metadata"]["name"]
    _, row = kubectl("get", "mpc", name).splitlines()
    assert row.split()[0] == name


@pytest.mark.parametrize("word", ["mpc", "multipartcopy", "multipartcopies"])
def test_every_name_is_known(kubectl: Kubectl, word: str) -> None:
    kubectl("get", word)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("mpc", "copies one object"),
        ("mpc.spec", "parallelism"),
        ("mpc.spec.source.s3", "AWS_SECRET_ACCESS_KEY"),
        ("mpc.spec.destination.s3", "AWS_SECRET_ACCESS_KEY"),
        ("mpc.spec.worker.resources.limits", "500m"),
        ("mpc.status", "ledger"),
        ("mpc.status.conditions", "CamelCase"),
    ],
)
def test_explanations(kubectl: Kubectl, path: str, words: str) -> None:
    text = kubectl("explain", path)
    assert words in text
    assert "<no description>" not in text.replace("metadata\t<ObjectMeta>", "")


def test_the_recursive_explanation_shows_every_field(kubectl: Kubectl) -> None:
    text = kubectl("explain", "mpc.spec.source.s3", "--recursive")
    for field in ("endpoint", "versionId", "caSecretRef", "enum: Auto, Path, Virtual"):
        assert field in text


def test_waiting_for_the_end(kubectl: Kubectl) -> None:
    name = kubectl.create(manifest())["metadata"]["name"]
    condition = {
        "type": "Complete",
        "status": "True",
        "reason": "Copied",
        "message": "",
        "lastTransitionTime": NOW,
        "observedGeneration": 1,
    }
    kubectl.patch_status(name, {"conditions": [condition], "completionTime": NOW})
    kubectl("wait", f"mpc/{name}", "--for=condition=Complete", "--timeout=5s")
    kubectl("wait", f"mpc/{name}", "--for=jsonpath={.status.completionTime}", "--timeout=5s")


@pytest.mark.parametrize(
    "sample", sorted((ROOT / "manifests/samples").glob("*.yaml")), ids=lambda s: s.name
)
def test_samples_are_accepted(kubectl: Kubectl, sample: Path) -> None:
    kubectl("apply", "--dry-run=server", "--validate=strict", "-f", sample)


def test_the_definition_changes_nothing_the_second_time(kubectl: Kubectl) -> None:
    def version() -> str:
        return kubectl("get", "-f", CRD, "--output=jsonpath={.metadata.resourceVersion}")

    kubectl("apply", "--server-side", "--force-conflicts", "-f", CRD)
    before = version()
    kubectl("apply", "--server-side", "-f", CRD)
    assert version() == before
