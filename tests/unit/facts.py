"""Facts for tables: a copy of 100 MiB in 20 parts of 5 MiB, in 4 batches, as it looks half way."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from multipartcopy.api.location import Reference, S3Location
from multipartcopy.api.report import Report, WorkerError, pack_crcs
from multipartcopy.api.spec import S3Destination, Source, Spec, Target
from multipartcopy.api.status import Claim, Phase, Pin, Plan, Status, Upload
from multipartcopy.api.task import upload_hash
from multipartcopy.jobs import Owner
from multipartcopy.reconcile.facts import Facts, Job, Pod, Resource, Terminated, format_time
from multipartcopy.reconcile.ledger import Part, write_parts

MiB = 1 << 20
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SIZE = 100 * MiB
PLAN = Plan(part_size=5 * MiB, part_count=20, batch_size=5, batch_count=4)
OWNER = Owner("copy", "default", "5f0c-uid")
UPLOAD = Upload("upload-1", checksum=True)

SPEC = Spec(
    source=Source(S3Location("from", "key", "http://a:1", secret_ref=Reference("a"))),
    destination=Target(S3Destination("to", "key", "http://b:1", secret_ref=Reference("b"))),
)
NEW = Status()
CLAIMED = Status(
    phase=Phase.PREPARING,
    attempt=1,
    source=Pin("abc", SIZE),
    plan=PLAN,
    claim=Claim(format_time(NOW)),
    start_time=format_time(NOW),
)
UPLOADING = replace(CLAIMED, phase=Phase.COPYING, upload=UPLOAD, run=1)


def etag(number: int) -> str:
    return f"{number:032x}"


def with_parts(status: Status, numbers: range) -> Status:
    parts = {n: Part(etag(n), n) for n in numbers}
    return replace(status, batches=write_parts(PLAN, SIZE, parts))


FULL = with_parts(UPLOADING, range(1, 21))


def facts(status: Status = NEW, spec: Spec = SPEC, **changes: object) -> Facts:
    """``finalizer``, ``retry`` and ``deleted_at`` go to the resource, the rest to the facts. A second past ``NOW``."""
    resource = Resource(
        owner=OWNER,
        generation=1,
        resource_version="7",
        spec=spec,
        status=status,
        created=NOW,
        finalizer=bool(changes.pop("finalizer", True)),
        retry=changes.pop("retry", None),  # type: ignore[arg-type]
        deleted_at=changes.pop("deleted_at", None),  # type: ignore[arg-type]
    )
    now = changes.pop("now", NOW + timedelta(seconds=1))
    return Facts(now=now, resource=resource, **changes)  # type: ignore[arg-type]


def job(run: int = 1, **changes: object) -> Job:
    sizes = {"parallelism": 4, "completions": 4, "left": 4}
    plain = Job(f"job-r{run}", "job-uid", 1, run, upload=UPLOAD.id, **sizes)  # type: ignore[arg-type]
    return replace(plain, **changes)  # type: ignore[arg-type]


def report(
    parts: str, numbers: range, *, error: WorkerError | None = None, upload: str = UPLOAD.id
) -> Report:
    return Report(
        upload=upload_hash(upload),
        attempt=1,
        run=1,
        batch=0,
        parts=parts,
        etags=tuple(etag(n) for n in numbers),
        crc64nvme=pack_crcs(list(numbers)),
        error=error,
    )


def pod(
    message: Report | str | None = None,
    *,
    code: int = 0,
    reason: str = "Completed",
    **changes: object,
) -> Pod:
    """Finished where a message is given, else running."""
    plain = Pod("pod", "pod-uid", 1, 1, message is None, memory_limit="64Mi", job="job-uid")
    if message is not None:
        text = message if isinstance(message, str) else message.encode().decode()
        ended = Terminated(code, reason, text, format_time(NOW))
        plain = replace(plain, terminated=ended)
    return replace(plain, **changes)  # type: ignore[arg-type]
