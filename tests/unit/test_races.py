"""Two writers of one status, and answers that get lost: what no real API server shows on demand."""

import json
from dataclasses import replace
from typing import Any

import pytest

from multipartcopy.api.codec import to_json
from multipartcopy.api.status import Phase, Status, Upload
from multipartcopy.jobs import Image
from multipartcopy.kube import ConflictError, KubeError, NotFoundError
from multipartcopy.reconcile import writer
from multipartcopy.reconcile.act import Effects, Memory
from multipartcopy.reconcile.decide import Reason, Write
from multipartcopy.reconcile.facts import Limits, Resource, format_time, read_resource
from multipartcopy.reconcile.writer import LostRaceError
from tests.unit.facts import CLAIMED, FULL, NOW, OWNER, SPEC, UPLOADING, facts


class FakeKube:
    """One resource. ``meddle`` runs once before a patch is applied, as another client would."""

    def __init__(self, status: Status) -> None:
        self.body: dict[str, Any] | None = {
            "metadata": {
                "name": OWNER.name,
                "namespace": OWNER.namespace,
                "uid": OWNER.uid,
                "generation": 1,
                "resourceVersion": "7",
                "creationTimestamp": format_time(NOW),
            },
            "spec": to_json(SPEC),
            "status": to_json(status),
        }
        self.meddle: Any = None
        self.lose_answer = False
        self.events: list[str] = []

    def read(self) -> Resource:
        return read_resource(self.get_copy("", ""))

    def get_copy(self, namespace: str, name: str) -> dict[str, Any]:
        if self.body is None:
            raise NotFoundError(404, "gone")
        return json.loads(json.dumps(self.body))

    def bump(self, **status: Any) -> None:
        assert self.body
        version = int(self.body["metadata"]["resourceVersion"]) + 1
        self.body["metadata"]["resourceVersion"] = str(version)
        self.body["status"].update(status)

    def patch_copy_status(self, namespace: str, name: str, patch: list[dict[str, Any]]) -> Any:
        if self.meddle:
            meddle, self.meddle = self.meddle, None
            meddle()
        body = self.get_copy(namespace, name)
        test, *operations = patch
        if test["value"] != body["metadata"]["resourceVersion"]:
            raise ConflictError(422, "test failed")
        for operation in operations:
            *path, last = operation["path"].split("/")[1:]
            place = body
            for step in path:
                place = place[step]
            if operation["op"] == "remove":
                del place[last]
            else:
                place[last] = operation["value"]
        self.body = body
        self.bump()
        if self.lose_answer:
            self.lose_answer = False
            raise ConflictError(422, "a repeat of a request that was applied")
        return body

    def create_event(self, namespace: str, event: dict[str, Any]) -> None:
        self.events.append(event["reason"])

    def get_secret(self, namespace: str, name: str) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


def save(kube: FakeKube, status: Status) -> bool:
    resource = kube.read()
    return writer.write(
        kube,  # type: ignore[arg-type]
        resource,
        status,
        phase=Phase.COPYING,
        reason=Reason.COPYING,
        message="m",
        now=NOW,
    )


def test_a_write_without_news_is_none():
    kube = FakeKube(UPLOADING)
    assert save(kube, UPLOADING)
    assert not save(kube, kube.read().status)
    assert kube.events == ["Copying"]


def test_a_change_of_something_else_is_met_by_writing_again():
    kube = FakeKube(UPLOADING)
    kube.meddle = kube.bump
    assert save(kube, replace(UPLOADING, run=2))
    assert kube.read().status.run == 2


def test_another_writer_wins():
    kube = FakeKube(UPLOADING)
    kube.meddle = lambda: kube.bump(run=9)
    with pytest.raises(LostRaceError):
        save(kube, replace(UPLOADING, run=2))
    assert kube.read().status.run == 9


def test_our_own_write_whose_answer_was_lost_is_no_race():
    kube = FakeKube(UPLOADING)
    kube.lose_answer = True
    assert save(kube, replace(UPLOADING, run=2))


class Aborts:
    """In place of a store: the upload IDs that are aborted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ids: list[str] = []
        monkeypatch.setattr(Effects, "_store", lambda *_: self)

    def abort(self, upload_id: str) -> None:
        self.ids.append(upload_id)


def perform(kube: FakeKube, result: Write, memory: Memory) -> None:
    effects = Effects(kube, Image("i"), None, Limits())  # type: ignore[arg-type]
    observed = replace(facts(), resource=kube.read())
    effects.perform(result, observed, memory)


OURS = Upload("ours", checksum=True)
CREATED = Write(Phase.COPYING, Reason.UPLOAD_CREATED, "", replace(UPLOADING, upload=OURS))


@pytest.mark.parametrize(
    ("recorded", "aborted"), [({"id": "theirs"}, ["ours"]), ({"id": "ours"}, []), (None, ["ours"])]
)
def test_an_upload_is_aborted_only_if_nobody_recorded_it(monkeypatch, recorded, aborted):
    aborts, kube = Aborts(monkeypatch), FakeKube(CLAIMED)
    other = {"upload": recorded} if recorded else {"disagreements": 9}
    kube.meddle = lambda: kube.bump(**other)
    with pytest.raises(LostRaceError):
        perform(kube, CREATED, Memory(created="ours"))
    assert aborts.ids == aborted


def test_an_upload_whose_resource_is_gone_is_aborted(monkeypatch):
    aborts, kube = Aborts(monkeypatch), FakeKube(CLAIMED)

    def vanish() -> None:
        kube.body = None

    kube.meddle = vanish
    with pytest.raises(KubeError):
        perform(kube, CREATED, Memory(created="ours"))
    assert aborts.ids == ["ours"]


def test_a_later_race_leaves_the_recorded_upload_alone(monkeypatch):
    """Terabytes hang on it."""
    aborts, kube, memory = Aborts(monkeypatch), FakeKube(CLAIMED), Memory(created="ours")
    perform(kube, CREATED, memory)
    kube.meddle = lambda: kube.bump(run=9)
    progress = Write(Phase.COPYING, Reason.COPYING, "", replace(FULL, upload=OURS))
    with pytest.raises(LostRaceError):
        perform(kube, progress, memory)
    assert aborts.ids == []
