"""The command as a whole: how it starts, what it imports, and each way to end."""

import copy
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from multipartcopy import __version__
from multipartcopy.cli import arguments, cluster
from multipartcopy.cli.arguments import duration, parser
from multipartcopy.cli.completion import names
from multipartcopy.cli.errors import MEANINGS, Exit
from multipartcopy.cli.main import main
from tests.unit.cli.api import COPYING, Api, ended
from tests.unit.cli.conftest import Command

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/cli.md").read_text()
COMMANDS = [
    *("copy", "get", "describe", "watch", "logs", "suspend", "resume", "retry", "cancel"),
    *("uploads", "estimate", "completion"),
]
SLOW = ("rich", "pykube", "requests", "boto3", "botocore", "yaml", "kopf", "kubernetes")


def imported_by(*words: str) -> list[str]:
    """Of what is slow to import, what the command imports to its end."""
    code = (
        "import sys\nfrom multipartcopy.cli.main import main\n"
        f"sys.argv[1:] = {words!r}\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('imported:', *[m for m in {SLOW!r} if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
    )
    return shown.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize("words", [["--help"], ["copy", "--help"], ["estimate", "5Ti"]])
def test_what_asks_nobody_imports_nothing_slow(words: list[str]):
    assert imported_by(*words) == []


def test_a_manifest_is_made_without_a_cluster():
    words = ["--source-anonymous", "--destination-secret=s", "--dry-run"]
    assert imported_by("copy", "s3://a-bucket/k", "s3://b-bucket/k", *words) == ["yaml"]


def test_the_cluster_is_asked_without_kopf_and_its_client():
    found = imported_by("get", "--context=none")
    assert "pykube" in found
    assert not {"kopf", "kubernetes", "boto3", "rich"} & set(found)


# Each exit status once; those of `watch` are in test_watch.py, the times over in test_change.py.


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nonsense"],
        ["watch", "era5", "--timeout=soon"],
        ["copy", "s3://a/b", "s3://c/d", "--parallel=3"],
        ["estimate", "large"],
        ["completion", "cmd"],
    ],
)
def test_usage(words: list[str], capsys: pytest.CaptureFixture[str]):
    """In one sentence, and not after a page of flags."""
    with pytest.raises(SystemExit) as exit:
        main(words)
    assert exit.value.code == Exit.USAGE
    (said,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"kubectl multipartcopy.*: .*\(kubectl multipartcopy.* --help .*\)", said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gett"], "invalid choice: 'gett' (choose from"),
        (["copy", "s3://a/b", "s3://c/d", "--parallel=3", "x"], "copy: unknown: --parallel=3 x"),
        (["copy", "a", "b", "--parallelism=x"], "argument --parallelism: 'x' is no whole number"),
        (["watch", "--timeout=24856d"], "argument --timeout: write at most 24855d"),
    ],
)
def test_what_is_wrong_is_said(words: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(words)
    assert said in capsys.readouterr().err


def test_done(api: Api, run: Command):
    api.add("era5")
    assert run("get", "era5") == Exit.DONE


def test_it_says_who_it_is(api: Api, run: Command):
    """The API server keeps it with the fields that it sets."""
    api.add("era5")
    run("suspend", "era5")
    assert api.agents == {f"kubectl-multipartcopy/{__version__}"}


@pytest.mark.parametrize("command", ["get", "describe", "logs", "suspend", "retry", "cancel"])
def test_not_found(run: Command, command: str, capsys: pytest.CaptureFixture[str]):
    assert run(command, "nope") == Exit.NOT_FOUND
    said = capsys.readouterr().err
    assert said == ("kubectl multipartcopy: there is no MultipartCopy nope in namespace default\n")


def test_no_definition(api: Api, run: Command, capsys: pytest.CaptureFixture[str]):
    api.refusals["."] = (404, "404 page not found")
    assert run("get") == Exit.NOT_FOUND
    assert "the operator is not installed" in capsys.readouterr().err


def test_unreachable(run: Command, api: Api, capsys: pytest.CaptureFixture[str]):
    api.shutdown()
    api.server_close()
    assert run("get") == Exit.UNREACHABLE
    assert "the cluster does not answer" in capsys.readouterr().err


def test_no_kubeconfig(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(cluster, "_kubeconfig", lambda _: {"users": None})
    assert main(["get"]) == Exit.UNREACHABLE
    assert "no cluster to ask" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kubectls", "ours"),
    [
        (
            "error: current-context must exist in order to minify\n",
            "the kubeconfig has no current context: set KUBECONFIG, or write --context",
        ),
        ("error: cannot locate context none", "cannot locate context none"),
    ],
)
def test_no_context(
    kubectls: str, ours: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def refuse(_: object) -> None:
        raise subprocess.CalledProcessError(1, "kubectl", stderr=kubectls)

    monkeypatch.setattr(cluster, "_kubeconfig", refuse)
    assert main(["get"]) == Exit.UNREACHABLE
    assert capsys.readouterr().err == f"kubectl multipartcopy: no cluster to ask: {ours}\n"


def test_no_kubectl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["get"]) == Exit.UNREACHABLE
    assert "no kubectl on the PATH" in capsys.readouterr().err


def test_refused(api: Api, run: Command, capsys: pytest.CaptureFixture[str]):
    api.refusals["GET .*multipartcopies"] = (403, "you may not list")
    assert run("get") == Exit.REFUSED
    assert capsys.readouterr().err == "kubectl multipartcopy: you may not list\n"


def test_interrupted(monkeypatch: pytest.MonkeyPatch):
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cluster, "_kubeconfig", interrupt)
    assert main(["get"]) == Exit.INTERRUPTED


def test_every_status_is_told_in_the_help_and_on_the_page():
    shown = parser().format_help()
    for code, meaning in MEANINGS.items():
        assert f"{code:<4} {meaning}" in shown
        assert f"| {code} | {meaning}" in PAGE
    assert set(MEANINGS) == set(Exit)


def test_every_command_has_its_part_of_the_page():
    assert [c for c in COMMANDS if f"\n### {c}\n" not in PAGE] == []
    (commands,) = (a for a in parser()._actions if a.metavar == "COMMAND")
    assert list(commands.choices or ()) == COMMANDS


# Its words.


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1h30m", 5400), ("7d", 604800), ("0", 0)]
)
def test_durations(text: str, seconds: float):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1w", "-1", "1 h"])
def test_no_durations(text: str):
    with pytest.raises(arguments.argparse.ArgumentTypeError):
        duration(text)


def test_the_cluster_s_token_is_asked_for_by_exec(
    api: Api, run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """And once more when it has run out."""
    plugin = tmp_path / "plugin"
    plugin.write_text(
        "#!/bin/sh\n"
        'echo "$KUBERNETES_EXEC_INFO" | grep -q client.authentication.k8s.io/v1 || exit 1\n'
        'echo x >> "$COUNT"\n'
        """echo '{"status": {"token": "token-'$(wc -l < "$COUNT" | tr -d ' ')'"}}'\n"""
    )
    plugin.chmod(0o700)
    config = api.kubeconfig
    command = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(plugin),
        "env": [{"name": "COUNT", "value": str(tmp_path / "count")}],
    }
    config["users"][0]["user"] = {"exec": command}
    monkeypatch.setattr(cluster, "_kubeconfig", lambda _: copy.deepcopy(config))
    api.add("era5")
    assert run("get") == Exit.DONE
    assert api.tokens == ["Bearer token-1"]
    api.refusals["."] = (401, "Unauthorized")
    assert run("get") == Exit.REFUSED
    assert api.tokens[1:] == ["Bearer token-2", "Bearer token-3"]


def test_a_list_is_read_a_page_at_a_time(api: Api, run: Command):
    api.add("era5")
    run("get", "-A")
    assert api.asked == ["GET /apis/multipartcopy.dev/v1alpha1/multipartcopies?limit=50"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["res"], ["resume"]),
        (["copy", "s3://a/b", "--overw"], ["--overwrite"]),
        (["copy", "--overwrite", ""], ["IfDifferent", "Always", "Never"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["copy", "/etc/pas"], []),
    ],
)
def test_words_are_completed_as_kubectl_asks(words: list[str], expected: list[str]):
    """In a process of its own: argcomplete takes a file descriptor that may be somebody's."""
    code = "from multipartcopy.cli.completion import kubectl; kubectl()"
    shown = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
    )
    assert shown.stdout.splitlines() == [*expected, ":4"]


def test_names_are_completed_from_the_cluster(api: Api):
    api.add("era5")
    assert names(arguments.argparse.Namespace(namespace=None)) == ["era5"]
    api.refusals["."] = (403, "no")
    assert names(arguments.argparse.Namespace()) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str, capsys: pytest.CaptureFixture[str]):
    assert main(["completion", shell]) == Exit.DONE
    script = capsys.readouterr().out
    assert "kubectl-mpc" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_the_reader_may_go_away(api: Api, run: Command, monkeypatch: pytest.MonkeyPatch):
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

        def fileno(self) -> int:
            return os.open(os.devnull, os.O_WRONLY)

    api.add("era5", COPYING)
    monkeypatch.setattr(sys, "stdout", Closed())
    assert run("get") == Exit.DONE


def test_logs_are_kubectls(api: Api, run: Command, monkeypatch: pytest.MonkeyPatch):
    resource = api.add("era5", COPYING)
    api.children["pods"].append({"metadata": {"name": "p"}})
    called: list[list[str]] = []

    def kubectl(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        called.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", kubectl)
    assert run("logs", "era5", "-f") == Exit.DONE
    (command,) = called
    assert command[:3] == ["kubectl", "logs", "--namespace=default"]
    assert f"--selector=multipartcopy.dev/uid={resource['metadata']['uid']}" in command
    assert "--follow" in command


def test_logs_of_a_copy_without_pods(api: Api, run: Command):
    api.add("era5", ended("Complete"))
    assert run("logs", "era5") == Exit.NOT_FOUND
