"""The effects: one small, repeatable step each. What they find out goes through ``outcome`` into the status."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from multipartcopy.api import names
from multipartcopy.api.reasons import Reason
from multipartcopy.api.report import encode_crc
from multipartcopy.api.spec import Overwrite, S3Location
from multipartcopy.api.status import Phase, Upload
from multipartcopy.api.task import Work
from multipartcopy.jobs import Image, build_job
from multipartcopy.kube import Kube, KubeError, NotFoundError, TooLargeError
from multipartcopy.plan import AUTO
from multipartcopy.reconcile import decide as steps
from multipartcopy.reconcile import ledger, outcome, writer
from multipartcopy.reconcile.decide import Action, Wait, Write, give_up
from multipartcopy.reconcile.facts import Facts, Limits, Pod, read_resource
from multipartcopy.s3.control import (
    Access,
    CompletedPart,
    Credentials,
    ListedUpload,
    Precondition,
    Store,
)
from multipartcopy.s3.errors import Kind, S3Error

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
    trouble: tuple[Reason, str] | None = None
    created: str | None = None
    """The upload ID that was created and is not recorded yet."""


_NEEDS_STORES = (
    steps.StartRun,
    steps.Inspect,
    steps.CreateUpload,
    steps.ListParts,
    steps.EndRun,
    steps.CrossCheck,
    steps.Settle,
    steps.LoseUpload,
    steps.Abort,
)


class MissingSecretError(Exception):
    """There is no way in yet."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Effects:
    """All effects of the operator; ``pod`` (namespace, name) is its own: it says what no resource can."""

    kube: Kube
    image: Image
    pod: tuple[str, str] | None
    limits: Limits

    def perform(self, action: Action, facts: Facts, memory: Memory) -> Wait | None:
        """Do it, write the status once if there is news; a Wait where the pass should end.

        Raises KubeError, LostRaceError.
        """
        result: Write | Wait | None
        try:
            result = self._effect(action, facts, memory)
            if isinstance(action, _NEEDS_STORES):
                memory.denied_since = memory.trouble = None
        except S3Error as error:
            if error.kind is Kind.DENIED:
                memory.denied_since = memory.denied_since or facts.now
            result = outcome.refused(facts, action, error, self.limits, memory.denied_since)
            memory.trouble = result.reason, result.message
        except MissingSecretError as error:
            result = _missing(action, error)
            memory.trouble = result.reason, result.message
        if result is None:
            return None
        try:
            self._write(result, facts, memory)
        except TooLargeError as error:
            message = f"the ledger does not fit into the resource: {error}"
            self._write(give_up(_unfolded(facts), Reason.LEDGER_TOO_LARGE, message), facts, memory)
            return None
        except (writer.LostRaceError, NotFoundError):
            self._abort_unrecorded(result, facts, memory)
            raise
        return result if isinstance(result, Wait) else None

    def _write(self, result: Write | Wait, facts: Facts, memory: Memory) -> None:
        if isinstance(result, Wait) and result.quiet:
            return
        status = result.status if isinstance(result, Write) else facts.status
        if isinstance(result, Write) and result.phase is Phase.COPYING:
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
        memory.created = None
        if wrote:
            memory.written_at = facts.now

    def _effect(self, action: Action, facts: Facts, memory: Memory) -> Write | Wait | None:
        owner = facts.resource.owner
        match action:
            case Write() | Wait():
                return action
            case steps.AddFinalizer():
                self._patch_finalizers(facts, add=True)
            case steps.RemoveFinalizer():
                self._patch_finalizers(facts, add=False)
            case steps.DeleteResource():
                self.kube.delete_copy(owner.namespace, owner.name, owner.uid)
            case steps.DeleteJobs(jobs=jobs):
                for job in jobs:
                    self.kube.delete_job(owner.namespace, job)
            case steps.Scale(job=job, parallelism=parallelism):
                self.kube.set_parallelism(owner.namespace, job, parallelism)
            case steps.StartRun(work=work):
                return self._start_run(action, facts, memory, list(work))
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
            case steps.LoseUpload():
                return self._lose_upload(action, facts, memory)
            case steps.Abort():
                return self._abort(action, facts, memory)
            case steps.GiveUpAbort():
                return self._give_up_abort(action, facts)
            case _:
                raise AssertionError(action)
        return None

    # Reaching the stores.

    def _store(self, side: str, facts: Facts, memory: Memory) -> Store:
        spec = facts.spec
        location = spec.source.s3 if side == "source" else spec.destination.s3
        try:
            memory.access[side] = self._access(location, facts.resource.owner.namespace)
        except MissingSecretError:
            ending = facts.resource.deleted_at or facts.status.failing
            if not (ending and side in memory.access):
                raise
        return Store(side, location, memory.access[side])

    def _access(self, location: S3Location, namespace: str) -> Access:
        credentials = ca = None
        if location.secret_ref:
            needed = (names.ACCESS_KEY_ID, names.SECRET_ACCESS_KEY)
            secret = self._secret(namespace, location.secret_ref.name, needed)
            access_key, secret_key = (secret[key].strip() for key in needed)
            token = secret.get(names.SESSION_TOKEN, "").strip() or None
            credentials = Credentials(access_key, secret_key, token)
        if location.ca_secret_ref:
            name = location.ca_secret_ref.name
            ca = self._secret(namespace, name, (names.CA_CERTIFICATE,))[names.CA_CERTIFICATE]
        return Access(credentials, ca)

    def _secret(self, namespace: str, name: str, needed: tuple[str, ...]) -> dict[str, str]:
        try:
            secret = self.kube.get_secret(namespace, name)
        except NotFoundError:
            message = f"there is no Secret {name} in namespace {namespace}"
            raise MissingSecretError(Reason.SECRET_NOT_FOUND, message) from None
        missing = [key for key in needed if not secret.get(key, "").strip()]
        if missing:
            message = f"Secret {name} lacks {' and '.join(missing)}; it needs {', '.join(needed)}"
            raise MissingSecretError(Reason.SECRET_INVALID, message)
        keys = {*needed, names.SESSION_TOKEN} - {names.CA_CERTIFICATE}
        broken = sorted(key for key in keys if not _is_plain(secret.get(key, "")))
        if broken:
            message = f"Secret {name}: {' and '.join(broken)} must be one line of printable ASCII"
            raise MissingSecretError(Reason.SECRET_INVALID, message)
        return secret

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
        wanted = [*held, names.FINALIZER] if add else [f for f in held if f != names.FINALIZER]
        operation = {"op": "add", "path": "/metadata/finalizers", "value": wanted}
        self.kube.patch_copy(owner.namespace, owner.name, [version, operation])

    # Before the copy.

    def _inspect(self, action: Action, facts: Facts, memory: Memory) -> Write | Wait:
        busy = self._rival(facts)
        if busy:
            message = f"MultipartCopy {busy} is writing the same destination"
            return Wait(action.phase, Reason.DESTINATION_BUSY, message, 10.0)
        source = self._store("source", facts, memory)
        destination = self._store("destination", facts, memory)
        info = source.head()
        uploads, time = destination.list_uploads()
        found = destination.head_or_none()
        composite = facts.spec.part_size == AUTO and "-" in info.etag
        layout = source.part_layout(info) if composite else None
        seen = outcome.Inspection(info, layout, found, tuple(uploads), time)
        return outcome.claim(facts, seen)

    def _rival(self, facts: Facts) -> str | None:
        """An older live resource with our destination: of two, the younger waits."""
        for body in self.kube.list_copies():
            # Most are told apart by this much; to read half a megabyte of ledger takes longer.
            if body["spec"]["destination"]["s3"]["key"] != facts.spec.destination.s3.key:
                continue
            other = read_resource(body)
            if outcome.goes_first(other, facts.resource):
                same = other.owner.namespace == facts.resource.owner.namespace
                return other.owner.name if same else "of another namespace"
        return None

    def _create_upload(self, facts: Facts, memory: Memory) -> Write:
        """Create it; if a predecessor died between creating and recording it, take up what it made."""
        status = facts.status
        assert status.source is not None
        assert status.claim is not None
        like = self._store("source", facts, memory).head(if_match=status.source.etag)
        store = self._store("destination", facts, memory)
        uploads, now = store.list_uploads()
        upload = self._orphan(facts, store, uploads)
        if upload is None:
            if outcome.is_stale(status.claim, now):
                return outcome.reclaim(facts, uploads, now)
            upload = Upload(*store.create_upload(like, outcome.stamp(status.source)))
            memory.created = upload.id
        return outcome.uploading(facts, upload)

    def _abort_unrecorded(self, result: Write | Wait, facts: Facts, memory: Memory) -> None:
        """Nobody would know of an upload whose ID another operator's write kept out of the status."""
        upload = result.status.upload if isinstance(result, Write) else None
        if upload is None or upload.id != memory.created:
            return
        owner = facts.resource.owner
        try:
            there = read_resource(self.kube.get_copy(owner.namespace, owner.name))
        except NotFoundError:
            there = None
        recorded = there.status.upload if there and there.owner.uid == owner.uid else None
        memory.created = None
        if recorded is None or recorded.id != upload.id:
            logger.warning("%s: aborting an upload that lost a race", owner.name)
            self._store("destination", facts, memory).abort(upload.id)

    @staticmethod
    def _orphan(facts: Facts, store: Store, uploads: list[ListedUpload]) -> Upload | None:
        assert facts.status.claim is not None
        empty = []
        for upload_id in outcome.our_uploads(facts.status.claim, uploads):
            parts, checksum = store.list_parts(upload_id)
            if not parts:
                empty.append(Upload(upload_id, checksum))
        if len(empty) > 1:
            logger.warning(
                "%s: uploads of unknown owner, left alone: %s", facts.resource.owner.name, empty
            )
        return empty[0] if len(empty) == 1 else None

    # The copy.

    def _start_run(
        self, action: Action, facts: Facts, memory: Memory, work: list[Work]
    ) -> Wait | None:
        for side in ("source", "destination"):
            self._store(side, facts, memory)
        owner = facts.resource.owner
        manifest = build_job(owner, facts.spec, facts.status, work, self.image)
        try:
            self.kube.create_job(owner.namespace, manifest)
        except KubeError as error:
            if error.status in (403, 422):
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
        parts, _ = self._store("destination", facts, memory).list_parts(facts.status.upload.id)
        folded = steps.fold(facts)
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
        parts, _ = self._store("destination", facts, memory).list_parts(facts.status.upload.id)
        return outcome.intend(facts, parts, self.limits)

    def _settle(self, facts: Facts, memory: Memory) -> Write | Wait:
        """Look, complete, look again: what the store shows decides, whatever it answered."""
        store = self._store("destination", facts, memory)
        conditional = facts.spec.overwrite is not Overwrite.ALWAYS
        head = store.head_or_none()
        # With Always, an equal object that was there before is replaced all the same.
        fresh = conditional or outcome.is_new(facts, head)
        if fresh and (done := outcome.judge(facts, head)):
            return self._without_upload(facts, store, done)
        if conditional and (changed := outcome.changed_under_us(facts, head)):
            return changed
        error: S3Error | None = None
        try:
            self._publish(facts, memory, store)
        except S3Error as refusal:
            if refusal.kind is Kind.DENIED:
                raise  # Given time to be mended, as everywhere.
            error = refusal
        head = store.head_or_none()
        if done := outcome.judge(facts, head):
            return self._without_upload(facts, store, done) if error else done
        if (conditional or not error) and (changed := outcome.changed_under_us(facts, head)):
            return changed
        if error:
            return outcome.unsettled(facts, error, self.limits)
        message = "the store has confirmed the object but does not show it yet"
        return Wait(Phase.COMPLETING, Reason.COMPLETING, message, 2.0)

    @staticmethod
    def _without_upload(facts: Facts, store: Store, done: Write) -> Write:
        """The object is there though we have not just made it: our upload may be there as well."""
        if facts.status.upload:
            store.abort(facts.status.upload.id)
        return done

    def _publish(self, facts: Facts, memory: Memory, store: Store) -> None:
        intent, upload = facts.status.completing, facts.status.upload
        assert intent is not None
        publish: Callable[[Precondition], str]
        if upload is None:
            assert facts.status.source is not None
            source = self._store("source", facts, memory)
            like = source.head(if_match=facts.status.source.etag)
            stamp = outcome.stamp(facts.status.source)

            def publish(condition: Precondition) -> str:
                return store.put_empty(like, stamp, condition)
        else:
            parts = [
                CompletedPart(n, p.etag, encode_crc(p.crc) if upload.checksum else None)
                for n, p in ledger.parts_of(facts.status.batches).items()
            ]

            def publish(condition: Precondition) -> str:
                return store.complete(
                    upload.id,
                    parts,
                    size=intent.size,
                    crc64nvme=intent.crc64nvme if upload.checksum else None,
                    precondition=condition,
                )

        try:
            publish(Precondition(intent.if_match, intent.if_none_match))
        except S3Error as error:
            if error.kind is not Kind.UNSUPPORTED or not (intent.if_match or intent.if_none_match):
                raise
            # The HEAD of a moment ago is then the only guard of what is under the key.
            logger.warning("%s: the store knows no preconditions", facts.resource.owner.name)
            publish(Precondition())

    def _abort(self, action: Action, facts: Facts, memory: Memory) -> Write | Wait:
        """Until the store no longer knows the upload: parts on their way may outlive the first abort."""
        store = self._store("destination", facts, memory)
        assert facts.status.claim is not None
        if facts.status.upload:
            ids = [facts.status.upload.id]
        else:
            orphan = self._orphan(facts, store, store.list_uploads()[0])
            ids = [orphan.id] if orphan else []
        for upload_id in ids:
            store.abort(upload_id)
            if store.upload_exists(upload_id):
                return Wait(action.phase, action.reason, action.message, 2.0)
        return outcome.aborted(facts, action)

    def _give_up_abort(self, action: Action, facts: Facts) -> Write:
        result, sentence = outcome.left_behind(facts, action)
        owner = facts.resource.owner
        logger.error("%s/%s: %s", owner.namespace, owner.name, sentence)
        writer.emit(self.kube, facts.resource, Reason.UPLOAD_LEFT_BEHIND, sentence, facts.now)
        if self.pod:
            # The resource's namespace may be going; ours stays.
            namespace, name = self.pod
            ours = {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name}
            named = f"{owner.namespace}/{owner.name}: {sentence}"
            writer.post(self.kube, ours, Reason.UPLOAD_LEFT_BEHIND, named, facts.now)
        return result


def _missing(action: Action, error: MissingSecretError) -> Wait:
    if action.phase is Phase.ABORTING:
        return Wait(action.phase, action.reason, f"{action.message}; {error}", 10.0)
    return Wait(action.phase, error.reason, str(error), 5.0)


def _unfolded(facts: Facts) -> Facts:
    """Without what the pods reported: it does not fit."""
    return replace(facts, pods=(), gone_pods=())


def _is_plain(value: str) -> bool:
    """Else it would break a header, and the error that says so would show it."""
    value = value.strip()
    return value.isascii() and (value.isprintable() and " " not in value)
