"""What the documentation shows can be done as it is written: commands, manifests, links, names."""

import argparse
import json
import re
import subprocess
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from multipartcopy.api.codec import from_json
from multipartcopy.api.spec import Spec
from multipartcopy.cli import manifest
from multipartcopy.cli.arguments import parser
from multipartcopy.cli.errors import CliError
from multipartcopy.cli.main import main
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
        ".spec.worker.resources.limits.cpu: write CPU in cores, for example 2 or 0.5, or in"
        " thousandths of one, for example 500m",
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


def asking_nobody() -> list[Block]:
    """Of the commands that print the same everywhere, what they print."""
    ours = re.compile(r"\$ kubectl mpc (estimate |copy .*--dry-run)")
    return [block for block in blocks("console") if ours.match(block.text)]


@pytest.mark.parametrize("block", asking_nobody(), ids=str)
def test_what_is_shown_is_what_is_printed(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    (words,) = commands(shell(block))
    assert main(words[2:]) == 0
    printed = capsys.readouterr().out.strip()
    assert f"{printed}\n".startswith(block.text.partition("\n")[2])


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
