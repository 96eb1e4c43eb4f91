"""What the page of the resource promises to explain, it explains."""

import re
from pathlib import Path

import yaml

from multipartcopy.api.reasons import Reason
from tests.unit.test_crd import SPEC, STATUS, nodes

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/spec/v1alpha1/multipartcopies.md").read_text()


def test_every_reason_is_explained_and_no_other() -> None:
    rows = re.findall(r"^\| `([A-Za-z]+)` \|", PAGE.split("\n## Conditions\n")[1], re.MULTILINE)
    assert sorted(rows) == sorted(Reason)


def test_every_field_of_the_spec_is_explained() -> None:
    written = {
        word for words in re.findall(r"`([a-zA-Z0-9.]+)`", PAGE) for word in words.split(".")
    }
    fields = {path.rpartition(".")[2] for path, _ in nodes(SPEC, "spec")}
    assert fields - written == {"name"}


def test_every_field_of_the_status_has_its_row() -> None:
    section = PAGE.split("\n## Status\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([A-Za-z]+)` \|", section, re.MULTILINE)) == set(
        STATUS["properties"]
    )


def test_the_example_is_the_minimal_sample() -> None:
    block = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0]
    sample = (ROOT / "manifests/samples/minimal.yaml").read_text()
    assert list(yaml.safe_load_all(block)) == list(yaml.safe_load_all(sample))
