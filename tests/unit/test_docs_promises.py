"""What a page of the documentation promises to explain, it explains, with the numbers of the program."""

import itertools
import json
import os
import re
import subprocess
import sys

import pytest
import yaml

from multipartcopy.api.codec import to_json
from multipartcopy.api.quantity import parse_bytes
from multipartcopy.api.reasons import Reason
from multipartcopy.api.spec import Spec, Worker
from multipartcopy.api.status import Plan
from multipartcopy.cli import manifest
from multipartcopy.cli.arguments import parser
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
from tests.pages import (
    ROOT,
    Block,
    blocks,
    commands,
    manifests,
    shell,
)
from tests.unit.test_crd import SPEC, STATUS, nodes
from tests.unit.test_docs import FIELDS, our_commands

DOCS = ROOT / "docs"
PAGE = (DOCS / "spec/v1alpha1/multipartcopies.md").read_text()
SIZING = (DOCS / "sizing.md").read_text()
TROUBLE = (DOCS / "troubleshooting.md").read_text()


# What the page of the resource promises.


def test_every_reason_is_explained_and_no_other() -> None:
    rows = re.findall(r"^\| `([A-Za-z]+)` \|", PAGE.split("\n## Conditions\n")[1], re.MULTILINE)
    assert sorted(rows) == sorted(Reason)


def test_every_field_of_the_spec_is_explained() -> None:
    written = {
        word for words in re.findall(r"`([a-zA-Z0-9.]+)`", PAGE) for word in words.split(".")
    }
    fields = {path.rpartition(".")[2].removesuffix("[]") for path, _ in nodes(SPEC, "spec")}
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
    "GetObjectTagging": {"s3:GetObjectTagging", "s3:GetObjectVersionTagging"},
    "PutObject": {"s3:PutObject", "s3:PutObjectTagging"},
    "DeleteObject": {"s3:DeleteObject", "s3:DeleteObjectVersion"},
    "CreateMultipartUpload": {"s3:PutObject", "s3:PutObjectTagging"},
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
    asked = set(re.findall(r'_(?:do|pages)\(?,?\s*"(\w+)"', control)) | {
        "UploadPart",
        "UploadPartCopy",
    }
    assert asked == NEEDS.keys()
    of_source = NEEDS["GetObjectTagging"]
    assert destination == set.union(*NEEDS.values()) - of_source
    assert source == NEEDS["HeadObject"] | {"s3:GetObjectVersion"} | of_source


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
        assert auto_streams(needed) == int(streams) == auto_streams(needed + 4 * MiB - 1) or (
            int(streams) == MAX_STREAMS
        )
        assert auto_streams(needed - 1) == max(1, int(streams) - 1)
        assert parse_bytes(written) >= needed
    assert auto_streams(parse_bytes(DEFAULT_MEMORY)) == 7
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
    size = S3.largest
    plan = make_plan(size)
    assert plan.part_count == 10_000
    assert round(ledger_of(plan, size) / plan.part_count) == 46
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


# What the pages say is not there.

DENIALS = {
    "http": [
        ("faq.md", "Not now. `kubectl mpc copy` says so."),
        ("comparison.md", "Stores that do not speak S3."),
    ],
    "tags": [
        ("faq.md", "No: headers and user metadata are."),
        (
            "migration.md",
            "[always](spec/v1alpha1/multipartcopies.md#specsource-and-specdestination), but for tags",
        ),
        ("migration.md", "user metadata are kept, also of large objects; tags are not"),
    ],
    "storageClass": [
        ("migration.md", "`--s3-storage-class`, `--s3-acl`, `--s3-server-side-encryption`")
    ],
    "onSourceChange": [("faq.md", "The copy fails as [SourceChanged]")],
    "tolerations": [
        ("security.md", "no field for an image, a command, a service account, a node or a volume"),
        ("troubleshooting.md", "The pods tolerate no taints."),
    ],
    "EndpointRefused": [("security.md", "Whoever creates a copy names the addresses.")],
    "QueuedByOperator": [("migration.md", "Nothing limits how many work at the same time")],
}
"""By the field of the spec, or the reason, that would make them false; whoever adds that one rewrites them."""


@pytest.mark.parametrize("name", DENIALS)
def test_what_is_said_not_to_be_there_is_not(name: str) -> None:
    fields = {path.rpartition(".")[2] for path in FIELDS if path.startswith("spec.")}
    is_there = name in fields | {*Reason}
    for page, words in DENIALS[name]:
        text = " ".join((DOCS / page).read_text().split())
        assert (words in text) is not is_there, f"docs/{page}: {words}"
