"""Two writers of one status, and answers that get lost: what no real API server shows on demand."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from multipartcopy.api.codec import to_json
from multipartcopy.api.conditions import summarize
from multipartcopy.api.names import ANNOTATION_RETRY, FINALIZER
from multipartcopy.api.status import Destination, Failing, Phase, Status, Upload
from multipartcopy.jobs import Image, build_job
from multipartcopy.kube import ConflictError, KubeError, NotFoundError
from multipartcopy.reconcile import act, writer
from multipartcopy.reconcile.act import Effects, Memory
from multipartcopy.reconcile.decide import Reason, Wait, Write, give_up
from multipartcopy.reconcile.facts import Facts, Limits, Resource, format_time, read_resource
from multipartcopy.reconcile.observe import observe
from multipartcopy.reconcile.writer import LostRaceError
from multipartcopy.s3.control import Access
from multipartcopy.s3.errors import Kind, S3Error
from tests.unit.facts import CLAIMED, FULL, NOW, OWNER, SPEC, UPLOADING, facts, pod, report


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
                "finalizers": [FINALIZER],
            },
            "spec": to_json(SPEC),
            "status": to_json(status),
        }
        self.meddle: Any = None
        self.lose_answer = False
        self.events: list[str] = []
        self.names: list[str | None] = []
        self.jobs: list[dict[str, Any]] = []
        self.before_jobs: Any = None

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

    def list_jobs(self, namespace: str, uid: str) -> list[dict[str, Any]]:
        if self.before_jobs:
            before, self.before_jobs = self.before_jobs, None
            before()
        return self.jobs

    def list_pods(self, namespace: str, uid: str) -> list[dict[str, Any]]:
        return []

    def list_warnings(self, namespace: str, uid: str) -> list[dict[str, Any]]:
        return []

    def create_event(self, namespace: str, event: dict[str, Any]) -> None:
        name = event["metadata"].get("name")
        if name and name in self.names:
            raise ConflictError(409, "there is an Event of that name")
        self.names.append(name)
        self.events.append(event["reason"])

    def get_secret(self, namespace: str, name: str, wanted_type: str | None) -> dict[str, str]:
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


class Uploads:
    """In place of a store: the uploads there are."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *ids: str) -> None:
        self.ids = list(ids)
        self.away = False
        monkeypatch.setattr(Effects, "_store", lambda *_: self)
        monkeypatch.setattr(act, "Store", lambda *_: self)

    def abort(self, upload_id: str) -> None:
        if self.away:
            raise S3Error("destination", "s3://b/k", "Abort", Kind.RETRY, "503", "away")
        self.ids.remove(upload_id)

    def upload_exists(self, upload_id: str) -> bool:
        return upload_id in self.ids


def perform(kube: FakeKube, result: Write, memory: Memory) -> None:
    effects = Effects(kube, Image("i"), None, Limits())  # type: ignore[arg-type]
    observed = replace(facts(), resource=kube.read())
    effects.perform(result, observed, memory)


def strays(kube: FakeKube, memory: Memory) -> tuple[str, ...]:
    return observe(kube, OWNER.namespace, OWNER.name, memory).strays  # type: ignore[arg-type]


OURS = Upload("ours", checksum=True)
CREATED = Write(Phase.COPYING, Reason.UPLOAD_CREATED, "", replace(UPLOADING, upload=OURS))


@pytest.mark.parametrize(
    ("recorded", "stray"), [({"id": "theirs"}, ("ours",)), ({"id": "ours"}, ()), (None, ("ours",))]
)
def test_an_upload_that_lost_a_race_is_to_be_aborted(recorded, stray):
    """Unless the winner has taken it up."""
    kube, memory = FakeKube(CLAIMED), Memory(uploads={"ours"})
    other = {"upload": recorded} if recorded else {"disagreements": 9}
    kube.meddle = lambda: kube.bump(**other)
    with pytest.raises(LostRaceError):
        perform(kube, CREATED, memory)
    assert strays(kube, memory) == stray


def test_a_later_race_leaves_the_recorded_upload_alone():
    """Terabytes hang on it."""
    kube, memory = FakeKube(CLAIMED), Memory(uploads={"ours"})
    perform(kube, CREATED, memory)
    kube.meddle = lambda: kube.bump(run=9)
    progress = Write(Phase.COPYING, Reason.COPYING, "", replace(FULL, upload=OURS))
    with pytest.raises(LostRaceError):
        perform(kube, progress, memory)
    assert strays(kube, memory) == ()


def test_the_upload_of_another_operators_new_job_is_no_stray():
    """It was recorded between our look at the resource and that at the Jobs."""
    kube = FakeKube(CLAIMED)

    def record() -> None:
        kube.bump(upload={"id": "theirs", "checksum": True})
        kube.jobs = [build_job(OWNER, SPEC, kube.read().status, [], Image("i"))]
        kube.jobs[0]["metadata"]["uid"] = "job-uid"

    kube.before_jobs = record
    assert strays(kube, Memory()) == ()
    assert strays(kube, Memory()) == ()
    kube.bump(upload={"id": "another"})
    assert strays(kube, Memory()) == ("theirs",)


def test_a_status_wiped_by_hand_leaves_its_upload_a_stray():
    kube, memory = FakeKube(UPLOADING), Memory()
    assert strays(kube, memory) == ()
    assert kube.body
    kube.body["status"] = {}
    assert strays(kube, memory) == (UPLOADING.upload.id,)  # type: ignore[union-attr]


def test_a_stray_known_by_its_job_is_remembered_when_the_job_is_deleted():
    """Its workers are stopped before it is aborted, and with them goes the Job that names it."""
    kube, memory = FakeKube(UPLOADING), Memory()
    kube.jobs = [build_job(OWNER, SPEC, UPLOADING, [], Image("i"))]
    kube.jobs[0]["metadata"]["uid"] = "job-uid"
    assert kube.body
    kube.body["status"] = {}
    assert strays(kube, memory) == ("upload-1",)
    kube.jobs = []
    assert strays(kube, memory) == ("upload-1",)


def test_the_ledger_is_not_kept_between_two_passes():
    """It is half a megabyte of the largest copies, thrice that as objects, and the API server has it."""
    kube, memory = FakeKube(FULL), Memory()
    effects = Effects(kube, Image("i"), None, Limits())  # type: ignore[arg-type]
    seen = Facts(NOW, kube.read())
    effects.perform(Wait(Phase.COPYING, Reason.COPYING, "m", 1.0, quiet=True), seen, memory)
    assert memory.last
    assert (memory.last.spec, memory.last.status.upload) == (SPEC, UPLOADING.upload)
    assert (memory.last.status.batches, memory.last.stored_status) == ({}, {})


@pytest.mark.parametrize("away", [False, True])
def test_a_resource_whose_finalizer_was_taken_away_is_buried(monkeypatch, away):
    store, kube = Uploads(monkeypatch, "ours"), FakeKube(CLAIMED)
    effects = Effects(kube, Image("i"), ("ns", "pod"), Limits())  # type: ignore[arg-type]
    memory = Memory(access={"destination": Access()}, uploads={"ours"}, last=kube.read())
    store.away = away
    effects.bury(memory)
    assert store.ids == (["ours"] if away else [])
    assert kube.events == (["UploadLeftBehind"] * 2 if away else [])


def test_a_kept_upload_is_buried_too(monkeypatch):
    store = Uploads(monkeypatch, "ours")
    failing = Failing("AccessDenied", "no", format_time(NOW))
    kept = replace(UPLOADING, phase=Phase.FAILED, failing=failing, completion_time=format_time(NOW))
    kube = FakeKube(kept)
    effects = Effects(kube, Image("i"), None, Limits())  # type: ignore[arg-type]
    effects.bury(Memory(access={"destination": Access()}, uploads={"ours"}, last=kube.read()))
    assert store.ids == []


def test_what_has_ended_well_needs_no_burial(monkeypatch):
    store = Uploads(monkeypatch, "ours")
    done = Status(
        phase=Phase.SUCCEEDED, completion_time=format_time(NOW), destination=Destination("e", 1)
    )
    kube = FakeKube(done)
    effects = Effects(kube, Image("i"), None, Limits())  # type: ignore[arg-type]
    effects.bury(Memory(access={"destination": Access()}, uploads={"ours"}, last=kube.read()))
    assert store.ids == ["ours"]


def test_the_end_is_announced_before_the_resource_is_released_and_once():
    """Whoever dies between the last write and the release."""
    kube = FakeKube(UPLOADING)
    done = replace(UPLOADING, completion_time=format_time(NOW), destination=Destination("e", 1))
    writer.write(
        kube,  # type: ignore[arg-type]
        kube.read(),
        done,
        phase=Phase.SUCCEEDED,
        reason=Reason.COPIED,
        message="m",
        now=NOW,
    )
    assert kube.events == []
    for _ in range(2):
        writer.announce_end(kube, kube.read(), NOW)  # type: ignore[arg-type]
    assert kube.events == ["Copied"]


def test_a_second_end_is_announced_as_well():
    """Of one that was tried again, perhaps before it had come to an attempt."""
    failed = replace(CLAIMED, phase=Phase.FAILED, claim=None, attempt=0)
    ends = [format_time(NOW + timedelta(hours=hours)) for hours in (0, 1)]
    said = summarize(Phase.FAILED, "SourceNotFound", "m", generation=1, now=ends[0], before=())
    kube = FakeKube(replace(failed, completion_time=ends[0], conditions=said))
    for end in ends:
        kube.bump(completionTime=end)
        writer.announce_end(kube, kube.read(), NOW)  # type: ignore[arg-type]
    assert kube.events == ["SourceNotFound"] * 2


def test_an_end_without_a_release_is_announced_at_once():
    kube = FakeKube(UPLOADING)
    failing = replace(UPLOADING, failing=Failing("AccessDenied", "no", format_time(NOW)))
    kept = replace(failing, completion_time=format_time(NOW))
    for phase, status in ((Phase.ABORTING, failing), (Phase.FAILED, kept), (Phase.FAILED, kept)):
        said = {"phase": phase, "reason": Reason.ACCESS_DENIED, "message": str(phase), "now": NOW}
        writer.write(kube, kube.read(), status, **said)  # type: ignore[arg-type]
    assert kube.events == ["AccessDenied"] * 2


@pytest.mark.parametrize(
    ("status", "handled"),
    [
        (UPLOADING, "1"),
        (replace(UPLOADING, handled_retry="0"), "1"),
        (replace(UPLOADING, failing=Failing("AccessDenied", "no", format_time(NOW))), None),
    ],
)
def test_what_is_asked_of_a_copy_under_way_is_not_left_for_its_failure(status, handled):
    kube = FakeKube(status)
    assert kube.body
    kube.body["metadata"]["annotations"] = {ANNOTATION_RETRY: "1"}
    perform(kube, Write(Phase.COPYING, Reason.COPYING, "m", status), Memory())
    assert kube.read().status.handled_retry == handled


def test_a_deletion_half_way_is_no_end():
    kube = FakeKube(UPLOADING)
    writer.announce_end(kube, kube.read(), NOW)  # type: ignore[arg-type]
    assert kube.events == []


@pytest.mark.parametrize("status", [0, 500])
def test_while_the_api_server_does_not_answer_the_end_is_not_taken_for_announced(status):
    done = replace(
        UPLOADING,
        phase=Phase.SUCCEEDED,
        completion_time=format_time(NOW),
        destination=Destination("e", 1),
        conditions=summarize(
            Phase.SUCCEEDED, "Copied", "m", generation=1, now=format_time(NOW), before=()
        ),
    )
    kube = FakeKube(done)

    def fail(*_: Any) -> None:
        raise KubeError(status, "no answer")

    kube.create_event = fail  # type: ignore[method-assign]
    with pytest.raises(KubeError):
        writer.announce_end(kube, kube.read(), NOW)  # type: ignore[arg-type]


def test_a_name_with_a_slash_is_one_step_of_a_patch():
    (operation,) = writer.difference({"batches": {"a/b~c": 1}}, {"batches": {}})
    assert operation == {"op": "remove", "path": "/status/batches/a~1b~0c"}


def test_a_copy_that_is_given_up_says_how_far_it_was():
    """What its pods have told last is in no progress yet."""
    kube = FakeKube(UPLOADING)
    effects = Effects(kube, Image("i"), None, Limits())  # type: ignore[arg-type]
    seen = replace(facts(), resource=kube.read(), pods=(pod(report("1-5", range(1, 6))),))
    effects.perform(give_up(seen, "SourceChanged", "it changed"), seen, Memory())
    progress = kube.read().status.progress
    assert progress
    assert (progress.parts_done, progress.percent) == (5, 25)
