"""Flags to a manifest, which is what the definition knows."""

import argparse
import json
from typing import Any

import pytest
import yaml

from multipartcopy.api.codec import from_json
from multipartcopy.api.spec import Spec, Worker
from multipartcopy.cli import manifest
from multipartcopy.cli.arguments import parser
from multipartcopy.cli.errors import CliError, Exit
from multipartcopy.cli.main import main
from tests.model.schema import invalid
from tests.unit.cli.api import Api
from tests.unit.cli.conftest import Command
from tests.unit.test_crd import SPEC

COPY = ["copy", "s3://climate/a/era5.grib", "s3://mirror/"]
KEYS = ["--source-secret=from", "--destination-secret=to"]
EVERY_FLAG = {
    "--mode": "Relay",
    "--part-size": "64Mi",
    "--parallelism": "8",
    "--bandwidth-limit": "100Mi",
    "--overwrite": "Never",
    "--verification": "ReadBack",
    "--backoff-limit-per-batch": "0",
    "--deadline": "12h",
    "--ttl": "7d",
    "--streams": "Auto",
    "--memory": "128Mi",
    "--max-memory": "1Gi",
}


def build(*words: str) -> dict[str, Any]:
    return manifest.build(parser().parse_args([*COPY, *words]))


def problem(*words: str) -> str:
    with pytest.raises(CliError) as error:
        manifest.build(parser().parse_args(list(words)))
    assert error.value.code is Exit.USAGE
    return str(error.value)


def test_what_is_given_and_nothing_else():
    assert build(*KEYS) == {
        "apiVersion": "multipartcopy.dev/v1alpha1",
        "kind": "MultipartCopy",
        "metadata": {"name": "era5-grib-72c6dd"},
        "spec": {
            "source": {
                "s3": {"bucket": "climate", "key": "a/era5.grib", "secretRef": {"name": "from"}}
            },
            "destination": {
                "s3": {"bucket": "mirror", "key": "era5.grib", "secretRef": {"name": "to"}}
            },
        },
    }


def test_all_that_a_side_can_say():
    words = ["--source-endpoint=http://a:1", "--source-region=r", "--source-anonymous"]
    words += ["--source-ca-secret=ca", "--source-addressing=Path", "--source-version=v1"]
    source = build(*words, "--destination-secret=to")["spec"]["source"]["s3"]
    assert source == {
        "endpoint": "http://a:1",
        "bucket": "climate",
        "key": "a/era5.grib",
        "region": "r",
        "anonymous": True,
        "caSecretRef": {"name": "ca"},
        "addressingStyle": "Path",
        "versionId": "v1",
    }


def test_what_the_object_is_made_with():
    words = ["--destination-storage-class=STANDARD_IA", "--destination-content-type=text/csv"]
    destination = build(*KEYS, *words)["spec"]["destination"]["s3"]
    assert destination["storageClass"] == "STANDARD_IA"
    assert destination["contentType"] == "text/csv"


def test_every_flag_is_of_the_definition():
    words = [f"{name}={value}" for name, value in EVERY_FLAG.items()]
    made = build(*KEYS, *words, "--suspend")
    # Of cpu the definition says int-or-string, which is for an API server to judge.
    assert list(invalid(SPEC, made["spec"], "spec")) == []
    spec = from_json(Spec, made["spec"])
    assert (spec.active_deadline_seconds, spec.ttl_seconds_after_finished) == (43200, 604800)
    assert spec.worker.resources == {"limits": {"memory": "128Mi"}}
    assert spec.worker.max_memory == "1Gi"
    assert spec.suspend is True


def test_a_field_that_takes_one_value_has_its_flag():
    """A new one has it by itself."""
    flags = {flag.field for flag in manifest.flags()}
    structures = {"source", "destination", "worker", "resources"}
    assert {*EVERY_FLAG, "--suspend", "--cpu"} <= {flag.name for flag in manifest.flags()}
    assert not flags & structures
    assert flags <= {*Spec.__dataclass_fields__, *Worker.__dataclass_fields__, "memory", "cpu"}


def test_a_field_that_is_a_number_or_a_word_takes_both():
    flag = manifest.Flag("streams", ("worker", "streams"), (int, str))
    assert (flag.read("4"), flag.read("Auto")) == (4, "Auto")
    with pytest.raises(argparse.ArgumentTypeError, match="four"):
        manifest.Flag("streams", ("worker", "streams"), (int,)).read("four")


@pytest.mark.parametrize(
    ("destination", "key"),
    [
        ("s3://mirror", "era5.grib"),
        ("s3://mirror/b/", "b/era5.grib"),
        ("s3://mirror/b", "b"),
        ("s3://mirror//b", "/b"),
        ("s3://mirror/a?b%20#c d", "a?b%20#c d"),
    ],
)
def test_where_it_goes(destination: str, key: str):
    options = parser().parse_args([*COPY[:2], destination, *KEYS])
    assert manifest.build(options)["spec"]["destination"]["s3"]["key"] == key


@pytest.mark.parametrize(
    ("source", "destination", "words"),
    [
        ("https://host/file", "s3://mirror/", "there are --source-headers-secret and"),
        ("https://host/", "s3://mirror/", "there are --source-headers-secret and"),
        ("s3://climate/k", "https://host/file", "a destination is written by S3"),
        ("s3://climate", "s3://mirror/k", "'s3://climate' names no object"),
        ("s3://climate/era5/", "s3://mirror/", "'s3://climate/era5/' is a prefix"),
        ("climate/k", "s3://mirror/k", "'climate/k' is no URL of S3"),
        ("s3:///k", "s3://mirror/k", "'s3:///k' is no URL of S3"),
    ],
)
def test_what_is_no_object(source: str, destination: str, words: str):
    assert words in problem("copy", source, destination, *KEYS)


def test_a_source_that_is_a_url():
    url = "https://host/a/era5%202025.grib?signature=abc"
    words = ["--source-headers-secret=h", "--source-ca-secret=ca", "--destination-secret=to"]
    made = manifest.build(parser().parse_args(["copy", url, "s3://mirror/", *words]))["spec"]
    assert made["source"] == {
        "http": {"url": url, "headersSecretRef": {"name": "h"}, "caSecretRef": {"name": "ca"}}
    }
    assert made["destination"]["s3"]["key"] == "era5 2025.grib"
    assert list(invalid(SPEC, made, "spec")) == []


def test_a_url_without_a_name_needs_a_key():
    said = problem("copy", "https://host/?id=1", "s3://mirror/", "--destination-secret=to")
    assert said == "'s3://mirror/' names no object: write s3://BUCKET/KEY"


def test_an_object_has_no_headers():
    words = "--source-headers-secret is for a source that is a URL"
    assert problem(*COPY, *KEYS, "--source-headers-secret=h") == words


@pytest.mark.parametrize(
    "words", [[], ["--source-secret=a", "--source-anonymous", "--destination-secret=to"]]
)
def test_one_way_in_and_only_one(words: list[str]):
    said = problem(*COPY, *words)
    assert said == (
        "write either --source-secret=NAME, the name of a Secret, or --source-anonymous"
    )


def test_a_name_is_the_same_for_the_same_destination_alone():
    def name(**place: str) -> str:
        return manifest.default_name({"bucket": "b", "key": "k", **place})

    assert name() == name()
    assert len({name(), name(bucket="c"), name(key="a/k"), name(endpoint="http://a")}) == 4


@pytest.mark.parametrize("key", ["k", "ü/…", "A_B.C", "x" * 1000, "a/", "-.-"])
def test_a_name_is_one(key: str):
    pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
    name = manifest.default_name({"bucket": "b", "key": key})
    assert not list(invalid({"type": "string", "pattern": pattern, "maxLength": 63}, name, "name"))


@pytest.mark.parametrize(("form", "read"), [("yaml", yaml.safe_load), ("json", json.loads)])
def test_a_dry_run_prints_the_manifest(form: str, read: Any, capsys: pytest.CaptureFixture[str]):
    words = [*COPY, *KEYS, "--dry-run", f"--output={form}", "--namespace=n", "--name=x"]
    assert main(words) == Exit.DONE
    made = read(capsys.readouterr().out)
    assert made["metadata"] == {"name": "x", "namespace": "n"}
    assert made == build(*KEYS, "--namespace=n", "--name=x")


def test_it_is_created(api: Api, run: Command, capsys: pytest.CaptureFixture[str]):
    assert run(*COPY, *KEYS) == Exit.DONE
    ((_, name),) = api.copies
    said = f"{name} is created; follow it with: kubectl multipartcopy watch {name}\n"
    assert capsys.readouterr().out == said
    assert run(*COPY, *KEYS) == Exit.REFUSED
    assert capsys.readouterr().err.endswith(f": {name} already exists, as is asked for\n")
    assert run(*COPY, *KEYS, "--part-size=8Mi", "--memory=1Gi") == Exit.REFUSED
    assert capsys.readouterr().err.endswith(
        f": {name} already exists, with another spec.partSize, spec.worker;"
        " --name makes a second one\n"
    )
    (there,) = api.copies.values()
    there["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    assert run(*COPY, *KEYS) == Exit.REFUSED
    assert "as is asked for" not in capsys.readouterr().err


def test_it_is_followed(api: Api, run: Command):
    assert run(*COPY, *KEYS, "--wait", "--timeout=0") == Exit.TIMEOUT


def test_what_the_cluster_refuses(api: Api, run: Command, capsys: pytest.CaptureFixture[str]):
    api.refusals["POST"] = (422, "spec.partSize: write Auto, or a whole quantity")
    assert run(*COPY, *KEYS, "--part-size=1") == Exit.REFUSED
    assert "write Auto, or a whole quantity" in capsys.readouterr().err
