"""Everything together: two stores, a cluster, two operators, other people; and what must hold of it at any time."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from awscrt.checksums import crc64nvme

from multipartcopy.api import names
from multipartcopy.api.codec import from_json, to_json
from multipartcopy.api.location import Reference, S3Location
from multipartcopy.api.quantity import parse_bytes
from multipartcopy.api.ranges import format_ranges
from multipartcopy.api.reasons import Reason
from multipartcopy.api.report import Report, WorkerError, pack_crcs
from multipartcopy.api.spec import (
    Mode,
    OnFailure,
    OnSourceChange,
    Overwrite,
    S3Destination,
    Source,
    Spec,
    Target,
    VerificationMode,
    Worker,
)
from multipartcopy.api.status import Plan, Result, Status
from multipartcopy.api.task import Read, upload_hash
from multipartcopy.jobs import DEFAULT_MEMORY, Image
from multipartcopy.kube import KubeError
from multipartcopy.metrics import Metrics
from multipartcopy.plan import Limits as PlanLimits
from multipartcopy.plan import make_plan
from multipartcopy.reconcile import act, observe
from multipartcopy.reconcile.act import Effects, Memory
from multipartcopy.reconcile.controller import Controller
from multipartcopy.reconcile.facts import Limits
from multipartcopy.s3 import profiles
from multipartcopy.s3.errors import Kind, S3Error
from tests.model.cluster import Cluster, Kube, Node, ended
from tests.model.store import Bucket, Client, Conditions, Habits, Object, Weather
from tests.model.wire import CALM, Crash, Event, Fate, Wire, kube_error, store_error

NAME = "copy"
KEY = "key"
PART_SIZE = 4
BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CONDITIONS = {"Complete", "Failed", "Ready", "Reconciling", "Stalled"}
AT_REST = ("Succeeded", "Failed")
SECRETS = {
    side: {names.ACCESS_KEY_ID: side, names.SECRET_ACCESS_KEY: "b"} for side in ("from", "to")
}
_METRICS = Metrics()
TALLY: Counter[str] = Counter()
"""Of all worlds: steps, faults, and how they ended."""
EXIT_RETRY, EXIT_TERMINATED = 1, 143
MEMORIES = [None, "100M", "200Mi"]
MOST_MEMORY = parse_bytes("200Mi")
"""Of the scenarios and of whatever ``maxMemory`` becomes."""


class ViolationError(AssertionError):
    """Something that must hold does not."""


@dataclass(frozen=True)
class Scenario:
    """What the world is like when the resource is created."""

    size: int = 10
    overwrite: Overwrite = Overwrite.IF_DIFFERENT
    verification: VerificationMode = VerificationMode.AUTO
    mode: Mode = Mode.AUTO
    within: bool = False
    """Source and destination have one endpoint."""
    destination: str | None = None
    """What is there: ``theirs`` or ``equal``."""
    uploads: int = 0
    """Of other people, on our key."""
    parallelism: int = 2
    backoff_limit: int = 1
    max_memory: str | None = None
    deadline: int | None = None
    ttl: int | None = None
    on_source_change: OnSourceChange = OnSourceChange.FAIL
    on_failure: OnFailure = OnFailure.ABORT
    retry: str | None = None
    """The annotation, from the beginning."""
    habits: Habits = field(default_factory=Habits)
    source_habits: Habits = field(default_factory=Habits)
    store_clock: int = 0
    """Seconds by which the destination's clock is ahead."""


class Process:
    """One operator from its start to its death."""

    def __init__(self, world: "World", skew: timedelta) -> None:
        self.world = world
        self.skew = skew
        self.wire = Wire(world.happen, world.late, lambda what: TALLY.update(["faults", what.name]))
        self.shown: Object | None = None
        """What the latest HEAD of the destination was about."""
        self.fenced: set[str] = set()
        """UIDs of the Jobs that its latest LIST has shown, or that were gone by then."""
        kube: Any = Kube(world.cluster, self._ask_cluster)
        effects = Effects(kube, Image("i"), ("system", "operator"), Limits(), _METRICS)
        self.controller = Controller(kube, effects)
        self.memory = self.controller._memories.setdefault(world.uid, Memory())

    def store(self, side: str) -> Client:
        return Client(self.world.buckets[side], KEY, self._ask_store)

    def run(self, fate: Fate) -> None:
        """One pass, unless the resource is let go of."""
        self.wire.begin(fate)
        self.controller._memories[self.world.uid] = self.memory
        self.controller._pass(self.world.uid, "default", NAME, self.memory)

    def _ask_store(self, client: Client, name: str, serve: Callable[[], Any]) -> Any:
        def served() -> Any:
            if client.side == "destination" and name == "head":
                self.shown = self.world.destination.objects.get(KEY)
            return serve()

        acting = self._acting(served)
        return self.wire.call(name, acting, lambda _: store_error(client.side, name))

    def _ask_cluster(self, name: str, serve: Callable[[], Any]) -> Any:
        def served() -> Any:
            if name == "list_jobs":
                self.fenced = set(self.world.cluster.runs)
            return serve()

        return self.wire.call(name, self._acting(served), kube_error)

    def _acting(self, serve: Callable[[], Any]) -> Callable[[], Any]:
        """So that the world knows by whom, and on what evidence, also where it is served late."""
        shown, fenced = self.shown, self.fenced

        def acting() -> Any:
            before = self.world.acting
            self.world.acting = self, shown, fenced
            try:
                return serve()
            finally:
                self.world.acting = before

        return acting


class World:
    """Its public methods are what can happen. A violation is raised by the step that shows it."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.time = BEGIN
        self.late: list[tuple[str, Callable[[], Any]]] = []
        self.acting: tuple[Process, Object | None, set[str]] | None = None
        self.running: list[Process] = []
        self.violations: list[str] = []
        self.edited = False
        self.flipped = False
        self.published_late = False
        self.strange = 0
        self.contents: dict[str, bytes] = {}
        """Of the source by ETag, all that it ever was."""
        self.claimed: set[str | None] = set()
        """The ETags that the destination had at our claims."""
        self.first: tuple[str | None] | None = None
        """The first of these, since the copy was created or tried again."""
        self.unknowable: set[str] = set()
        """Uploads that came to be when nobody could wait for them any more."""
        self.uploads_recorded: list[str] = []
        self.strange_uploads: list[str] = []
        self.log: list[str] = []

        ahead = timedelta(seconds=scenario.store_clock)
        hears = self._published, self._aborting, self._deleting
        self.source = Bucket("source", lambda: self.time, *hears, scenario.source_habits)
        self.destination = Bucket("destination", lambda: self.time + ahead, *hears, scenario.habits)
        self.buckets = {"source": self.source, "destination": self.destination}
        self.cluster = Cluster(lambda: self.time, self._changed)
        self._stack = ExitStack()
        self._begin()
        self.processes = [Process(self, timedelta()) for _ in range(2)]

    def _begin(self) -> None:
        scenario = self.scenario
        self.source_changes()
        if scenario.destination:
            self.stranger_writes(equal=scenario.destination == "equal")
        for _ in range(scenario.uploads):
            self.stranger_uploads(KEY, parts=0)
        self.cluster.secrets = dict(SECRETS)
        origin = "http://to:1" if scenario.within else "http://from:1"
        source = S3Location("bucket-from", KEY, origin, secret_ref=Reference("from"))
        target = S3Destination("bucket-to", KEY, "http://to:1", secret_ref=Reference("to"))
        spec = Spec(
            Source(source),
            Target(target),
            mode=scenario.mode,
            part_size=str(PART_SIZE),
            parallelism=scenario.parallelism,
            worker=Worker(streams=1, max_memory=scenario.max_memory),
            overwrite=scenario.overwrite,
            verification=scenario.verification,
            backoff_limit_per_batch=scenario.backoff_limit,
            active_deadline_seconds=scenario.deadline,
            ttl_seconds_after_finished=scenario.ttl,
            on_source_change=scenario.on_source_change,
            on_failure=scenario.on_failure,
        )
        self.uid = self.cluster.create_copy(NAME, to_json(spec))
        if scenario.retry:
            self.retry(scenario.retry)
        self._stack.enter_context(_real_code_in(self))

    def close(self) -> None:
        self._stack.close()

    def now(self, zone: tzinfo) -> datetime:
        """The clock of the operator that asks."""
        return self.time + self.running[-1].skew

    def store(self, side: str, *_: Any, **__: Any) -> Client:
        """In the place of ``s3.control.Store``."""
        return self.running[-1].store(side)

    @property
    def status(self) -> dict[str, Any] | None:
        copy = self.cluster.copies.get(NAME)
        return copy["status"] if copy else None

    @property
    def at_rest(self) -> bool:
        return self.status is None or from_json(Status, self.status).over

    @property
    def kept(self) -> bool:
        return self.status is not None and from_json(Status, self.status).kept

    # What can happen.

    def happen(self, event: Event) -> None:
        name, *arguments = event
        getattr(self, name)(*arguments)

    def operator(self, number: int, fate: Fate = CALM) -> None:
        """One pass of one of the two, which may die in it; not while it is in another."""
        process = self.processes[number]
        if process in self.running:
            return
        self.running.append(process)
        try:
            process.run(fate)
        except Crash:
            self.processes[number] = Process(self, process.skew)
        finally:
            self.running.pop()

    def kill(self, number: int) -> None:
        if self.processes[number] not in self.running:
            self.processes[number] = Process(self, self.processes[number].skew)

    def copy_on(self) -> None:
        """The cluster and the workers do what they can, and nothing goes wrong."""
        for _ in range(2):
            self.cluster.sync()
            for name in list(self.cluster.pods):
                self.pod_starts(name)
                self.pod_ends(name)
        self.cluster.sync()

    def pods_send(self) -> None:
        """All pods start, send what they can, and have not ended."""
        self.cluster.sync()
        for name in list(self.cluster.pods):
            self.pod_starts(name)
        for node in self.cluster.nodes.values():
            while self._send(node):
                pass

    def controller_syncs(self) -> None:
        self.cluster.sync()

    def pod(self, number: int, what: str) -> None:
        """One step in the life of one of the pods."""
        there = sorted(self.cluster.pods)
        if there:
            getattr(self, f"pod_{what}")(there[number % len(there)])

    def node_sends(self, number: int) -> None:
        """One part, whether or not the cluster still knows of the pod."""
        sending = sorted(uid for uid, node in self.cluster.nodes.items() if node.sending)
        if sending:
            self._send(self.cluster.nodes[sending[number % len(sending)]])

    def pod_starts(self, name: str) -> None:
        pod = self.cluster.pods[name]
        if pod["status"]["phase"] == "Pending" and "deletionTimestamp" not in pod["metadata"]:
            self.cluster.started(name)
            self._skip_stored(self.cluster.nodes[name])

    def pod_ends(self, name: str) -> None:
        """Having sent what it could, or stopped by a deletion."""
        pod, node = self.cluster.pods.get(name), self.cluster.nodes.get(name)
        if pod is None or node is None:
            return
        if "deletionTimestamp" in pod["metadata"]:
            if ended(pod):
                self.cluster.nodes.pop(name)
                self.cluster.delete_pod(name)
            else:
                self.cluster.stopped(name, EXIT_TERMINATED)
                self._ended(name)
        elif node.sending and not ended(pod):
            while self._send(node):
                pass
            self.cluster.stopped(name, node.code)
            self._ended(name)

    def pod_flips(self, name: str) -> None:
        """From now on it receives other bytes than were sent to it."""
        if node := self.cluster.nodes.get(name):
            node.flips = self.flipped = True

    def pod_killed(self, name: str) -> None:
        self._stops(name, names.EXIT_KILLED)

    def pod_sends_and_is_killed(self, name: str) -> None:
        """Before it has noted the part."""
        if node := self.cluster.nodes.get(name):
            message = node.message
            self._send(node)
            node.message = message
        self._stops(name, names.EXIT_KILLED)

    def pod_out_of_memory(self, name: str) -> None:
        self._stops(name, names.EXIT_KILLED, "OOMKilled")

    def pod_message_lost(self, name: str) -> None:
        """Although it ended well."""
        if node := self.cluster.nodes.get(name):
            while node.sending and self._send(node):
                pass
            self._stops(name, node.code, keep=0)

    def pod_message_cut(self, name: str) -> None:
        self._stops(name, names.EXIT_KILLED, keep=100)

    def pod_evicted(self, name: str) -> None:
        if not ended(self.cluster.pods[name]):
            self.cluster.disrupted(name)
            self._stops(name, EXIT_TERMINATED)

    def pod_declared_dead(self, name: str) -> None:
        if not ended(self.cluster.pods[name]):
            self.cluster.declared_dead(name)

    def pod_deleted(self, name: str) -> None:
        """By hand or by the garbage collector, before anybody has listed it."""
        self.cluster.delete_pod(name)

    def pod_unseen(self, name: str) -> None:
        """It ends and is gone, and no watch has shown its end."""
        node = self.cluster.nodes.get(name)
        if node and not ended(self.cluster.pods[name]):
            self.cluster.stopped(name, EXIT_TERMINATED)
            self.cluster.delete_pod(name)

    def job_deleted(self) -> None:
        for name in list(self.cluster.jobs):
            self.cluster.delete_job(name)

    def quota(self, refuses: bool) -> None:
        self.cluster.refuses_pods = refuses

    def time_passes(self, seconds: int) -> None:
        self.time += timedelta(seconds=seconds)

    def clock_jumps(self, number: int, seconds: int) -> None:
        self.processes[number].skew += timedelta(seconds=seconds)

    def weather(self, side: str, weather: Weather) -> None:
        self.buckets[side].weather = weather

    def late_request_lands(self, number: int) -> None:
        if not self.late:
            return
        name, serve = self.late.pop(number % len(self.late))
        before = set(self.destination.uploads)
        with suppress(S3Error, KubeError):  # Nobody hears a refusal.
            serve()
        # What we sent and gave up waiting for nobody can call back.
        self.published_late |= name in ("complete", "put_empty")
        if name == "create_upload" and (self.at_rest or not self._may_take_up()):
            self.unknowable |= self.destination.uploads.keys() - before

    def _may_take_up(self) -> bool:
        """Whether a successor still looks for an upload that nobody has recorded."""
        status = self.status or {}
        return "claim" in status and "upload" not in status

    def secret_goes(self, name: str) -> None:
        self.cluster.secrets.pop(name, None)

    def secret_comes(self, name: str) -> None:
        self.cluster.secrets[name] = SECRETS[name]

    def suspend(self, suspended: bool) -> None:
        self.cluster.change_spec(NAME, suspend=suspended)

    def parallelism(self, number: int) -> None:
        self.cluster.change_spec(NAME, parallelism=number)

    def bandwidth(self, limit: str | None) -> None:
        self.cluster.change_spec(NAME, bandwidthLimit=limit)

    def streams(self, number: int) -> None:
        self._change_worker(streams=number)

    def max_memory(self, most: str | None) -> None:
        self._change_worker(maxMemory=most)

    def _change_worker(self, **changes: Any) -> None:
        if copy := self.cluster.copies.get(NAME):
            self.cluster.change_spec(NAME, worker=copy["spec"]["worker"] | changes)

    def on_source_change(self, what: OnSourceChange) -> None:
        self.cluster.change_spec(NAME, onSourceChange=what)

    def on_failure(self, what: OnFailure) -> None:
        self.cluster.change_spec(NAME, onFailure=what)

    def retry(self, value: str) -> None:
        """It may be said again, and then asks for nothing."""
        self.cluster.annotate(NAME, names.ANNOTATION_RETRY, value)

    def resource_deleted(self) -> None:
        if NAME in self.cluster.copies:
            self.cluster.delete_copy(NAME)

    def source_changes(self) -> None:
        self.strange += 1
        text = f"{self.strange}abcdefghijklmnopqrstuvwxyz" * 2
        self.source.write(KEY, text[: self.scenario.size].encode())
        made = self.source.objects[KEY]
        self.contents[made.etag] = made.data

    def stranger_writes(self, equal: bool = False) -> None:
        self.strange += 1
        theirs = f"theirs {self.strange}".encode()
        self.destination.write(KEY, self.source.objects[KEY].data if equal else theirs)

    def stranger_removes(self) -> None:
        self.destination.objects.pop(KEY, None)

    def stranger_uploads(self, key: str, parts: int = 1) -> None:
        """With a part already: else no store could tell it from ours in the time of the claim."""
        uploads = self.destination
        weather, uploads.weather = uploads.weather, Weather.FINE
        upload_id = uploads.create_upload(key, None, ours=False).id
        self.strange_uploads.append(upload_id)
        for number in range(parts):
            uploads.upload_part(upload_id, number + 1, b"theirs")
        uploads.weather = weather

    def stranger_aborts(self) -> None:
        """What is ours: a lifecycle rule."""
        for upload_id, upload in list(self.destination.uploads.items()):
            if upload.ours:
                self.destination.forget(upload_id)

    def edit(self, what: str) -> None:
        """The status by hand."""
        if self.cluster.edit_status(NAME, _EDITS[what]):
            self.edited = True

    # What must hold.

    def violate(self, sentence: str) -> None:
        """Noted, since the code under test may be in a position to catch what is raised."""
        if sentence not in self.violations:
            self.violations.append(sentence)

    def check(self) -> None:
        """After each step."""
        TALLY["steps"] += 1
        if self.edited:
            self._forget()
        known = {u for p in self.processes for u in p.memory.uploads - p.memory.ended_uploads}
        if self.at_rest and (left := set(self._left_behind()) - known):
            self.violate(f"{left} left behind, and nobody says so")
        self._judge()

    def _judge(self) -> None:
        if self.violations:
            raise ViolationError("; ".join(self.violations))

    def check_end(self) -> None:
        """Once nothing goes wrong any more, it ends, and ends well."""
        self._mend()
        for number in range(80):
            if self._is_over():
                break
            self.time_passes(400)
            self.operator(number % 2)
            self.copy_on()
        else:
            self.violate(f"it does not end: {json.dumps(self.status)}")
        for number in (0, 1):
            self.operator(number)
        if left := self._left_behind():
            self.violate(f"{left} left behind, and nobody says so")
        for upload in self._strange_uploads_gone():
            self.violate(f"a stranger's upload {upload} was aborted")
        there = self.destination.objects.get(KEY)
        said = json.dumps(self.status)
        # A copy that gives up between completing and reading again says so.
        failed = '"phase": "Failed"' in said and "is left unverified" not in said
        excused = self.edited or self.published_late or not self._can_tell()
        # What one try has left, another may have found there.
        excused = excused or (there is not None and there.etag in self.claimed)
        if failed and there and there.ours and not excused:
            self.violate(f"it has failed, and the object is ours: {said}")
        self._judge()
        TALLY["worlds"] += 1
        TALLY["gone" if self.status is None else self.status["phase"]] += 1
        if self.kept:
            self._throw_away()

    def _throw_away(self) -> None:
        """What a failed copy has kept goes with it."""
        TALLY["kept"] += 1
        self.log.clear()
        named = (self.status or {})["upload"]["id"]
        self.resource_deleted()
        for number in (0, 1, 0):
            self.operator(number)
        if self.status is not None or named in self.destination.uploads:
            self.violate(f"{named} was kept, and stays when its copy is deleted")
        self._judge()

    def _mend(self) -> None:
        while self.late:
            self.late_request_lands(0)
        for side in ("source", "destination"):
            self.weather(side, Weather.FINE)
        self.cluster.secrets = dict(SECRETS)
        self.quota(False)
        self.suspend(False)
        for uid in list(self.cluster.nodes):
            if uid not in self.cluster.pods:
                del self.cluster.nodes[uid]
            elif ended(self.cluster.pods[uid]):
                self.cluster.nodes.pop(uid)

    def _is_over(self) -> bool:
        copy = self.cluster.copies.get(NAME)
        held = copy and copy["metadata"].get("finalizers")
        if copy and copy["status"].get("phase") == "Failed" and self._asked(copy["status"]):
            return False
        keeps = self.kept and copy["spec"]["onFailure"] == OnFailure.KEEP  # type: ignore[index]
        return self.at_rest and keeps == bool(held) and not self.cluster.jobs

    def _left_behind(self) -> list[str]:
        """Uploads of ours that neither status nor Event nor log names."""
        status = self.status or {}
        said = [c["message"] for c in status.get("conditions", [])]
        said += [e["message"] for e in self.cluster.events]
        words = {word.strip(",") for sentence in (*said, *self.log) for word in sentence.split()}
        kept = self.destination.uploads.values()
        return [u.id for u in kept if u.ours and u.id not in self.unknowable | words]

    def _forget(self) -> None:
        """What an edited status no longer names, and neither a Job nor both operators remember, nobody can abort."""
        known = set.intersection(*(p.memory.uploads for p in self.processes))
        known |= {
            job["metadata"]["annotations"][names.ANNOTATION_UPLOAD]
            for job in self.cluster.jobs.values()
        }
        recorded = (self.status or {}).get("upload", {}).get("id")
        self.unknowable |= self.destination.uploads.keys() - known - {recorded}

    def _strange_uploads_gone(self) -> list[str]:
        return [u for u in self.strange_uploads if u not in self.destination.uploads]

    def _can_tell(self) -> bool:
        """Whether this store shows anything by which our object can be known."""
        habits = self.scenario.habits
        return habits.checksum or habits.md5 or habits.metadata

    def _published(self, key: str, old: Object | None, new: Object) -> None:
        if new.data not in self.contents.values() and not self.flipped:
            self.violate(f"an object that is no copy is visible: {new.data!r}")
        strange = old is not None and not old.ours and old.etag not in self.claimed
        # A store that ignores preconditions leaves us what the HEAD just before has shown.
        honoured = self.scenario.habits.conditions is Conditions.HONOURED
        seen = self.acting is not None and self.acting[1] is old
        if strange and self.scenario.overwrite is not Overwrite.ALWAYS and (honoured or seen):
            self.violate(f"a stranger's object was overwritten: {old}")

    def _deleting(self, there: Object) -> None:
        if not there.ours and self.scenario.habits.conditions is Conditions.HONOURED:
            self.violate(f"a stranger's object was deleted: {there.data!r}")
        if there.data in self.contents.values():
            self.violate(f"a good object was deleted: {there.data!r}")

    def _aborting(self, upload: Any) -> None:
        if not upload.ours:
            self.violate(f"a stranger's {upload.id} was aborted")
        status, copy = self.status or {}, self.cluster.copies.get(NAME)
        going_on = copy and "deletionTimestamp" not in copy["metadata"] and "failing" not in status
        done = self.acting and self._is_pinned(status, self.acting[1])
        current = status.get("upload", {}).get("id") == upload.id
        # For want of permission, or of the feature, the workers begin anew.
        refused = status.get("mode") == "ServerSide" and "lastFailure" in status
        if refused:
            return
        pin, source = status.get("source", {}), self.source.objects[KEY]
        if upload.revived:
            return
        if status.get("resuming") and source.etag != pin.get("etag"):
            return
        if current and upload.parts and going_on and not done and not self.edited:
            self.violate(f"{upload.id} was aborted in the middle of its copy")

    def _is_pinned(self, status: dict[str, Any], there: Object | None) -> bool:
        pin = status.get("source")
        return bool(pin and there and there.data == self.contents[pin["etag"]])

    def _changed(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        """A status was written by an operator."""
        assert self.acting
        _, shown, fenced = self.acting
        phase, states = new["phase"], {c["type"]: c["status"] for c in new["conditions"]}
        wanted = {
            "Complete": phase == "Succeeded",
            "Failed": phase == "Failed",
            "Ready": phase == "Succeeded",
            "Reconciling": phase not in ("Succeeded", "Failed", "Suspended"),
            "Stalled": phase == "Failed",
        }
        if states != {kind: str(state) for kind, state in wanted.items()}:
            self.violate(f"{phase} with {states}")
        deleted = "deletionTimestamp" in self.cluster.copies[NAME]["metadata"]
        if (phase in AT_REST) != ("completionTime" in new) and not (self.edited or deleted):
            self.violate(f"{phase} with the completion time {new.get('completionTime')}")
        if old.get("phase") == "Failed" != phase:
            self._check_retry(old, new)
        if phase == "Succeeded" and old.get("phase") != "Succeeded":
            proven = new["verification"]["result"] == Result.VERIFIED or not self.flipped
            if proven and not self._is_pinned(new, shown):
                self.violate(f"Complete, and what is there is {shown}")
        if new.get("attempt", 0) < old.get("attempt", 0):
            self.violate("the attempt goes back")
        self._check_memory(old.get("workerMemory"), new.get("workerMemory"))
        upload = new.get("upload", {}).get("id")
        if upload and old.get("upload", {}).get("id") != upload:
            if upload in self.uploads_recorded and not self.edited:
                self.violate(f"{upload} comes again")
            self.uploads_recorded.append(upload)
        if "claim" in new:
            self._check_claim(new["claim"].get("destinationEtag"), new)
        if "completing" in new and "completing" not in old:
            self._check_fence(fenced)

    def _check_memory(self, old: str | None, new: str | None) -> None:
        """It grows, at most to twice as much, and never beyond what was ever allowed."""
        if new == old or self.edited:
            return
        before = parse_bytes(old or DEFAULT_MEMORY)
        if new is None or not before < parse_bytes(new) <= 2 * before:
            self.violate(f"the workers' memory goes from {old} to {new}")
        elif parse_bytes(new) > MOST_MEMORY:
            self.violate(f"the workers may have {new}")

    def _check_claim(self, etag: str | None, new: dict[str, Any]) -> None:
        """What is protected is what somebody else has written since the copy was first begun."""
        self.claimed.add(etag)
        if new.get("resuming") or self.first is None or self.edited:
            self.first = None if new.get("resuming") else (etag,)
        elif self.first != (etag,) and self.scenario.overwrite is not Overwrite.ALWAYS:
            self.violate(f"claimed over {self.first}, and then over {etag}")

    def _check_retry(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        """What has failed begins again because somebody asks for it, or ends with its resource."""
        asked = self._asked(old)
        again = asked is not None and new.get("handledRetry") == asked
        self.first = None
        deleted = "deletionTimestamp" in self.cluster.copies[NAME]["metadata"]
        if not (again or deleted or self.edited):
            self.violate(f"begun again, and nobody has asked: {json.dumps(new)}")

    def _asked(self, status: dict[str, Any]) -> str | None:
        """What the annotation says, if that status does not have it."""
        annotations = self.cluster.copies[NAME]["metadata"].get("annotations", {})
        asked: str | None = annotations.get(names.ANNOTATION_RETRY)
        return asked if asked != status.get("handledRetry") else None

    def _check_fence(self, fenced: set[str]) -> None:
        for name, pod in self.cluster.pods.items():
            job = pod["metadata"]["ownerReferences"][0]["uid"]
            if pod["status"]["phase"] == "Running" and job in fenced:
                self.violate(f"{name} is running, and the intent to complete is written")

    # The worker.

    def _send(self, node: Node) -> bool:
        """The next part; False where there is none, or none can be sent any more."""
        task = node.task
        todo = [n for n in task.work[node.index].numbers() if n not in node.done]
        if not node.sending or not todo or node.code:
            return False
        number = todo[0]
        side = task.read or Read.SOURCE
        there = self.buckets[side].objects.get(KEY)
        copies = task.server_side and not task.read
        pinned = self.scenario.habits.pins or not copies
        other = there and there.etag != (task.read_etag if task.read else task.source_etag)
        if there is None or (pinned and other):
            changed = (
                Reason.DESTINATION_CHANGED if side is Read.DESTINATION else Reason.SOURCE_CHANGED
            )
            return self._fails(node, changed, number)
        if copies and not self.scenario.habits.copies:
            return self._fails(node, Reason.SERVER_SIDE_REFUSED, number)
        data = there.data[(number - 1) * task.part_size :][: task.part_size]
        if node.flips and not copies:
            data = bytes([data[0] ^ 1]) + data[1:]
        try:
            etag = "" if task.read else self.destination.upload_part(task.upload_id, number, data)
        except S3Error as error:
            if error.kind is Kind.NO_UPLOAD:
                return self._fails(node, Reason.UPLOAD_LOST, number)
            denied = error.kind is Kind.DENIED
            reason = Reason.ACCESS_DENIED if denied else Reason.DESTINATION_UNAVAILABLE
            return self._fails(node, reason, number, EXIT_RETRY)
        node.done[number] = etag, None if copies else crc64nvme(data)
        self._note(node)
        upload = self.destination.uploads.get(task.upload_id)
        current = (self.status or {}).get("upload", {}).get("id")
        if upload and upload.revived and (self.at_rest or current != task.upload_id):
            self.unknowable.add(task.upload_id)
        return True

    def _skip_stored(self, node: Node) -> None:
        upload = self.destination.uploads.get(node.task.upload_id)
        proven = node.task.checksum or node.task.server_side
        if proven and not (node.task.read or node.task.again) and upload:
            for number in node.task.work[node.index].numbers():
                if number in upload.parts:
                    data, etag = upload.parts[number]
                    node.done[number] = etag, None if node.task.server_side else crc64nvme(data)
        self._note(node)

    def _fails(
        self, node: Node, reason: Reason, part: int, code: int = names.EXIT_PERMANENT
    ) -> bool:
        node.code = code
        self._note(node, WorkerError(str(reason), "said the model", part))
        return False

    @staticmethod
    def _note(node: Node, error: WorkerError | None = None) -> None:
        task, done = node.task, sorted(node.done.items())
        report = Report(
            upload_hash(task.upload_id),
            task.attempt,
            task.run,
            task.work[node.index].batch,
            format_ranges(node.done),
            () if task.read else tuple(etag for _, (etag, _) in done),
            pack_crcs([crc for _, (_, crc) in done if crc is not None]),
            error=error,
            read=task.read,
        )
        node.message = report.encode()

    def _stops(self, name: str, code: int, reason: str = "Error", keep: int | None = None) -> None:
        node = self.cluster.nodes.get(name)
        if node and node.sending and not self._gone(name):
            self.cluster.stopped(name, code, reason, keep)
            self._ended(name)

    def _gone(self, name: str) -> bool:
        return name not in self.cluster.pods or ended_by_kubelet(self.cluster.pods[name])

    def _ended(self, name: str) -> None:
        """The watches of both operators show it."""
        for process in self.processes:
            process.controller.notice_child(self.cluster.pods[name], pod=True)


def ended_by_kubelet(pod: dict[str, Any]) -> bool:
    return any("terminated" in c["state"] for c in pod["status"].get("containerStatuses", []))


def _without(*fields: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda status: {k: v for k, v in status.items() if k not in fields}


def _with(**fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda status: status | fields


def _wrong_etag(status: dict[str, Any]) -> dict[str, Any]:
    for batch in status.get("batches", {}).values():
        batch["etags"] = ["0" * 32 for _ in batch["etags"]]
    return status


_EDITS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "wiped": lambda _: {"observedGeneration": -1},
    "without upload": _without("upload"),
    "without claim": _without("claim"),
    "without ledger": _without("batches"),
    "without intent": _without("completing"),
    "without conditions": _without("conditions"),
    "without failing": _without("failing"),
    "without plan": _without("plan"),
    "without source": _without("source"),
    "wrong etags": _wrong_etag,
    "succeeded": _with(phase="Succeeded"),
    "failed": _with(phase="Failed"),
    "pending": _with(phase="Pending"),
    "another run": _with(run=7),
    "no attempt": _with(attempt=0),
}
EDITS = sorted(_EDITS)


@contextmanager
def _real_code_in(world: World) -> Iterator[None]:
    """The reconcile code with the world's stores and clocks, and parts of a few bytes."""

    def small(size: int, **named: Any) -> Plan:
        return make_plan(size, **{**named, "limits": PlanLimits(min_part=1)})

    clock = SimpleNamespace(now=world.now)
    log = logging.getLogger("multipartcopy")
    listener = _Defects(world)
    with (
        patch.object(act, "Store", world.store),
        patch.object(observe, "datetime", clock),
        patch.object(profiles, "make_plan", small),
        patch.object(log, "propagate", False),
    ):
        log.addHandler(listener)
        try:
            yield
        finally:
            log.removeHandler(listener)


class _Defects(logging.Handler):
    """What the controller can only log."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            trace = logging.Formatter().formatException(record.exc_info)
            self._world.violate(f"{record.getMessage()}: {trace}")
        elif "many steps" in record.getMessage():
            self._world.violate(record.getMessage())
        elif record.levelno >= logging.ERROR:
            self._world.log.append(record.getMessage())
