"""The effects: one small, repeatable step each. What they find out goes through ``outcome`` into the status."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from multipartcopy.api import names
from multipartcopy.api.reasons import Reason, reason_of
from multipartcopy.api.report import encode_crc
from multipartcopy.api.spec import Keep, Mode, Overwrite
from multipartcopy.api.status import Dropped, Phase, Upload
from multipartcopy.api.task import Validator, Work
from multipartcopy.jobs import Image, build_job
from multipartcopy.kube import Kube, KubeError, TooLargeError
from multipartcopy.metrics import Metrics
from multipartcopy.reconcile import decide as steps
from multipartcopy.reconcile import keeping, ledger, outcome, queueing, settle, writer
from multipartcopy.reconcile.access import read_access
from multipartcopy.reconcile.decide import Action, Wait, Write, give_up
from multipartcopy.reconcile.facts import (
    Facts,
    Limits,
    Pod,
    Resource,
    read_resource,
)
from multipartcopy.s3.control import (
    Access,
    CompletedPart,
    ListedUpload,
    ObjectInfo,
    Precondition,
    Store,
    StoredPart,
)
from multipartcopy.s3.errors import Kind, S3Error
from multipartcopy.s3.guard import Guard
from multipartcopy.s3.properties import Wanted
from multipartcopy.s3.secrets import MissingSecretError
from multipartcopy.s3.validators import Version
from multipartcopy.s3.web import Site

logger = logging.getLogger("multipartcopy.reconcile")


@dataclass
class Memory:
    """What is remembered of one resource between two passes: nothing that a restart may not forget."""

    gone_pods: dict[str, Pod] = field(default_factory=dict)
    access: dict[str, Access] = field(default_factory=dict)
    """The last that was read, by side: a Secret deleted before the resource should not keep us from the abort."""
    listed_at: datetime | None = None
    written_at: datetime | None = None
    denied_since: datetime | None = None
    unseen_since: datetime | None = None
    """Since when the store says that it has completed the upload, and does not show the object."""
    trouble: tuple[Reason, str] | None = None
    abort_failed_since: datetime | None = None
    """Since when this process tries in vain to abort or to delete what it has made; a clock that was set back
    makes it begin anew.
    """
    ended: bool = False
    """There is nothing left to do for it, and nothing to be remembered."""
    last: Resource | None = None
    """What was last acted on, without its ledger: all there is to go by when the resource has vanished."""
    uploads: set[str] = field(default_factory=set)
    """Of all uploads that were made here or that the status has named: it may come to name another, or none."""
    ended_uploads: set[str] = field(default_factory=set)
    """Those that are known to be gone, or were given up."""
    failed_pods: set[str] = field(default_factory=set)
    """UIDs of those whose failure was counted."""

    def forget(self) -> None:
        """What may be large: a finished copy may stay for years, and so may thousands of them."""
        self.ended, self.last = True, None
        self.gone_pods.clear()
        self.access.clear()

    def tried(self, action: Action, now: datetime, *, failed: bool) -> None:
        """What came of an effect; only those by which something is taken away again count."""
        if not isinstance(action, _TAKES_AWAY):
            return
        since = self.abort_failed_since
        begun = since if since and since <= now else now
        self.abort_failed_since = begun if failed else None


_NEEDS_STORES = (
    steps.StartRun,
    steps.Inspect,
    steps.CreateUpload,
    steps.ListParts,
    steps.EndRun,
    steps.CrossCheck,
    steps.Settle,
    steps.Conclude,
    steps.LoseUpload,
    steps.DoWithoutChecksum,
    steps.Relay,
    steps.AbortStrays,
    steps.Withdraw,
    steps.Abort,
    steps.Resume,
)
_TAKES_AWAY = (steps.AbortStrays, steps.Withdraw, steps.Abort)


@dataclass(frozen=True)
class Effects:
    """All effects of the operator; ``pod`` (namespace, name) is its own: it says what no resource can."""

    kube: Kube
    image: Image
    pod: tuple[str, str] | None
    limits: Limits
    metrics: Metrics = field(default_factory=Metrics)
    guard: Guard = field(default_factory=Guard)

    def perform(self, action: Action, facts: Facts, memory: Memory) -> Wait | None:
        """Do it, write the status once if there is news; a Wait where the pass should end.

        Raises KubeError, LostRaceError.
        """
        result: Write | Wait | None
        memory.ended, memory.last = False, facts.resource.without_ledger()
        self._count_pods(facts, memory)
        try:
            result = self._effect(action, facts, memory)
            if isinstance(action, _NEEDS_STORES):
                memory.denied_since = memory.trouble = None
            memory.tried(action, facts.now, failed=False)
        except S3Error as error:
            memory.tried(action, facts.now, failed=True)
            self.metrics.store_error(error.side, error.reason)
            if error.kind is Kind.DENIED:
                memory.denied_since = memory.denied_since or facts.now
            result = outcome.refused(facts, action, error, self.limits, memory.denied_since)
            memory.trouble = result.reason, result.message
        except MissingSecretError as error:
            memory.tried(action, facts.now, failed=True)
            result = _missing(action, error, quiet=facts.status.over)
            memory.trouble = result.reason, result.message
        except (KubeError, writer.LostRaceError):
            raise
        except Exception:
            # A defect of ours must not keep a resource, and its namespace, from being deleted for ever.
            memory.tried(action, facts.now, failed=True)
            raise
        if result is None:
            return None
        try:
            self._write(result, facts, memory)
        except TooLargeError as error:
            message = f"the ledger does not fit into the resource: {error}"
            self._write(give_up(_plain(facts), Reason.LEDGER_TOO_LARGE, message), facts, memory)
            return None
        if not isinstance(result, Wait):
            return None
        if facts.status.over and not (facts.status.kept or facts.resource.finalizer):
            memory.forget()
        return result

    def _write(self, result: Write | Wait, facts: Facts, memory: Memory) -> None:
        if isinstance(result, Wait) and result.quiet:
            return
        status = result.status if isinstance(result, Write) else facts.status
        if not (facts.status.failing or facts.status.over):
            # What is asked of a copy under way is not left for the day on which it fails.
            status = replace(status, handled_retry=facts.resource.retry or status.handled_retry)
        given_up = status.failing is not None and facts.status.failing is None
        if isinstance(result, Write) and (result.phase is Phase.COPYING or given_up):
            status = outcome.measure(status, facts.now)
        wrote = writer.write(
            self.kube,
            facts.resource,
            status,
            phase=result.phase,
            reason=result.reason,
            message=result.message,
            now=facts.now,
        )
        if facts.status.over and not status.over:
            # What the stores have said before another try was asked for is over, too.
            memory.denied_since = memory.unseen_since = memory.trouble = None
        if wrote:
            memory.written_at = facts.now
            self.metrics.wrote(facts.status, status, result.phase, result.reason)

    def _effect(self, action: Action, facts: Facts, memory: Memory) -> Write | Wait | None:
        owner = facts.resource.owner
        match action:
            case Write() | Wait():
                return action
            case steps.AddFinalizer():
                self._patch_finalizers(facts, add=True)
            case steps.RemoveFinalizer():
                writer.announce_end(self.kube, facts.resource, facts.now)
                self._patch_finalizers(facts, add=False)
            case steps.DeleteResource():
                self.kube.delete_copy(owner.namespace, owner.name, owner.uid)
            case steps.DeleteJobs(jobs=jobs):
                for job in jobs:
                    self.kube.delete_job(owner.namespace, job)
            case steps.Scale(job=job, parallelism=parallelism):
                self.kube.set_parallelism(owner.namespace, job, parallelism)
            case steps.StartRun(work=work, pods=pods):
                return self._start_run(action, facts, memory, work, pods)
            case steps.Inspect():
                return self._inspect(action, facts, memory)
            case steps.CreateUpload():
                return self._create_upload(facts, memory)
            case steps.ListParts():
                return self._list_parts(action, facts, memory)
            case steps.EndRun(progressed=progressed):
                return self._end_run(action, facts, memory, progressed)
            case steps.CrossCheck():
                return self._cross_check(facts, memory)
            case steps.Settle():
                return self._settle(facts, memory)
            case steps.Conclude():
                return self._conclude(facts, memory)
            case steps.LoseUpload():
                return self._lose_upload(action, facts, memory)
            case steps.DoWithoutChecksum():
                return self._begin_anew(action, facts, memory, outcome.without_checksum)
            case steps.Relay():
                return self._begin_anew(action, facts, memory, outcome.relayed)
            case steps.AbortStrays():
                return self._abort_strays(action, facts, memory)
            case steps.Withdraw():
                return self._withdraw(action, facts, memory)
            case steps.Abort():
                return self._abort(action, facts, memory)
            case steps.Keep():
                return self._keep(action, facts, memory)
            case steps.Resume():
                return self._resume(action, facts, memory)
            case steps.GiveUpAbort():
                return self._give_up_abort(action, facts, memory)
            case _:
                raise AssertionError(action)
        return None

    def _count_pods(self, facts: Facts, memory: Memory) -> None:
        """For the metrics; the failure of a pod is a retry where the copy goes on after it."""
        live = [pod for pod in facts.pods if not pod.finished]
        running = sum(pod.running for pod in live)
        uid = facts.resource.owner.uid
        self.metrics.pods(uid, running=running, waiting=len(live) - running)
        status = facts.status
        if facts.resource.deleted_at or status.failing or status.over or facts.spec.suspend:
            return
        pods = {pod.uid: pod for pod in facts.run_pods()}
        for uid in pods.keys() - memory.failed_pods:
            failure = facts.failure_in(pods[uid])
            if failure and failure.exit_code != names.EXIT_PERMANENT:
                memory.failed_pods.add(uid)
                self.metrics.retried(reason_of(failure.reason))
        memory.failed_pods &= pods.keys()

    # Reaching the stores.

    def _store(self, side: str, facts: Facts, memory: Memory) -> Store:
        location = facts.spec.source.s3 if side == "source" else facts.spec.destination.s3
        assert location is not None
        access = self._access(side, facts, memory)
        return Store(side, location, access, self.metrics.s3_request, self.guard)

    def _access(self, side: str, facts: Facts, memory: Memory) -> Access:
        spec = facts.spec
        location = spec.source.place if side == "source" else spec.destination.s3
        try:
            memory.access[side] = read_access(self.kube, facts.resource.owner.namespace, location)
        except MissingSecretError:
            ending = facts.resource.deleted_at or facts.status.failing
            if not (ending and side in memory.access):
                raise
        return memory.access[side]

    def _look(self, facts: Facts, memory: Memory) -> tuple[ObjectInfo, int | None]:
        """The source, and the size of its parts, where it was uploaded in equal ones."""
        if facts.spec.source.http:
            return self._site(facts, memory).look(), None
        source = self._store("source", facts, memory)
        info = source.head()
        return info, source.part_layout(info) if "-" in info.etag else None

    def _look_again(self, facts: Facts, memory: Memory) -> ObjectInfo:
        """The source as it was pinned. Raises S3Error where it is another."""
        pin = facts.status.source
        assert pin is not None
        if facts.spec.source.http is None:
            return self._store("source", facts, memory).head(if_match=pin.etag)
        version = Version(pin.validator or Validator.SIZE, pin.etag, pin.last_modified)
        return self._site(facts, memory).look(version, pin.size)

    def _site(self, facts: Facts, memory: Memory) -> Site:
        assert facts.spec.source.http is not None
        access = self._access("source", facts, memory)
        return Site(facts.spec.source.http, access, self.metrics.s3_request, self.guard)

    # On the resource.

    def _patch_finalizers(self, facts: Facts, *, add: bool) -> None:
        """Under a test of the resourceVersion, so that a finalizer added meanwhile is never lost."""
        owner = facts.resource.owner
        body = self.kube.get_copy(owner.namespace, owner.name)
        held = body["metadata"].get("finalizers", [])
        version = {
            "op": "test",
            "path": "/metadata/resourceVersion",
            "value": body["metadata"]["resourceVersion"],
        }
        there = read_resource(body)
        if there.owner.uid != owner.uid or there.finalizer == add:
            return
        if not add and there.status != facts.status:
            # Another operator has taken it up again meanwhile, and relies on the finalizer.
            raise writer.LostRaceError(f"{owner.namespace}/{owner.name}")
        wanted = [*held, names.FINALIZER] if add else [f for f in held if f != names.FINALIZER]
        operation = {"op": "add", "path": "/metadata/finalizers", "value": wanted}
        self.kube.patch_copy(owner.namespace, owner.name, [version, operation])

    # Before the copy.

    def _inspect(self, action: Action, facts: Facts, memory: Memory) -> Write | Wait:
        if waiting := self._look_around(action, facts):
            return waiting
        # Of a Secret that is missing it is said before a store is asked, which may be long in answering.
        destination = self._store("destination", facts, memory)
        info, layout = self._look(facts, memory)
        uploads, time = destination.list_uploads()
        found = destination.head_or_none()
        unreadable = self._unreadable(facts, info, memory)
        seen = outcome.Inspection(info, layout, found, tuple(uploads), time, unreadable)
        return outcome.claim(facts, seen)

    def _unreadable(self, facts: Facts, info: ObjectInfo, memory: Memory) -> str | None:
        """Why the store would not read the source for whoever writes the destination; None where nothing is known.

        Of two tenants of one endpoint, each may have a bucket of this name: hence the ETag.
        """
        if not info.size or outcome.relay_because(facts.spec):
            return None
        source, ours = memory.access["source"], memory.access["destination"].credentials
        if source.credentials == ours:
            return None
        assert facts.spec.source.s3 is not None
        access = replace(source, credentials=ours)
        store = Store("source", facts.spec.source.s3, access, guard=self.guard)
        try:
            store.head(if_match=info.etag)
        except S3Error as error:
            told = replace(error, message=f"{error.message}, with the destination's credentials")
            # With no other way to go, as everywhere: time to be mended.
            denied = error.kind is Kind.DENIED and facts.spec.mode is Mode.SERVER_SIDE
            if denied or error.kind is Kind.RETRY:
                raise told from error
            return str(told)
        return None

    def _look_around(self, action: Action, facts: Facts) -> Wait | None:
        """Wait for an older live resource with our destination; and where others have just begun, for our turn."""
        others, limits = [], self.limits
        for body in self.kube.list_copies():
            if limits.max_active_copies or limits.max_pods:
                others += [seat] if (seat := queueing.read_seat(body)) else []
            # Most are told apart by this much; to read half a megabyte of ledger takes longer.
            if body["spec"]["destination"]["s3"]["key"] != facts.spec.destination.s3.key:
                continue
            try:
                other = read_resource(body)
            except (KeyError, TypeError, ValueError):
                continue  # Another version has written it: it must not hold up the others.
            if outcome.goes_first(other, facts.resource):
                same = other.owner.namespace == facts.resource.owner.namespace
                busy = other.owner.name if same else "of another namespace"
                message = f"MultipartCopy {busy} is writing the same destination"
                return Wait(action.phase, Reason.DESTINATION_BUSY, message, 10.0)
        ours = queueing.seat_of(facts)
        fresh = [seat for seat in others if seat.uid != ours.uid]
        why = queueing.why_not_yet(ours, fresh, limits)
        return Wait(action.phase, Reason.QUEUED_BY_OPERATOR, why, 5.0) if why else None

    def _create_upload(self, facts: Facts, memory: Memory) -> Write:
        """Create it; if a predecessor died between creating and recording it, take up what it made."""
        status = facts.status
        assert status.source is not None
        assert status.claim is not None
        wanted, dropped = self._wanted(facts, memory)
        store = self._store("destination", facts, memory)
        uploads, now = store.list_uploads()
        upload = self._orphan(facts, store, uploads)
        if upload is None:
            if outcome.is_stale(status.claim, now):
                self._name_doubtful_uploads(facts, store)
                return outcome.reclaim(facts, uploads, now)
            checksum = outcome.wants_checksum(facts)
            created = store.create_upload(wanted, outcome.stamp(facts), checksum=checksum)
            memory.uploads.add(created.id)
            upload = Upload(created.id, created.checksum, encrypted=created.encrypted)
            dropped += created.dropped
        if self._at_the_source(upload, facts, memory):
            return outcome.onto_itself(facts, upload)
        return outcome.uploading(outcome.dropping(facts, dropped), upload)

    def _at_the_source(self, upload: Upload, facts: Facts, memory: Memory) -> bool:
        """Whether the source's store has it, too, and is thus the destination's, whatever its name."""
        if not outcome.is_named_alike(facts.spec):
            return False
        with contextlib.suppress(S3Error):  # It need not be allowed to list them.
            uploads, _ = self._store("source", facts, memory).list_uploads()
            return any(there.id == upload.id for there in uploads)
        return False

    def _wanted(self, facts: Facts, memory: Memory) -> tuple[Wanted, tuple[Dropped, ...]]:
        """What the object shall be made with, and what of the source it cannot be.

        Raises S3Error where the source is not as it was pinned, or does not tell what is required.
        """
        info, tags = self._look_again(facts, memory), {}
        dropped: tuple[Dropped, ...] = ()
        if facts.spec.preserve.tags is not Keep.IGNORE:
            try:
                tags = self._tags(facts, memory)
            except S3Error as error:
                dropped = (keeping.unread_tags(facts.spec, error),)
        return keeping.wanted(facts.spec, info, tags), dropped

    def _tags(self, facts: Facts, memory: Memory) -> dict[str, str]:
        if facts.spec.source.http:
            where = str(facts.spec.source.http)
            raise S3Error("source", where, "GetURL", Kind.PERMANENT, "NoTags", "a URL has no tags")
        return self._store("source", facts, memory).tags()

    def _orphan(self, facts: Facts, store: Store, uploads: list[ListedUpload]) -> Upload | None:
        """The one that a predecessor made; of two, nobody can say which is ours, and both are left."""
        empty = self._empty_uploads(facts, store, uploads)
        return empty[0] if len(empty) == 1 else None

    @staticmethod
    def _empty_uploads(facts: Facts, store: Store, uploads: list[ListedUpload]) -> list[Upload]:
        """Those begun when ours was that have no parts."""
        assert facts.status.claim is not None
        if facts.status.plan and facts.status.plan.part_count == 0:
            return []  # It makes none.
        empty = []
        for upload_id in outcome.our_uploads(facts.status.claim, uploads):
            try:
                parts, checksum = store.list_parts(upload_id)
            except S3Error as error:
                if error.kind not in (Kind.NO_UPLOAD, Kind.NO_OBJECT):
                    raise
                continue  # It has ended meanwhile.
            if not parts:
                empty.append(Upload(upload_id, checksum))
        return empty

    # The copy.

    def _start_run(
        self, action: Action, facts: Facts, memory: Memory, work: Sequence[Work], pods: int
    ) -> Wait | None:
        for side in ("source", "destination"):
            self._access(side, facts, memory)
        owner = facts.resource.owner
        manifest = build_job(owner, facts.spec, facts.status, work, self.image, pods)
        try:
            self.kube.create_job(owner.namespace, manifest)
        except KubeError as error:
            if error.status in (400, 403, 422):
                quota = "exceeded quota" in str(error)
                reason = Reason.QUOTA_EXCEEDED if quota else Reason.POD_REFUSED
                return Wait(action.phase, reason, str(error), 5.0)
            raise
        return None

    def _list_parts(self, action: Action, facts: Facts, memory: Memory) -> Write | Wait:
        memory.listed_at = facts.now
        assert facts.status.upload is not None
        parts, _ = self._store("destination", facts, memory).list_parts(facts.status.upload.id)
        return outcome.listed(facts, action, parts)

    def _end_run(self, action: Action, facts: Facts, memory: Memory, progressed: bool) -> Write:
        assert facts.status.upload is not None
        folded = steps.fold(facts)
        parts: list[StoredPart] = []
        if folded.stage is None:
            parts, _ = self._store("destination", facts, memory).list_parts(facts.status.upload.id)
        return outcome.end_run(facts, action, progressed, folded, parts, self.limits)

    def _lose_upload(self, action: Action, facts: Facts, memory: Memory) -> Write | Wait:
        assert facts.status.upload is not None
        store = self._store("destination", facts, memory)
        if store.upload_exists(facts.status.upload.id):
            return outcome.end_run(facts, action, False, steps.fold(facts), [], self.limits)
        return outcome.new_attempt(facts, self.limits)

    # The end.

    def _cross_check(self, facts: Facts, memory: Memory) -> Write:
        if facts.status.upload is None:
            return outcome.intend(facts, [], self.limits)
        if facts.status.server_side:
            # Not every store heeds the precondition of a part that it copies.
            assert facts.status.source is not None
            self._store("source", facts, memory).head(if_match=facts.status.source.etag)
        parts, _ = self._store("destination", facts, memory).list_parts(facts.status.upload.id)
        return outcome.intend(facts, parts, self.limits)

    def _settle(self, facts: Facts, memory: Memory) -> Write | Wait:
        """Look, complete, look again: what the store shows decides, whatever it answered."""
        store = self._store("destination", facts, memory)
        conditional = facts.spec.overwrite is not Overwrite.ALWAYS
        head = store.head_or_none()
        # With Always, an equal object that was there before is replaced all the same.
        fresh = conditional or settle.is_fresh(facts, head)
        if fresh and (done := self._judged(facts, memory, store, head)):
            return done
        if conditional and (changed := settle.changed_under_us(facts, head)):
            return changed
        error, answered = None, ""
        try:
            answered, dropped = self._publish(facts, memory, store)
            facts = outcome.dropping(facts, (*facts.status.dropped, *dropped))
        except S3Error as refusal:
            if refusal.kind is Kind.DENIED:
                raise  # Given time to be mended, as everywhere.
            error = refusal
        head = store.head_or_none()
        told = conditional or error is None or settle.is_fresh(facts, head)
        if told and (
            done := self._judged(facts, memory, store, head, answered, ended=error is None)
        ):
            return done
        if (conditional or not error) and (changed := settle.changed_under_us(facts, head)):
            return changed
        if error:
            memory.unseen_since = None
            if error.kind is Kind.PERMANENT and self._is_another(facts, store):
                return self._replace(facts, store, memory, error)
            return settle.unsettled(facts, error, self.limits)
        if memory.unseen_since is None or memory.unseen_since > facts.now:
            memory.unseen_since = facts.now
        if facts.elapsed(memory.unseen_since, self.limits.unseen_seconds):
            return settle.vanished(facts)
        message = "the store has confirmed the object but does not show it yet"
        return Wait(Phase.COMPLETING, Reason.COMPLETING, message, 2.0)

    @staticmethod
    def _is_another(facts: Facts, store: Store) -> bool:
        """Whether the upload is not the one that was created: some stores let a part that arrives during an
        abort bring it back, without its checksum, and then refuse to complete it.
        """
        upload = facts.status.upload
        return upload is not None and upload.checksum and not store.list_parts(upload.id)[1]

    def _replace(self, facts: Facts, store: Store, memory: Memory, error: S3Error) -> Write | Wait:
        """With an upload of a new attempt; of a copy of the same bytes nothing else could mend it."""
        assert facts.status.upload is not None
        if not self._gone(store, [facts.status.upload.id], memory):
            return Wait(Phase.COMPLETING, Reason.UPLOAD_LOST, str(error), 2.0)
        return outcome.new_attempt(facts, self.limits, error)

    def _judged(
        self,
        facts: Facts,
        memory: Memory,
        store: Store,
        head: ObjectInfo | None,
        answered: str = "",
        *,
        ended: bool = False,
    ) -> Write | Wait | None:
        """None where the object is not ours. ``ended``: our own completion has just consumed the upload."""
        verdict = settle.judge(facts, head, answered)
        if head is None or verdict is settle.Verdict.OTHER:
            return None
        # The object is there though we have not just made it: our upload may be there as well.
        ids = [facts.status.upload.id] if facts.status.upload and not ended else []
        if not self._gone(store, ids, memory):
            message = "the object is there; aborting the upload"
            return Wait(Phase.COMPLETING, Reason.COMPLETING, message, 2.0)
        if verdict is settle.Verdict.OURS:
            self._name_doubtful_uploads(facts, store)
            return settle.settled(facts, head)
        assert facts.status.completing is not None
        sent = facts.status.completing.crc64nvme
        found = f"has CRC64NVME {head.crc64nvme}, what was sent has {sent}"
        return settle.damaged(facts, head, found)

    def _withdraw(self, action: Action, facts: Facts, memory: Memory) -> Write:
        """A damaged object must not be taken for a good one: delete it, if it is still the one."""
        store, problem = self._store("destination", facts, memory), ""
        head = store.head_or_none()
        if head and settle.is_made(facts, head):
            if why := self._only_copy(facts, memory, head):
                return settle.withdrawn(facts, action, head, "", spared=why)
            try:
                store.delete(head)
            except S3Error as error:
                if error.kind is Kind.RETRY:
                    raise
                problem = str(error)
            try:
                head = store.head_or_none()
            except S3Error as error:
                if problem or error.kind is not Kind.DENIED:
                    raise
                # Where listing is not allowed, that is how a missing object is answered.
                head = None
        return settle.withdrawn(facts, action, head, problem)

    def _only_copy(self, facts: Facts, memory: Memory, head: ObjectInfo) -> str | None:
        """Why the object may be all that there is of its source; None where the source is seen beside it.

        Two endpoints may be names of one store, which nothing tells but what is there.
        """
        source, made = facts.spec.source.s3, facts.spec.destination.s3
        if source is None or (source.bucket, source.key) != (made.bucket, made.key):
            return None
        try:
            there = self._look_again(facts, memory)
        except S3Error as error:
            if error.kind in (Kind.PRECONDITION, Kind.NO_OBJECT, Kind.NO_BUCKET):
                return f"the source is no longer what was copied: {error}"
            raise
        same = (there.etag, there.last_modified) == (head.etag, head.last_modified)
        return "it may be the source itself, at another endpoint" if same else None

    def _conclude(self, facts: Facts, memory: Memory) -> Write:
        """Every part of the object has been read again."""
        reading = facts.status.destination_reading
        assert reading is not None
        store = self._store("destination", facts, memory)
        head = store.head_or_none()
        if head is None or not settle.is_made(facts, head):
            return settle.not_kept(facts, head)
        if not reading.wrong:
            return settle.concluded(facts, head)
        again = settle.reread(facts, self.limits)
        found = f"was read back otherwise than sent, part {reading.wrong}"[:200]
        return again or settle.damaged(facts, head, found)

    def _name_doubtful_uploads(self, facts: Facts, store: Store) -> None:
        """Of two operators at once, the one that lost may have died before it could abort its upload.

        It cannot be told from a stranger's, so it is not touched, but named.
        """
        if facts.status.claim is None:
            return
        current = facts.status.upload.id if facts.status.upload else None
        for other in self._empty_uploads(facts, store, _left_in(store)):
            if other.id != current:
                sentence = outcome.doubtful(facts, other.id)
                self._name_left_behind(facts, [other.id], sentence, ours=False)

    def _publish(
        self, facts: Facts, memory: Memory, store: Store
    ) -> tuple[str, tuple[Dropped, ...]]:
        """Returns the ETag that the store answers, possibly empty, and what was not kept for it."""
        intent, upload = facts.status.completing, facts.status.upload
        assert intent is not None
        publish: Callable[[Precondition], tuple[str, tuple[Dropped, ...]]]
        if upload is None:
            (wanted, unread), stamp = self._wanted(facts, memory), outcome.stamp(facts)

            def publish(condition: Precondition) -> tuple[str, tuple[Dropped, ...]]:
                etag, dropped = store.put_empty(wanted, stamp, condition)
                return etag, unread + dropped
        else:
            parts = [
                CompletedPart(n, p.etag, _named_crc(upload, p))
                for n, p in ledger.parts_of(facts.status.batches).items()
            ]

            def publish(condition: Precondition) -> tuple[str, tuple[Dropped, ...]]:
                etag = store.complete(
                    upload.id,
                    parts,
                    size=intent.size,
                    crc64nvme=intent.crc64nvme if upload.checksum else None,
                    precondition=condition,
                )
                return etag, ()

        try:
            return publish(Precondition(intent.if_match, intent.if_none_match))
        except S3Error as error:
            if error.kind is not Kind.UNSUPPORTED or not (intent.if_match or intent.if_none_match):
                raise
            # The HEAD of a moment ago is then the only guard of what is under the key.
            logger.warning("%s: the store knows no preconditions", facts.resource.owner.name)
            return publish(Precondition())

    def _abort(self, action: Action, facts: Facts, memory: Memory) -> Write | Wait:
        """Until the store no longer knows the upload: parts on their way may outlive the first abort."""
        store = self._store("destination", facts, memory)
        ids = list(facts.strays)
        if facts.status.upload:
            ids.append(facts.status.upload.id)
        elif facts.status.claim:
            orphan = self._orphan(facts, store, _left_in(store))
            ids += [orphan.id] if orphan else []
        if not self._gone(store, ids, memory):
            return Wait(action.phase, action.reason, action.message, 2.0)
        self._name_doubtful_uploads(facts, store)
        return outcome.aborted(facts, action)

    def _keep(self, action: Action, facts: Facts, memory: Memory) -> Write:
        """It counts as kept unless the store says otherwise now: it is looked at again before it is used."""
        assert facts.status.upload is not None
        try:
            store = self._store("destination", facts, memory)
            there = store.upload_exists(facts.status.upload.id)
        except (S3Error, MissingSecretError):
            there = True
        return outcome.kept(facts, action) if there else outcome.aborted(facts, action)

    def _resume(self, action: Action, facts: Facts, memory: Memory) -> Write | Wait:
        """All that an inspection looks at; the source must be as it was pinned, and the upload there."""
        if waiting := self._look_around(action, facts):
            return waiting
        store = self._store("destination", facts, memory)
        upload = facts.status.upload
        usable = (
            upload is not None
            and store.upload_exists(upload.id)
            and not self._at_the_source(upload, facts, memory)
        )
        try:
            self._look_again(facts, memory)
        except S3Error as error:
            if error.kind is not Kind.PRECONDITION:
                raise
            usable = False
        if usable:
            uploads, time = store.list_uploads()
            return outcome.resumed(facts, store.head_or_none(), uploads, time)
        if not self._gone(store, [upload.id] if upload else [], memory):
            return Wait(action.phase, action.reason, action.message, 2.0)
        return outcome.afresh(facts)

    def _abort_strays(self, action: Action, facts: Facts, memory: Memory) -> Wait | None:
        """Uploads of ours that the status no longer names: somebody has edited it."""
        store = self._store("destination", facts, memory)
        logger.warning("%s: aborting %s", facts.resource.owner.name, ", ".join(facts.strays))
        if self._gone(store, facts.strays, memory):
            return None
        return Wait(action.phase, action.reason, action.message, 2.0, quiet=facts.status.over)

    def _gone(self, store: Store, upload_ids: Iterable[str], memory: Memory) -> bool:
        """Abort them, and see whether the store has forgotten them all."""
        for upload_id in upload_ids:
            store.abort(upload_id)
            if store.upload_exists(upload_id):
                return False
            if upload_id not in memory.ended_uploads:
                self.metrics.aborted()
            memory.ended_uploads.add(upload_id)
        return True

    def _begin_anew(
        self,
        action: Action,
        facts: Facts,
        memory: Memory,
        otherwise: Callable[[Facts, Action], Write],
    ) -> Write | Wait:
        """Abort the upload; a new attempt does without what the store has refused."""
        assert facts.status.upload is not None
        store = self._store("destination", facts, memory)
        if not self._gone(store, [facts.status.upload.id], memory):
            return Wait(action.phase, action.reason, action.message, 2.0)
        return otherwise(facts, action)

    def bury(self, memory: Memory) -> None:
        """The resource has vanished. Where somebody took its finalizer away, an upload may be left: abort it."""
        last, access = memory.last, memory.access.get("destination")
        left = memory.uploads - memory.ended_uploads
        done = last is not None and last.status.over and not last.status.kept
        if last is None or done or access is None or not left:
            return
        with contextlib.suppress(S3Error):
            location = last.spec.destination.s3
            store = Store("destination", location, access, self.metrics.s3_request, self.guard)
            self._gone(store, left, memory)
        if uploads := sorted(left - memory.ended_uploads):
            facts = Facts(datetime.now(UTC), last)
            self._name_left_behind(facts, uploads, outcome.left_behind_sentence(facts, uploads))

    def _give_up_abort(self, action: Action, facts: Facts, memory: Memory) -> Write:
        result, uploads = outcome.left_behind(facts, action)
        memory.ended_uploads.update(uploads)
        self._name_left_behind(facts, uploads, outcome.left_behind_sentence(facts, uploads))
        return result

    def _name_left_behind(
        self, facts: Facts, uploads: Iterable[str], sentence: str, *, ours: bool = True
    ) -> None:
        """Where people look: log, metric, an Event on the resource, and one beside the operator, which stays."""
        owner = facts.resource.owner
        logger.error("%s/%s: %s", owner.namespace, owner.name, sentence)
        place = facts.spec.destination.s3
        for upload_id in uploads:
            self.metrics.left_behind(owner.namespace, owner.name, place, upload_id, ours=ours)
        writer.emit(self.kube, facts.resource, Reason.UPLOAD_LEFT_BEHIND, sentence, facts.now)
        if self.pod:
            namespace, name = self.pod
            pod = {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name}
            named = f"{owner.namespace}/{owner.name}: {sentence}"
            writer.post(self.kube, pod, Reason.UPLOAD_LEFT_BEHIND, named, facts.now)


def _left_in(store: Store) -> list[ListedUpload]:
    """The uploads for the key; none where the bucket has gone, and they with it."""
    try:
        return store.list_uploads()[0]
    except S3Error as error:
        if error.kind is not Kind.NO_BUCKET:
            raise
        return []


def _missing(action: Action, error: MissingSecretError, *, quiet: bool) -> Wait:
    if action.phase is Phase.ABORTING or quiet:
        return Wait(action.phase, action.reason, f"{action.message}; {error}", 10.0, quiet)
    return Wait(action.phase, error.reason, str(error), 5.0)


def _named_crc(upload: Upload, part: ledger.Part) -> str | None:
    """What a completion has to say of a part, where the upload was created with checksums."""
    return encode_crc(part.crc) if upload.checksum and part.crc is not None else None


def _plain(facts: Facts) -> Facts:
    """Without what the pods reported, which does not fit, nor an intent, which would go first."""
    return replace(outcome.replace_status(facts, completing=None), pods=(), gone_pods=())
