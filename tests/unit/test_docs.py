"""What the documentation shows can be done as it is written; what its pages promise to explain, they explain."""

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from multipartcopy.api.codec import from_json, to_json
from multipartcopy.api.quantity import parse_bytes
from multipartcopy.api.reasons import Reason
from multipartcopy.api.spec import Spec, Worker
from multipartcopy.api.status import Plan
from multipartcopy.cli import manifest
from multipartcopy.cli.arguments import parser
from multipartcopy.cli.errors import CliError
from multipartcopy.jobs import DEFAULT_MEMORY
from multipartcopy.plan import (
    MAX_BATCH_SIZE,
    MAX_STREAMS,
    S3,
    GiB,
    MiB,
    auto_streams,
    make_plan,
)
from multipartcopy.reconcile import ledger
from tests.model.schema import invalid, problems
from tests.pages import (
    PAGES,
    ROOT,
    Block,
    anchors,
    blocks,
    commands,
    copies,
    links,
    manifests,
    shell,
    spans,
)
from tests.unit.test_crd import SPEC, STATUS, nodes

DOCS = ROOT / "docs"
PAGE = (DOCS / "spec/v1alpha1/multipartcopies.md").read_text()
SIZING = (DOCS / "sizing.md").read_text()
TROUBLE = (DOCS / "troubleshooting.md").read_text()
FIELDS = {
    path for root, schema in (("spec", SPEC), ("status", STATUS)) for path, _ in nodes(schema, root)
}
LANGUAGES = {"", "sh", "console", "yaml", "json", "promql"}
SHELL = blocks("sh", "console")
OURS = (["kubectl", "mpc"], ["kubectl", "multipartcopy"])
MONITORING = "manifests/components/monitoring"
PLACES = ("manifests/", "crds/", "docs/", "dev/", "tests/", "operator/", ".ci/")


def of(page: Path) -> str:
    return str(page.relative_to(ROOT))


# What can be tried of it.


def test_a_shell_text_is_taken_apart() -> None:
    text = "A=1 make x # why\nkubectl mpc get \\\n  -A | jq '.a | .b' > file && source <(f bash); g"
    assert commands(text) == [
        ["make", "x"],
        ["kubectl", "mpc", "get", "-A"],
        ["jq", ".a | .b"],
        ["source"],
        ["f", "bash"],
        ["g"],
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        "kubectl mpc copy s3://a-bucket/k s3://b-bucket/k --source-anonymous",
        "kubectl mpc gett",
        "kubectl mpc watch --for=Complete",
        "make everything",
        "kubectl explain mpc.spec.paralelism",
        'kubectl patch mpc/a --type=merge -p \'{"spec":{"suspended":true}}\'',
        "kubectl apply -k manifests/components/monitor",
    ],
)
def test_a_command_that_is_not_there_is_found(wrong: str) -> None:
    with pytest.raises((AssertionError, CliError, pytest.fail.Exception)):
        check(commands(wrong)[0])


def test_a_manifest_that_is_none_is_found() -> None:
    (copy,) = (d for b, d in copies() if b.page.name == "README.md" and b.page.parent == ROOT)
    assert problems(copy) == []
    assert problems(copy | {"metadata": {}}) == [".metadata.name: required"]
    spec = copy["spec"] | {"paralelism": 8, "worker": {"resources": {"limits": {"cpu": "much"}}}}
    assert problems(copy | {"spec": spec}) == [
        ".spec.worker.resources.limits.cpu: 'much' is not ^([0-9]+m|[0-9]+(\\.[0-9]{1,3})?)$",
        ".spec.paralelism: unknown, would be dropped",
    ]


def test_blocks_are_in_languages_that_are_checked() -> None:
    every = blocks(*LANGUAGES)
    assert len(every) > 30
    assert sum(page.read_text().count("```") for page in PAGES) == 2 * len(every)


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_is_read_and_says_what_it_is(block: Block) -> None:
    for document in manifests(block):
        if isinstance(document, dict) and "apiVersion" in document:
            assert document["kind"]


@pytest.mark.parametrize("copy", [c for _, c in copies()], ids=[str(b) for b, _ in copies()])
def test_a_copy_is_one_by_its_definition(copy: dict[str, Any]) -> None:
    assert problems(copy) == []
    from_json(Spec, copy["spec"])


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_is_read(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_a_shell_takes_it(block: Block) -> None:
    done = subprocess.run(
        ["bash", "-n"], input=shell(block), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_its_commands_are_there(block: Block) -> None:
    for words in commands(shell(block)):
        check(words)


@pytest.mark.parametrize("page", PAGES, ids=of)
def test_commands_between_backticks_are_there(page: Path) -> None:
    for span in spans(page):
        if re.match(r"(kubectl|make|kubectl-mpc)( |$)", span):
            for words in commands(span):
                check(words, whole=False)


def check(words: Sequence[str], *, whole: bool = True) -> None:
    """Fails for what a command names and is not there; ``whole``: nothing of it is left out."""
    if words[:2] in OURS:
        check_ours(words[2:], whole=whole)
    elif words[0] in ("kubectl-mpc", "kubectl-multipartcopy"):
        check_ours(words[1:], whole=whole)
    elif words[0] == "make":
        wanted = {word for word in words[1:] if "=" not in word and not word.isupper()}
        assert wanted <= _targets(), words
    elif words[:2] == ["kubectl", "explain"]:
        for word in words[2:]:
            kind, _, path = word.partition(".")
            assert kind.startswith("-") or kind == "mpc", words
            assert not path or path in FIELDS, words
    elif words[0] == "kubectl" and "patch" in words:
        for word in words:
            if "{" in word and '"spec"' in word:
                patch = json.loads(word[word.index("{") :])["spec"]
                wrong = [p for p in invalid(SPEC, patch, "spec") if not p.endswith("required")]
                assert wrong == [], words
    for word in words:
        if word.startswith(PLACES) and not set(word) & set("*…$"):
            assert (ROOT / word).exists(), words


def check_ours(words: Sequence[str], *, whole: bool) -> None:
    if not whole:
        # It may be the name of a command, with some of its flags, or a pattern.
        if words and not words[0].isupper() and not words[0].startswith("-"):
            assert words[0] in our_commands(), words
            flags = our_commands()[words[0]]._option_string_actions
            assert {w.partition("=")[0] for w in words if w.startswith("-")} <= {*flags}, words
        return
    try:
        options = parser().parse_args(list(words))
    except SystemExit as end:
        if end.code:
            pytest.fail(f"the program refuses {words}")
        return  # --help
    if options.command == "copy":
        assert problems(manifest.build(options)) == []


def our_commands() -> Mapping[str, argparse.ArgumentParser]:
    (named,) = (action for action in parser()._actions if action.metavar == "COMMAND")
    return typing.cast("Mapping[str, argparse.ArgumentParser]", named.choices)


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=of)
def test_names_between_backticks_are_names(page: Path) -> None:
    """Fields by their path, metrics, alerts."""
    alerts = re.findall(r"alert: (\w+)", (ROOT / MONITORING / "alerts.yaml").read_text())
    metrics = re.findall(r"^\| `(multipartcopy_\w+)`", (DOCS / "metrics.md").read_text(), re.M)
    for span in spans(page):
        if re.fullmatch(r"(spec|status)(\.[a-zA-Z0-9]+)+", span):
            assert span in FIELDS
        if re.fullmatch(r"multipartcopy_[a-z_]+", span):
            assert span in metrics
        if re.fullmatch(r"MultipartCopy[A-Z]\w+", span):
            assert span in alerts


def test_every_page_is_in_the_index() -> None:
    index = DOCS / "README.md"
    led = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert {page for page in PAGES if page.is_relative_to(DOCS)} - led == {index}


# What the page of the resource promises.


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


def test_every_flag_of_the_operator_has_its_row() -> None:
    section = PAGE.split("\n### Watch the operator\n")[1].split("\n### ")[0]
    command = [sys.executable, "-m", "multipartcopy", "operator", "--help"]
    path = os.environ | {"PYTHONPATH": str(ROOT / "operator")}
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=path).stdout
    flags = set(re.findall(r"^  (--[a-z-]+)", shown, re.MULTILINE))
    assert set(re.findall(r"^\| `(--[a-z-]+)` \|", section, re.MULTILINE)) == flags


# What the page of operations promises.


def test_what_the_operator_asks_for_is_what_its_manifest_asks_for() -> None:
    deployment = yaml.safe_load((ROOT / "manifests/deployment.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    (container,), (volume,) = pod["containers"], pod["volumes"]
    asked, most = container["resources"]["requests"], container["resources"]["limits"]
    sentence = (
        f"requests {asked['cpu']} of CPU and {asked['memory']} of memory, limit {most['memory']};"
        f" an `emptyDir` of {volume['emptyDir']['sizeLimit']}"
    )
    assert sentence in (DOCS / "operations.md").read_text()
    assert f"{asked['memory']} requested, {most['memory']} at most" in SIZING


# What the page of troubles promises.


def entries() -> dict[str, str]:
    """The part of each reason; of two with one name the second."""
    parts = re.split(r"^### ", TROUBLE.split("\n## Reasons\n")[1], flags=re.MULTILINE)[1:]
    return {head: body for head, _, body in (part.partition("\n") for part in parts)}


def test_every_reason_has_its_entry_in_alphabetical_order_and_there_is_no_other() -> None:
    """A new reason: say under a heading of its own what it means, what to look at and what to do."""
    heads = re.findall(r"^### (.*)$", TROUBLE.split("\n## Reasons\n")[1], re.MULTILINE)
    assert heads == sorted(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_an_entry_says_what_it_means_what_to_look_at_and_what_to_do(reason: Reason) -> None:
    said = re.findall(r"^- \*\*(.*?):\*\* \S", entries()[reason], re.MULTILINE)
    assert said == ["Means", "Look at", "Do"]


# What the page of security promises.

NEEDS = {
    "HeadObject": {"s3:GetObject", "s3:ListBucket"},
    "GetObject": {"s3:GetObject"},
    "PutObject": {"s3:PutObject"},
    "DeleteObject": {"s3:DeleteObject", "s3:DeleteObjectVersion"},
    "CreateMultipartUpload": {"s3:PutObject"},
    "UploadPart": {"s3:PutObject"},
    "UploadPartCopy": {"s3:PutObject"},
    "CompleteMultipartUpload": {"s3:PutObject"},
    "AbortMultipartUpload": {"s3:AbortMultipartUpload"},
    "ListParts": {"s3:ListMultipartUploadParts"},
    "ListMultipartUploads": {"s3:ListBucketMultipartUploads"},
}
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html"""


def test_the_policies_allow_what_the_programs_ask_for_and_no_more() -> None:
    """A new operation of the control calls: add it here, and its permission to the page."""
    source, destination = map(allowed, (b for b in blocks("json") if b.page.name == "security.md"))
    control = (ROOT / "operator/multipartcopy/s3/control.py").read_text()
    asked = set(re.findall(r'_do\(?,?\s*"(\w+)"', control)) | {"UploadPart", "UploadPartCopy"}
    assert asked == NEEDS.keys()
    assert destination == set.union(*NEEDS.values())
    assert source == NEEDS["HeadObject"] | NEEDS["GetObject"] | {"s3:GetObjectVersion"}


def allowed(block: Block) -> set[str]:
    """The actions of a policy, each on what it can be on: the bucket, or the object."""
    policy = json.loads(block.text)
    assert policy["Version"] == "2012-10-17"
    found: set[str] = set()
    for statement in policy["Statement"]:
        assert statement.keys() == {"Sid", "Effect", "Action", "Resource"}
        assert statement["Effect"] == "Allow"
        assert statement["Sid"].isalnum()
        actions = statement["Action"]
        actions = {actions} if isinstance(actions, str) else set(actions)
        on_bucket = "/" not in statement["Resource"].removeprefix("arn:aws:s3:::")
        assert {action.startswith("s3:ListBucket") for action in actions} == {on_bucket}
        found |= actions
    return found


def test_the_rights_of_the_operator_are_those_of_its_role() -> None:
    page = (DOCS / "security.md").read_text()
    rows = re.findall(r"^\| (`[\w.]+`|core) \| `([\w/]+)` \| (.+?) \| ", page, re.MULTILINE)
    written = {
        (group.strip("`"), what, *re.findall(r"`(\w+)`", verbs)) for group, what, verbs in rows
    }
    documents = yaml.safe_load_all((ROOT / "manifests/rbac.yaml").read_text())
    (role,) = (d for d in documents if d["kind"] == "ClusterRole")
    assert written == {
        (group or "core", what, *rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for what in rule["resources"]
    }


# What the page of sizes says.


def table(heading: str) -> list[tuple[str, ...]]:
    """The rows of the first table under it."""
    lines = SIZING.split(f"\n## {heading}\n")[1].split("\n## ")[0].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|---"))
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[first + 1 :])
    return [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in rows]


def size_of(text: str) -> int:
    return parse_bytes(text.removesuffix("B").replace(" ", ""))


def ledger_of(plan: Plan, size: int, etag: str = "0" * 32) -> int:
    """Bytes in JSON, once every part is done."""
    parts = {number: ledger.Part(etag, 1) for number in range(1, plan.part_count + 1)}
    batches = to_json(ledger.write_parts(plan, size, parts))
    return len(json.dumps(batches, separators=(",", ":")))


def test_the_plans_are_those_of_the_program() -> None:
    for row in table("Parts and batches"):
        size = size_of(row[0])
        plan = make_plan(size, parallelism=Spec.parallelism, streams=Worker.streams)
        kilobytes = ledger_of(plan, size) / 1000
        assert row[1:] == (
            f"{plan.part_count:,}",
            f"{plan.part_size // MiB:,} MiB",
            str(plan.batch_count),
            str(min(Spec.parallelism, plan.batch_count)),
            f"{kilobytes:.0f} kB" if kilobytes >= 1 else f"{kilobytes:.1f} kB",
        )


def test_the_memory_is_that_of_the_program() -> None:
    for streams, needs, least in table("Memory"):
        needed, written = size_of(needs), re.findall(r"`(\w+)`", least)[0]
        assert auto_streams(needed) == int(streams) == auto_streams(needed + 3 * MiB - 1) or (
            int(streams) == MAX_STREAMS
        )
        assert auto_streams(needed - 1) == max(1, int(streams) - 1)
        assert parse_bytes(written) >= needed
    assert auto_streams(parse_bytes(DEFAULT_MEMORY)) == 9
    assert f"`{DEFAULT_MEMORY}`, the default" in SIZING
    assert f"at most {MAX_BATCH_SIZE} parts" in SIZING


def test_the_times_are_sums() -> None:
    def words(seconds: float) -> str:
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"{hours} h {minutes} min" if hours else f"{minutes} min"

    for text, slow, fast in table("How fast"):
        size = size_of(text)
        assert (slow, fast) == (words(size / (100 * MiB)), words(size / GiB))


def test_the_ledger_fits_as_it_is_said_to() -> None:
    size = S3.max_object
    plan = make_plan(size)
    assert plan.part_count == 10_000
    assert round(ledger_of(plan, size) / plan.part_count) == 47
    assert ledger_of(plan, size, "e" * 140) < 1.5 * MiB - 20_000
    assert ledger_of(plan, size, "e" * 160) > 1.5 * MiB


# What the page for those who come from elsewhere says.

MIGRATION = DOCS / "migration.md"


def recipes() -> list[tuple[Block, Block]]:
    """Each command that is followed by the manifest that it makes."""
    pairs = itertools.pairwise(b for b in blocks("sh", "yaml") if b.page == MIGRATION)
    return [pair for pair in pairs if [block.language for block in pair] == ["sh", "yaml"]]


@pytest.mark.parametrize(("command", "made"), recipes(), ids=str)
def test_a_manifest_is_what_the_command_above_it_makes(command: Block, made: Block) -> None:
    (words,) = commands(shell(command))
    assert words[:3] == ["kubectl", "mpc", "copy"]
    assert [manifest.build(parser().parse_args(words[2:]))] == manifests(made)


def test_every_flag_has_a_field_and_a_flag_that_are_there() -> None:
    flags = set(our_commands()["copy"]._option_string_actions)
    rows = re.findall(r"^\| (.*?) \| (.*?) \| (.*?) \| .*\|$", MIGRATION.read_text(), re.MULTILINE)
    assert len(rows) > 40
    for theirs, fields, ours in rows:
        assert theirs
        assert {f"spec.{name}" for name in re.findall(r"`(.*?)`", fields)} - {"spec.spec"} <= FIELDS
        assert set(re.findall(r"`(.*?)`", ours)) - {"kubectl mpc copy"} <= flags, theirs
