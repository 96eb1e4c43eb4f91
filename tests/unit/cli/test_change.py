"""`suspend`, `resume`, `retry`, `cancel`."""

import io

import pytest
import yaml

from multipartcopy.cli.errors import Exit
from tests.unit.cli.api import COPYING, NAMESPACE, Api, ended
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


def test_retry_makes_the_same_again(api: Api, run: Command):
    before = api.add(
        "era5",
        ended("Failed"),
        labels={"team": "climate"},
        annotations={"note": "n", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
        managedFields=[{"manager": "kubectl"}],
        ownerReferences=[{"uid": "u", "kind": "K", "name": "n", "apiVersion": "v1"}],
        generation=3,
    )
    assert run("retry", "era5", "--yes") == Exit.DONE
    after = api.copies[KEY]
    assert after["spec"] == before["spec"]
    assert "status" not in after
    meta = after["metadata"]
    assert meta["uid"] != before["metadata"]["uid"]
    assert meta["labels"] == {"team": "climate"}
    assert meta["annotations"] == {"note": "n"}
    assert meta["ownerReferences"] == before["metadata"]["ownerReferences"]
    assert not {"managedFields", "generation", "resourceVersion"} & meta.keys()


@pytest.mark.parametrize("status", [COPYING, ended("Complete"), {}])
def test_retry_is_for_what_has_failed(api: Api, run: Command, status: dict[str, object]):
    api.add("era5", status)
    assert run("retry", "era5", "--yes") == Exit.REFUSED
    assert changes(api) == []


def test_retry_waits_until_the_old_one_is_gone(
    api: Api, run: Command, monkeypatch: pytest.MonkeyPatch
):
    api.add("era5", ended("Failed"))
    api.held.add("era5")

    def let_go(_: float) -> None:
        api.copies.clear()

    monkeypatch.setattr("multipartcopy.cli.change.time.sleep", let_go)
    assert run("retry", "era5", "--yes") == Exit.DONE
    assert changes(api) == ["DELETE", "POST"]


def test_retry_loses_no_manifest(api: Api, run: Command, capsys: pytest.CaptureFixture[str]):
    before = api.add("era5", ended("Failed"))
    api.refusals["POST"] = (403, "no more")
    assert run("retry", "era5", "--yes") == Exit.REFUSED
    said = capsys.readouterr()
    assert yaml.safe_load(said.out)["spec"] == before["spec"]
    assert "era5 was deleted; above is its manifest" in said.err


def test_retry_may_find_it_made_by_another(api: Api, run: Command, monkeypatch: pytest.MonkeyPatch):
    """A GitOps tool, for one, that has seen it go."""
    api.add("era5", ended("Failed"))
    api.held.add("era5")
    monkeypatch.setattr("multipartcopy.cli.change.time.sleep", lambda _: api.add("era5", COPYING))
    assert run("retry", "era5", "--yes") == Exit.DONE
    assert api.copies[KEY]["status"] == COPYING


def test_retry_may_be_followed(api: Api, run: Command):
    api.add("era5", ended("Failed"))
    assert run("retry", "era5", "--yes", "--wait", "--timeout=0") == Exit.TIMEOUT


def test_cancel_deletes_and_waits(api: Api, run: Command, capsys: pytest.CaptureFixture[str]):
    api.add("era5", COPYING)
    assert run("cancel", "era5", "--yes") == Exit.DONE
    assert not api.copies
    assert capsys.readouterr().out == "era5 is cancelled\n"


def test_cancel_says_what_holds_it(api: Api, run: Command, capsys: pytest.CaptureFixture[str]):
    api.add("era5", COPYING)
    api.held.add("era5")
    assert run("cancel", "era5", "--yes", "--timeout=0") == Exit.TIMEOUT
    assert "era5 is deleted and not gone yet, it goes on by itself: m" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "status"), [("cancel", COPYING), ("retry", ended("Failed"))])
class TestAsking:
    def test_where_nobody_can_be_asked(self, api: Api, run: Command, command: str, status: object):
        api.add("era5", status)  # type: ignore[arg-type]
        assert run(command, "era5") == Exit.USAGE
        assert changes(api) == []

    @pytest.mark.parametrize(
        ("answer", "code"), [("y\n", Exit.DONE), ("\n", Exit.REFUSED), ("", Exit.REFUSED)]
    )
    def test_the_answer_counts(
        self,
        api: Api,
        run: Command,
        command: str,
        status: object,
        answer: str,
        code: Exit,
        monkeypatch: pytest.MonkeyPatch,
    ):
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        api.add("era5", status)  # type: ignore[arg-type]
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        assert run(command, "era5") == code
        assert bool(changes(api)) == (code is Exit.DONE)
