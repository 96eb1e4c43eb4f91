"""`suspend`, `resume`, `retry`, `cancel`."""

import io

import pytest

from multipartcopy.cli.errors import Exit
from tests.unit.cli.api import COPYING, CREATED, NAMESPACE, Api, ended
from tests.unit.cli.conftest import Command

KEY = (NAMESPACE, "era5")


def changes(api: Api) -> list[str]:
    return [asked.split("/")[0].strip() for asked in api.asked if not asked.startswith("GET")]


def test_suspend_and_resume(api: Api, run: Command, capsys: pytest.CaptureFixture[str]):
    api.add("era5", COPYING)
    assert run("suspend", "era5") == Exit.DONE
    assert api.copies[KEY]["spec"]["suspend"] is True
    assert run("resume", "era5") == Exit.DONE
    assert api.copies[KEY]["spec"]["suspend"] is False
    assert run("resume", "era5") == Exit.DONE
    assert capsys.readouterr().out.splitlines() == [
        "era5 is suspended; what has arrived is kept",
        "era5 is resumed",
        "era5 is already resumed",
    ]
    assert changes(api) == ["PATCH", "PATCH"]


@pytest.mark.parametrize("command", ["suspend", "resume", "cancel"])
def test_a_copy_that_has_ended_is_left(api: Api, run: Command, command: str):
    api.add("era5", ended("Complete"))
    assert run(command, "era5") == Exit.REFUSED
    assert changes(api) == []


RETRY = "multipartcopy.dev/retry"


def test_retry_asks_once_for_each_failure(
    api: Api, run: Command, capsys: pytest.CaptureFixture[str]
):
    api.add("era5", ended("Failed"), annotations={"note": "n"})
    for _ in range(2):
        assert run("retry", "era5") == Exit.DONE
    assert api.copies[KEY]["metadata"]["annotations"] == {"note": "n", RETRY: CREATED}
    assert changes(api) == ["PATCH", "PATCH"]
    assert capsys.readouterr().out == "era5 is tried again, from the beginning\n" * 2


def test_retry_asks_again_for_what_has_failed_again_in_the_same_second(api: Api, run: Command):
    api.add("era5", {**ended("Failed"), "handledRetry": CREATED})
    assert run("retry", "era5") == Exit.DONE
    assert api.copies[KEY]["metadata"]["annotations"] == {RETRY: f"{CREATED}-again"}


def test_retry_says_that_parts_were_kept(
    api: Api, run: Command, capsys: pytest.CaptureFixture[str]
):
    api.add("era5", {**ended("Failed"), "failing": {"reason": "R"}})
    assert run("retry", "era5") == Exit.DONE
    assert capsys.readouterr().out == "era5 is tried again, with the parts that were kept\n"


@pytest.mark.parametrize("status", [COPYING, ended("Complete"), {}])
def test_retry_is_for_what_has_failed(api: Api, run: Command, status: dict[str, object]):
    api.add("era5", status)
    assert run("retry", "era5") == Exit.REFUSED
    assert changes(api) == []


def test_retry_is_followed_from_where_the_operator_has_begun(
    api: Api, run: Command, monkeypatch: pytest.MonkeyPatch
):
    """Before, the failure is still said."""
    api.add("era5", ended("Failed"))
    then = iter([COPYING, ended("Complete")])

    def operator(_: float) -> None:
        api.copies[KEY]["status"] = {**next(then), "handledRetry": CREATED}

    monkeypatch.setattr("multipartcopy.cli.change.time.sleep", operator)
    assert run("retry", "era5", "--wait", "--timeout=1m") == Exit.DONE


def test_retry_does_not_wait_for_ever_for_an_operator(
    api: Api, run: Command, capsys: pytest.CaptureFixture[str]
):
    api.add("era5", ended("Failed"))
    assert run("retry", "era5", "--wait", "--timeout=0") == Exit.TIMEOUT
    assert "no operator has begun to try era5 again yet" in capsys.readouterr().err


def test_cancel_deletes_and_waits(api: Api, run: Command, capsys: pytest.CaptureFixture[str]):
    api.add("era5", COPYING)
    assert run("cancel", "era5", "--yes") == Exit.DONE
    assert not api.copies
    assert capsys.readouterr().out == "era5 is cancelled\n"


def test_cancel_says_what_holds_it(api: Api, run: Command, capsys: pytest.CaptureFixture[str]):
    api.add("era5", COPYING)
    api.held.add("era5")
    assert run("cancel", "era5", "--yes", "--timeout=0") == Exit.TIMEOUT
    assert (
        "era5 is deleted, and goes when the operator has aborted its upload: m"
        in capsys.readouterr().err
    )


class TestAsking:
    def test_where_nobody_can_be_asked(self, api: Api, run: Command):
        api.add("era5", COPYING)
        assert run("cancel", "era5") == Exit.USAGE
        assert changes(api) == []

    @pytest.mark.parametrize(
        ("answer", "code"), [("y\n", Exit.DONE), ("\n", Exit.REFUSED), ("", Exit.REFUSED)]
    )
    def test_the_answer_counts(
        self,
        api: Api,
        run: Command,
        answer: str,
        code: Exit,
        monkeypatch: pytest.MonkeyPatch,
    ):
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        api.add("era5", COPYING)
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        assert run("cancel", "era5") == code
        assert bool(changes(api)) == (code is Exit.DONE)
