"""What the operator tells Prometheus, and that nothing keeps it from naming an upload that it leaves behind."""

import asyncio
import logging
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from multipartcopy import commands
from multipartcopy.api.codec import to_json
from multipartcopy.api.names import FINALIZER
from multipartcopy.api.reasons import Reason
from multipartcopy.api.status import Failing, Phase, Status, Upload
from multipartcopy.commands import _listener
from multipartcopy.handlers import Options
from multipartcopy.jobs import Image
from multipartcopy.kube import KubeError
from multipartcopy.metrics import _MOST_LEFT_BEHIND, ListenError, Metrics
from multipartcopy.reconcile import decide as steps
from multipartcopy.reconcile.act import Effects, Memory
from multipartcopy.reconcile.controller import Controller
from multipartcopy.reconcile.decide import Write, decide
from multipartcopy.reconcile.facts import Limits, format_time
from multipartcopy.reconcile.writer import LostRaceError
from multipartcopy.s3.control import ListedUpload
from multipartcopy.s3.errors import Kind, S3Error
from tests.unit.facts import (
    CLAIMED,
    FULL,
    NOW,
    OWNER,
    SPEC,
    UPLOADING,
    MiB,
    facts,
    pod,
    report,
    with_parts,
)
from tests.unit.test_races import FakeKube, Uploads

ROOT = Path(__file__).parents[2]
OWN = ("multipartcopy-system", "operator-0")
AWAY = S3Error("destination", "s3://to/key", "ListParts", Kind.RETRY, "SlowDown", "m")

# The longest that the resource takes.
ENDPOINT = f"https://{'h' * 500}.io"
BUCKET = "b" * 63
KEY = 'k"\\\n' + "k" * 1020
UPLOAD_ID = "u" * 2048
LONGEST = replace(
    SPEC.destination, s3=replace(SPEC.destination.s3, endpoint=ENDPOINT, bucket=BUCKET, key=KEY)
)


def samples(metrics: Metrics) -> list[Any]:
    return [s for family in metrics.registry.collect() for s in family.samples]


def sample(metrics: Metrics, name: str, /, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


class Kube(FakeKube):
    """``leaving``: its namespace is being deleted, where nothing can be created any more."""

    def __init__(self, status: Status, *, leaving: bool = False) -> None:
        super().__init__(status)
        self.leaving = leaving
        self.messages: dict[str, list[str]] = {}

    def create_event(self, namespace: str, event: dict[str, Any]) -> None:
        if self.leaving and namespace == OWNER.namespace:
            raise KubeError(403, "forbidden: namespace default is being terminated")
        assert event["involvedObject"]["namespace"] == event["metadata"]["namespace"] == namespace
        if event["reason"] == Reason.UPLOAD_LEFT_BEHIND:
            self.messages.setdefault(namespace, []).append(event["message"])

    def list_jobs(self, namespace: str, uid: str) -> list[Any]:
        return []

    def list_pods(self, namespace: str, uid: str) -> list[Any]:
        return []


def effects(kube: FakeKube, pod: tuple[str, str] | None = None) -> Effects:
    return Effects(kube, Image("i"), pod, Limits())  # type: ignore[arg-type]


def names_all(text: str) -> bool:
    return all(word in text for word in (ENDPOINT, BUCKET, KEY, UPLOAD_ID))


@pytest.mark.parametrize("leaving", [False, True])
@pytest.mark.parametrize("pod", [OWN, None])
@pytest.mark.parametrize("deleted", [True, False])
def test_an_upload_left_behind_is_named_wherever_it_can_be(caplog, leaving, pod, deleted):
    """In full, even the longest; the namespace may be going, and the operator may be in no pod."""
    yesterday = NOW - timedelta(days=1)
    failing = None if deleted else Failing("SourceNotFound", "m", format_time(yesterday))
    status = replace(UPLOADING, upload=Upload(UPLOAD_ID), failing=failing)
    kube = Kube(status, leaving=leaving)
    assert kube.body
    kube.body["spec"] = to_json(replace(SPEC, destination=LONGEST))
    if deleted:
        mark = {"finalizers": [FINALIZER], "deletionTimestamp": format_time(yesterday)}
        kube.body["metadata"] |= mark
    effect = effects(kube, pod)
    seen = replace(facts(abort_failed_since=yesterday), resource=kube.read())
    action = decide(seen, Limits())
    assert isinstance(action, steps.GiveUpAbort)
    with caplog.at_level(logging.ERROR):
        effect.perform(action, seen, Memory())
    (line,) = caplog.messages
    assert names_all(line)
    labels = {"namespace": OWNER.namespace, "name": OWNER.name, "endpoint": ENDPOINT}
    labels |= {"bucket": BUCKET, "key": KEY, "upload_id": UPLOAD_ID, "owner": "ours"}
    assert sample(effect.metrics, "multipartcopy_upload_left_behind", **labels) == 1
    told = ([] if leaving else [OWNER.namespace]) + ([OWN[0]] if pod else [])
    assert list(kube.messages) == told
    assert all(names_all(message) for (message,) in kube.messages.values())
    assert all(m.startswith("default/copy: ") for m in kube.messages.get(OWN[0], []))
    after = kube.read().status
    assert after.upload == Upload(UPLOAD_ID)
    assert after.claim is None  # it is let go


@pytest.mark.parametrize(
    ("status", "strays", "uploads"),
    [
        (UPLOADING, (), ["upload-1"]),
        (UPLOADING, ("stray",), ["upload-1", "stray"]),
        (CLAIMED, (), ["unknown"]),
    ],
)
def test_each_upload_has_its_series(status, strays, uploads):
    effect = effects(kube := FakeKube(status))
    seen = replace(facts(), resource=kube.read(), strays=strays)
    action = steps.GiveUpAbort(Phase.ABORTING, Reason.ABORTING, "m")
    effect.perform(action, seen, Memory())
    assert left_behind(effect.metrics) == [(upload, "ours") for upload in uploads]


def test_an_upload_that_may_be_a_strangers_is_told_apart(monkeypatch):
    """Who aborts what an alert names must not abort somebody else's."""
    other = ListedUpload("other", NOW)

    class Store:
        def abort(self, upload_id: str) -> None: ...

        def upload_exists(self, upload_id: str) -> bool:
            return False

        def list_uploads(self) -> Any:
            return [other], NOW

        def list_parts(self, upload_id: str) -> Any:
            return [], True

    monkeypatch.setattr(Effects, "_store", lambda *_: Store())
    effect = effects(kube := FakeKube(UPLOADING))
    seen = replace(facts(), resource=kube.read())
    effect.perform(steps.Abort(Phase.ABORTING, Reason.ABORTING, "m"), seen, Memory())
    assert left_behind(effect.metrics) == [("other", "unknown")]


def left_behind(metrics: Metrics) -> list[tuple[str, str]]:
    return [
        (s.labels["upload_id"], s.labels["owner"])
        for s in samples(metrics)
        if s.name == "multipartcopy_upload_left_behind"
    ]


def test_the_series_of_uploads_are_bounded_and_the_oldest_goes():
    metrics = Metrics()
    for number in (*range(_MOST_LEFT_BEHIND), *range(5), _MOST_LEFT_BEHIND):
        metrics.left_behind("ns", "n", SPEC.destination.s3, str(number), ours=True)
    kept = range(1, _MOST_LEFT_BEHIND + 1)
    assert left_behind(metrics) == [(str(number), "ours") for number in kept]


def test_a_copy_is_counted_once_when_it_ends():
    kube = FakeKube(UPLOADING)
    effect = effects(kube)
    for message in ("m", "another"):
        seen = replace(facts(), resource=kube.read())
        failed = Write(Phase.FAILED, Reason.SOURCE_NOT_FOUND, message, seen.status)
        effect.perform(failed, seen, Memory())
        assert kube.read().status.conditions[0].message == message
    name = "multipartcopy_copies_finished_total"
    labels = {"phase": "Failed", "reason": "SourceNotFound"}
    assert sample(effect.metrics, name, **labels) == 1
    assert sample(effect.metrics, name, phase="Succeeded", reason="Copied") == 0


def test_what_the_ledger_gains_is_counted_and_what_it_loses_is_not():
    """Parts that have to be sent again are copied again."""
    kube = FakeKube(UPLOADING)
    effect = effects(kube)
    for parts in (range(1, 8), range(1, 6), range(1, 7)):
        seen = replace(facts(), resource=kube.read())
        status = with_parts(replace(seen.status, run=seen.status.run + 1), parts)
        effect.perform(Write(Phase.COPYING, Reason.COPYING, "m", status), seen, Memory())
    assert sample(effect.metrics, "multipartcopy_copied_parts_total") == 8
    assert sample(effect.metrics, "multipartcopy_copied_bytes_total") == 8 * 5 * MiB


def test_a_restart_counts_nothing_that_was_there_before():
    effect = effects(kube := FakeKube(FULL))
    seen = replace(facts(), resource=kube.read())
    assert effect.perform(Write(Phase.COPYING, Reason.COPYING, "m", FULL), seen, Memory()) is None
    assert sample(effect.metrics, "multipartcopy_copied_parts_total") == 0


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (replace(CLAIMED, attempt=2), Reason.UPLOAD_LOST),
        (replace(CLAIMED, attempt=2), Reason.CHECKSUM_REFUSED),
        (replace(UPLOADING, disagreements=1), Reason.PARTS_DISAGREE),
    ],
)
def test_what_is_done_again_is_counted(after, reason):
    effect = effects(kube := FakeKube(UPLOADING))
    seen = replace(facts(), resource=kube.read())
    effect.perform(Write(Phase.PREPARING, reason, "m", after), seen, Memory())
    assert sample(effect.metrics, "multipartcopy_retries_total", reason=reason) == 1


def test_a_failed_pod_is_a_retry_once_and_where_the_copy_goes_on():
    effect, memory = effects(kube := FakeKube(UPLOADING)), Memory()
    killed = pod("", code=137, reason="OOMKilled", uid="1")
    final = pod(report("1", range(1, 2)), code=42, uid="2")
    wait = steps.Wait(Phase.COPYING, Reason.COPYING, "m", 1.0)

    def look(*pods: Any, **more: Any) -> float | None:
        seen = replace(facts(UPLOADING, pods=pods, **more), resource=kube.read())
        effect.perform(wait, seen, memory)
        return sample(effect.metrics, "multipartcopy_retries_total", reason="OOMKilled")

    assert look(killed, final, pod(uid="3")) == 1
    assert look(gone_pods=(killed,)) == 1
    assert look(killed, replace(killed, uid="4")) == 2
    kube.bump(failing=to_json(Failing("SourceChanged", "m", format_time(NOW))))
    assert look(replace(killed, uid="5")) == 2
    total = "multipartcopy_retries_total"
    assert sum(s.value for s in samples(effect.metrics) if s.name == total) == 2


def test_pods_are_counted_as_long_as_they_live():
    effect, memory = effects(kube := FakeKube(UPLOADING)), Memory()
    wait = steps.Wait(Phase.COPYING, Reason.COPYING, "m", 1.0)

    def count(*pods: Any) -> tuple[float | None, ...]:
        effect.perform(wait, replace(facts(pods=pods), resource=kube.read()), memory)
        states = ("running", "waiting")
        return tuple(sample(effect.metrics, "multipartcopy_worker_pods", state=s) for s in states)

    assert count(pod(), replace(pod(), running=False), pod("")) == (1, 1)
    assert count(pod(), pod()) == (2, 0)
    effect.metrics.pods("another", running=1, waiting=0)
    assert count() == (1, 0)


def test_an_upload_is_aborted_once(monkeypatch):
    store = Uploads(monkeypatch, "upload-1")
    effect, memory = effects(kube := FakeKube(UPLOADING)), Memory()
    monkeypatch.setattr(store, "abort", lambda _: store.ids.clear())
    monkeypatch.setattr(effect.__class__, "_name_doubtful_uploads", lambda *_: None)
    for _ in range(2):
        seen = replace(facts(UPLOADING), resource=kube.read())
        effect.perform(steps.Abort(Phase.ABORTING, Reason.ABORTING, "m"), seen, memory)
        kube.bump(upload={"id": "upload-1"})
    assert sample(effect.metrics, "multipartcopy_uploads_aborted_total") == 1


@pytest.mark.parametrize(
    ("problem", "error"),
    [
        (LostRaceError("ns/n"), "conflict"),
        (KubeError(500, "m"), "kubernetes"),
        (ValueError("m"), "defect"),
    ],
)
def test_a_pass_is_timed_and_its_failure_counted(monkeypatch, problem, error):
    kube = FakeKube(UPLOADING)
    effect = effects(kube)

    async def work() -> None:
        controller = Controller(kube, effect)  # type: ignore[arg-type]
        loop, failed = asyncio.get_running_loop(), asyncio.Event()

        def fail(*_: Any) -> None:
            loop.call_soon_threadsafe(failed.set)
            raise problem

        monkeypatch.setattr(Effects, "perform", fail)
        controller.notice(kube.get_copy("", ""))
        await asyncio.wait_for(failed.wait(), 60)
        await controller.stop(60)

    asyncio.run(work())
    name = "multipartcopy_reconcile_errors_total"
    assert sample(effect.metrics, name, error=error) == 1
    assert sample(effect.metrics, "multipartcopy_reconcile_duration_seconds_count") == 1
    assert sample(effect.metrics, "multipartcopy_worker_pods", state="running") == 0


def test_what_a_store_answers_is_counted(monkeypatch):
    def store(*_: Any) -> None:
        raise AWAY

    monkeypatch.setattr(Effects, "_store", store)
    effect = effects(kube := FakeKube(UPLOADING))
    seen = replace(facts(), resource=kube.read())
    effect.perform(steps.ListParts(Phase.COPYING, Reason.COPYING, "m"), seen, Memory())
    labels = {"side": "destination", "reason": "DestinationUnavailable"}
    assert sample(effect.metrics, "multipartcopy_store_errors_total", **labels) == 1


def test_a_copy_is_under_way_as_long_as_it_is_worked_on(monkeypatch):
    kube = Kube(replace(UPLOADING, phase=Phase.ABORTING))
    body = kube.get_copy("", "")
    body["metadata"] |= {"finalizers": [FINALIZER], "deletionTimestamp": format_time(NOW)}
    kube.body = body
    effect = effects(kube)
    seen = []

    def under_way() -> float | None:
        labels = {"phase": "Aborting", "reason": "Inspecting"}
        return sample(effect.metrics, "multipartcopy_copies_under_way", **labels)

    async def work() -> None:
        controller, loop = Controller(kube, effect), asyncio.get_running_loop()  # type: ignore[arg-type]

        def store(*_: Any) -> None:
            seen.append(under_way())
            kube.body = None
            loop.call_soon_threadsafe(controller.notice, body)
            raise AWAY

        monkeypatch.setattr(Effects, "_store", store)
        controller.notice(body)
        (task,) = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait_for(task, 60)
        await controller.stop(0)

    asyncio.run(work())
    assert seen == [1]
    assert under_way() == 0


@pytest.fixture
def served() -> Iterator[tuple[Metrics, int]]:
    metrics = Metrics()
    server = metrics.serve("127.0.0.1", 0)
    yield metrics, server.server_port
    server.shutdown()
    server.server_close()


def test_a_scrape(served):
    """Names and help as Prometheus wants them, and labels that survive."""
    metrics, port = served
    metrics.left_behind("ns", "n", LONGEST.s3, UPLOAD_ID, ours=True)
    metrics.store_error("source", Reason.ACCESS_DENIED)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = {f.name: f for f in text_string_to_metric_families(answer.read().decode())}
    ours = {name for name in families if name.startswith("multipartcopy_")}
    assert all("?" in families[name].documentation for name in ours)
    assert {"process_start_time_seconds", "process_resident_memory_bytes"} <= families.keys()
    (left,) = families["multipartcopy_upload_left_behind"].samples
    assert (left.labels["key"], left.labels["upload_id"]) == (KEY, UPLOAD_ID)


def test_a_port_that_is_taken_is_told_in_a_sentence(served):
    _, port = served
    with pytest.raises(ListenError, match="Address already in use"):
        Metrics().serve("127.0.0.1", port)
    command = [sys.executable, "-m", "multipartcopy", "operator", f"--metrics=127.0.0.1:{port}"]
    environment = {**os.environ, "PYTHONPATH": "operator"}
    tried = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=60
    )
    message = f"multipartcopy: no metrics at 127.0.0.1:{port}: Address already in use\n"
    assert (tried.returncode, tried.stderr) == (1, message)


@pytest.mark.parametrize(
    ("text", "listener"),
    [("127.0.0.1:9", ("127.0.0.1", 9)), ("[::]:9", ("::", 9)), ("", None)],
)
def test_where_to_listen(text, listener):
    assert _listener(text) == listener


@pytest.mark.parametrize("text", ["8081", ":8081", "a", "a:b", "a:99999", "http://a:1", "a:1/m"])
def test_what_is_no_place_to_listen(text):
    with pytest.raises(Exception, match=r"is not like 0\.0\.0\.0:8081"):
        _listener(text)


@pytest.mark.parametrize(
    ("pod_ip", "everywhere"),
    [(None, "0.0.0.0"), ("10.0.0.1", "0.0.0.0"), ("fd00::1", "[::]")],  # noqa: S104
)
def test_it_listens_where_the_kubelet_asks(monkeypatch, pod_ip, everywhere):
    """In some clusters there is no IPv4."""
    chosen = []
    monkeypatch.setattr(commands, "_operate", chosen.append)
    monkeypatch.setattr(sys, "argv", ["multipartcopy", "operator"])
    monkeypatch.delenv("POD_IP", raising=False)
    if pod_ip:
        monkeypatch.setenv("POD_IP", pod_ip)
    commands.main()
    (options,) = chosen
    assert (options.liveness, options.metrics) == (
        f"http://{everywhere}:8080/healthz",
        (everywhere.strip("[]"), 8081),
    )


def test_the_deployment_names_the_port():
    deployment = yaml.safe_load((ROOT / "manifests/deployment.yaml").read_text())
    template = deployment["spec"]["template"]
    (container,) = template["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert Options().metrics
    assert Options().metrics[1] == ports["metrics"]
    annotations = template["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports["metrics"])


def test_what_is_kept_is_counted_as_long_as_it_is_there():
    failing = Failing("AccessDenied", "no", format_time(NOW))
    kept = replace(UPLOADING, phase=Phase.FAILED, failing=failing, completion_time=format_time(NOW))
    kube = Kube(kept)
    assert kube.body
    kube.body["spec"]["onFailure"] = "Keep"
    effect = effects(kube)
    controller = Controller(kube, effect)  # type: ignore[arg-type]
    for body, count in ((kube.body, 1), (kube.body, 1), (None, 0)):
        kube.body = body
        controller._pass(OWNER.uid, OWNER.namespace, OWNER.name, Memory())
        assert sample(effect.metrics, "multipartcopy_uploads_kept") == count
