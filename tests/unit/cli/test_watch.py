"""What `watch` shows, and how it ends."""

import io

import pytest

from multipartcopy.cli import watch
from multipartcopy.cli.errors import Exit
from multipartcopy.cli.show import outcome
from multipartcopy.cli.watch import Lines, names, render, worst
from tests.unit.cli.api import COPYING, Api, ended
from tests.unit.cli.conftest import Command

HALF = {
    "phase": "Copying",
    "conditions": [{"type": "Complete", "status": "False", "reason": "OOMKilled", "message": "m"}],
    "progress": {
        "percent": 50,
        "parts": "32/64",
        "size": "1.0 GiB",
        "bytesDone": 1 << 29,
        "bytesTotal": 1 << 30,
        "bytesPerSecond": 1 << 20,
    },
}


def test_a_line_says_how_far_how_fast_and_why():
    assert render(HALF) == (
        "[############............]  50%  32/64 parts of 1.0 GiB  1.0 MiB/s  8m32s left"
        "  Copying (OOMKilled)"
    )


def test_a_copy_that_has_not_begun():
    assert render({}) == "[........................]   0%  Pending"


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        ("Complete", "True", (0, "R: m")),
        ("Failed", "True", (1, "R: m")),
        ("Complete", "False", None),
        ("Ready", "True", None),
    ],
)
def test_outcome(kind, status, expected):
    condition = {"type": kind, "status": status, "reason": "R", "message": "m"}
    assert outcome({"conditions": [condition]}) == expected


def test_lines_are_written_for_changes_alone():
    out = io.StringIO()
    lines = Lines(out, several=False)
    for status in (HALF, HALF, {}):
        lines.show("era5", status)
    lines.end("era5", "Copied: m")
    assert out.getvalue().splitlines() == [render(HALF), render({}), "Copied: m"]


def test_of_several_each_line_has_the_name():
    out = io.StringIO()
    Lines(out, several=True).show("era5", {})
    assert out.getvalue() == f"era5: {render({})}\n"


def test_a_name_has_its_namespace_where_there_are_several():
    assert names([("a", "x"), ("a", "y")]) == {("a", "x"): "x", ("a", "y"): "y"}
    assert names([("a", "x"), ("b", "x")]) == {("a", "x"): "a/x", ("b", "x"): "b/x"}


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ({Exit.DONE}, Exit.DONE),
        ({Exit.DONE, Exit.NOT_FOUND}, Exit.NOT_FOUND),
        ({Exit.DONE, Exit.NOT_FOUND, Exit.FAILED}, Exit.FAILED),
    ],
)
def test_the_worst_decides(codes, code):
    assert worst(codes) is code


def test_bars_are_for_a_terminal(monkeypatch: pytest.MonkeyPatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown = watch.view(Terminal(), {("default", "era5"): "era5"})
    assert isinstance(shown, watch.Bars)
    with shown as bars:
        bars.show("era5", HALF)
        (task,) = shown._progress.tasks
        assert task.completed == 50
        assert task.fields["words"].endswith("Copying (OOMKilled)")
        bars.end("era5", "a [word] in brackets")


def test_complete(api: Api, run: Command, capsys: pytest.CaptureFixture[str]):
    api.add("era5", ended("Complete", "Copied"))
    assert run("watch", "era5") == Exit.DONE
    assert capsys.readouterr().out.splitlines()[-1] == "Copied: m"


def test_failed(api: Api, run: Command):
    api.add("era5", ended("Failed"))
    assert run("watch", "era5") == Exit.FAILED


def test_many_at_once_and_one_of_them_failed(
    api: Api, run: Command, capsys: pytest.CaptureFixture[str]
):
    api.add("good", ended("Complete", "Copied"))
    api.add("bad", ended("Failed", "SourceChanged"))
    assert run("watch", "good", "bad") == Exit.FAILED
    lines = capsys.readouterr().out.splitlines()
    assert "good: Copied: m" in lines
    assert "bad: SourceChanged: m" in lines


def test_without_names_what_is_under_way(
    api: Api, run: Command, capsys: pytest.CaptureFixture[str]
):
    api.add("old", ended("Failed"))
    api.add("new", COPYING)
    api.add("elsewhere", COPYING, namespace="other")
    assert run("watch", "--timeout=0") == Exit.TIMEOUT
    assert capsys.readouterr().out.splitlines()[-1] == "new has not ended within 0 s; it goes on"
    assert run("watch", "--all-namespaces", "--timeout=0") == Exit.TIMEOUT
    assert "2 copies have not ended" in capsys.readouterr().out


def test_what_is_wrong_is_said_once_in_its_own_words(
    api: Api, run: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    waiting = {"type": "Complete", "status": "False", "reason": "SecretNotFound", "message": "no s"}
    api.add("era5", {"phase": "Pending", "conditions": [waiting]})
    looks = iter([None, None, ended("Complete", "Copied")])

    def later(_: float) -> None:
        if status := next(looks):
            api.copies["default", "era5"]["status"] = status

    monkeypatch.setattr(watch.time, "sleep", later)
    assert run("watch", "era5") == Exit.DONE
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("Pending (SecretNotFound)")
    assert lines[1] == "SecretNotFound: no s"
    assert lines[2].endswith("Succeeded (Copied)")
    assert lines[3:] == ["Copied: m"]


def test_a_suspended_one_does_not_go_on(api: Api, run: Command, capsys: pytest.CaptureFixture[str]):
    api.add("era5", {**COPYING, "phase": "Suspended"})
    assert run("watch", "era5", "--timeout=0") == Exit.TIMEOUT
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "era5 has not ended within 0 s; it is suspended"


def test_nothing_to_watch(api: Api, run: Command, capsys: pytest.CaptureFixture[str]):
    assert run("watch") == Exit.DONE
    assert capsys.readouterr().out == "there is no MultipartCopy under way\n"


def test_a_name_that_is_not_there(api: Api, run: Command, capsys: pytest.CaptureFixture[str]):
    assert run("watch", "nope") == Exit.NOT_FOUND
    assert capsys.readouterr().out == "there is no MultipartCopy nope in namespace default\n"


def test_a_copy_that_is_deleted_meanwhile(
    api: Api, run: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    api.add("era5", COPYING)
    monkeypatch.setattr(watch.time, "sleep", lambda _: api.copies.clear())
    assert run("watch", "era5") == Exit.NOT_FOUND
    assert capsys.readouterr().out.splitlines()[-1] == "era5 was deleted"


def test_an_interrupt_leaves_the_copy_and_says_so(
    api: Api, run: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    api.add("era5", COPYING)
    monkeypatch.setattr(watch.time, "sleep", interrupt)
    assert run("watch", "era5") == Exit.INTERRUPTED
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "era5 goes on without you; to stop it, suspend or cancel it"
    assert not [asked for asked in api.asked if not asked.startswith("GET")]


def test_an_api_server_that_is_away_for_a_moment(
    api: Api, run: Command, monkeypatch: pytest.MonkeyPatch
):
    api.add("era5", COPYING)
    refusals = iter([{".": (503, "away")}, {}])

    def next_answer(_: float) -> None:
        api.refusals = next(refusals)
        if not api.refusals:
            api.add("era5", ended("Complete"))

    monkeypatch.setattr(watch.time, "sleep", next_answer)
    assert run("watch", "era5") == Exit.DONE


def test_one_that_never_answers(api: Api, run: Command, capsys: pytest.CaptureFixture[str]):
    api.refusals["."] = (503, "away")
    assert run("watch", "era5") == Exit.UNREACHABLE
    assert "the cluster does not answer: away" in capsys.readouterr().err


def test_what_nobody_has_looked_at_is_not_said_to_go_on(
    api: Api, run: Command, capsys: pytest.CaptureFixture[str]
):
    api.add("new", {})
    assert run("watch", "new", "--timeout=0") == Exit.TIMEOUT
    assert "see that the operator runs" in capsys.readouterr().out
