"""The proof, purely: what is known of the bytes, by what, and what speaks against them.

It has two legs. The transfer: what was sent is what the destination stores. The source: what was
received is what the source holds; a bit that flips on the way from the source gives equal checksums
everywhere behind it, so only the source's own word, or a second reading, can tell.

A store that copies by itself sends and receives out of sight: there both legs are proven at once, by
what the stores tell of the two objects or by reading both, or neither is.
"""

from multipartcopy.api.spec import VerificationMode
from multipartcopy.api.status import Leg, Pin, Result, Status, Verification
from multipartcopy.api.task import Validator
from multipartcopy.reconcile import ledger
from multipartcopy.s3.control import CRC64NVME, ObjectInfo

COMPOSITE_ETAG = "CompositeETag"
PART_MD5 = "PartMD5"
MD5 = "MD5"
READ_BACK = "ReadBack"
EMPTY = "Empty"

_EMPTY_LEG = Leg(EMPTY, "0 bytes", "the source, which has none")


def source_leg(status: Status) -> Leg | None:
    """By what the bytes received are known to be the source's; before the object is made visible."""
    pin = status.source
    assert pin is not None
    if pin.size == 0:
        return _EMPTY_LEG
    crc = ledger.object_crc(status)
    if crc is None:
        return None
    # With no word on whether it is still the same, a second reading may be of another.
    if _was_read(status) and pin.validator is not Validator.SIZE:
        return Leg(READ_BACK, crc, "the source, read a second time")
    if pin.crc64nvme == crc:
        return Leg(CRC64NVME, crc, "the source's full-object CRC64NVME")
    if pin.expected_crc64nvme == crc:
        return Leg(CRC64NVME, crc, "spec.source.expect.checksum")
    etag = _comparable_etag(status, pin)
    if etag == pin.etag:
        return Leg(COMPOSITE_ETAG if "-" in etag else MD5, etag, "the source's ETag")
    return None


def doubt(status: Status) -> str | None:
    """What speaks against the bytes received: a sentence, or None.

    A CRC64NVME is what it is. An ETag may be no MD5 for reasons that we cannot know of, so it is a
    reason to read the source again, and no more.
    """
    pin = status.source
    assert pin is not None
    crc = ledger.object_crc(status)
    known = pin.known_crc64nvme
    if known is not None and crc is not None:
        whose = "the source has" if pin.crc64nvme else "spec.source.expect has"
        return f"{whose} CRC64NVME {known}, received was {crc}" if known != crc else None
    etag = _comparable_etag(status, pin)
    if etag is None or etag == pin.etag or (status.upload and status.upload.encrypted):
        return None
    what = "the copy" if status.server_side else "what was received"
    return f"the source has the ETag {pin.etag}, {what} has {etag}"


def must_read_source(status: Status, mode: VerificationMode) -> bool:
    """Whether the source has to be read again before the object may be made visible.

    Of a server-side copy it is read afterwards, with the destination: there is nothing else to compare it with.
    """
    if status.server_side or mode is VerificationMode.NONE or _was_read(status):
        return False
    if not ledger.parts_of(status.batches):
        return False
    return mode is VerificationMode.READ_BACK or doubt(status) is not None


def must_read_both(status: Status, head: ObjectInfo, mode: VerificationMode) -> bool:
    """Whether both objects have to be read again, once the store has copied the one to the other by itself."""
    pin = status.source
    assert pin is not None
    if not status.server_side or mode is VerificationMode.NONE:
        return False
    proven = pin.crc64nvme is not None and pin.crc64nvme == head.crc64nvme
    doubted = not (proven or head.encrypted_by_key) and doubt(status) is not None
    return mode is VerificationMode.READ_BACK or doubted


def contradiction(status: Status, mode: VerificationMode) -> str | None:
    """The doubt that a second reading has not removed: the source itself is not what it says."""
    pin = status.source
    assert pin is not None
    if pin.known_crc64nvme is None or not pin.size:
        return None
    if (
        mode is VerificationMode.NONE
    ):  # What is expected is expected all the same; nothing is read twice for it.
        return doubt(status) if pin.expected_crc64nvme and not pin.crc64nvme else None
    return doubt(status) if _was_read(status) else None


def conclude(status: Status, head: ObjectInfo, mode: VerificationMode) -> Verification:
    """What is proven of the object that ``head`` shows, which is ours."""
    pin = status.source
    assert pin is not None
    if mode is VerificationMode.NONE:
        return Verification(Result.UNVERIFIED, "spec.verification is None")
    if status.server_side:
        return _conclude_both(status, pin, head)
    transfer, source = _transfer_leg(status, head), source_leg(status)
    if transfer is None:
        detail = (
            "the store shows neither a CRC64NVME nor MD5 ETags to compare with what was sent;"
            " spec.verification: ReadBack would read both objects again"
        )
        return Verification(Result.UNVERIFIED, detail, None, source)
    if source is None:
        detail = (
            f"the transfer is proven by {transfer.method}; that the source was received as it is,"
            f" is not: {_why_no_source_leg(status, pin)};"
            f" {_what_would_prove_the_source(pin)}"
        )
        return Verification(Result.TRANSFER_VERIFIED, detail, transfer, None)
    detail = f"the transfer is proven by {transfer.method}, the source by {source.method}"
    return Verification(Result.VERIFIED, detail, transfer, source)


def equality(source: ObjectInfo, destination: ObjectInfo, *, stamped: bool) -> Verification | None:
    """By what the destination is known to hold the source's bytes already; None for unknown.

    Never by size and time. An ETag counts only where it is made of MD5s, so not where a key of KMS
    or the customer encrypts (https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html).
    ``stamped``: the destination's metadata names this source, and that shall do; it proves nothing.
    """
    if source.size != destination.size:
        return None
    if source.crc64nvme and destination.crc64nvme and source.crc64nvme != destination.crc64nvme:
        return None
    plain = not (source.encrypted_by_key or destination.encrypted_by_key or source.validator)
    leg: Leg | None = None
    if source.crc64nvme and source.crc64nvme == destination.crc64nvme:
        leg = Leg(CRC64NVME, source.crc64nvme, "the source's full-object CRC64NVME")
    elif plain and source.etag == destination.etag and ledger.is_md5_etag(source.etag):
        method = COMPOSITE_ETAG if "-" in source.etag else MD5
        leg = Leg(method, source.etag, "the source's ETag")
    if leg:
        return Verification(Result.VERIFIED, f"both objects have the same {leg.method}", leg, leg)
    if stamped:
        detail = "the destination's metadata names this source; the bytes were not compared"
        return Verification(Result.UNVERIFIED, detail)
    return None


def _conclude_both(status: Status, pin: Pin, head: ObjectInfo) -> Verification:
    """Of a server-side copy."""
    leg, crc = None, ledger.object_crc(status)
    composite = ledger.composite_etag(ledger.parts_of(status.batches))
    if status.destination_reading and _was_read(status) and crc:
        leg = Leg(READ_BACK, crc, "both objects, read after the completion")
    elif pin.crc64nvme and head.crc64nvme == pin.crc64nvme:
        leg = Leg(CRC64NVME, pin.crc64nvme, "the source's full-object CRC64NVME")
    elif (
        not head.encrypted_by_key
        and head.etag == composite
        and pin.etag == _comparable_etag(status, pin)
    ):
        leg = Leg(COMPOSITE_ETAG if "-" in pin.etag else MD5, pin.etag, "the source's ETag")
    if leg:
        detail = f"what the store copied is proven by {leg.method}, of both objects"
        return Verification(Result.VERIFIED, detail, leg, leg)
    detail = (
        "the store copied it, and nothing that it tells of the two objects can be compared:"
        f" {_why_no_source_leg(status, pin)};"
        " spec.verification: ReadBack would read both objects again"
    )
    return Verification(Result.UNVERIFIED, detail)


def _transfer_leg(status: Status, head: ObjectInfo) -> Leg | None:
    pin, upload = status.source, status.upload
    assert pin is not None
    if pin.size == 0:
        return _EMPTY_LEG
    crc = ledger.object_crc(status)
    if crc is None:
        return None
    if status.destination_reading is not None:
        return Leg(READ_BACK, crc, "the destination, read after its completion")
    if head.crc64nvme == crc:
        return Leg(CRC64NVME, crc, "the destination's full-object CRC64NVME")
    encrypted = head.encrypted_by_key or (upload is not None and upload.encrypted)
    composite = ledger.composite_etag(ledger.parts_of(status.batches))
    if encrypted or composite is None:
        return None
    if head.etag != composite:
        return None
    if _comparable_etag(status, pin) == pin.etag:
        return Leg(COMPOSITE_ETAG, head.etag, "the MD5s that the source's ETag is made of")
    if upload is not None and upload.md5:
        return Leg(PART_MD5, composite, "the MD5 of each part as it was sent")
    return None


def _was_read(status: Status) -> bool:
    """The whole source, with nothing found wrong."""
    reading, plan = status.source_reading, status.plan
    return bool(
        reading
        and plan
        and not reading.wrong
        and len(ledger.parts_of(status.batches)) == plan.part_count
        and not ledger.unread(plan, reading)
    )


def _comparable_etag(status: Status, pin: Pin) -> str | None:
    """The ETag that the source would have if its bytes are those recorded; None where that cannot be said.

    Its parts must have been our parts, and its ETag be made of MD5s, as one of a URL need not be.
    """
    plan = status.plan
    assert plan is not None
    parts = ledger.parts_of(status.batches)
    if pin.encrypted or pin.validator is not None or not ledger.is_md5_etag(pin.etag):
        return None
    composite = ledger.composite_etag(parts)
    if composite is None:
        return None
    if "-" not in pin.etag:
        return parts[1].etag if plan.part_count == 1 else None
    same_layout = pin.part_size == plan.part_size or (plan.part_count == 1)
    return composite if same_layout and pin.etag.endswith(f"-{plan.part_count}") else None


def _what_would_prove_the_source(pin: Pin) -> str:
    if pin.validator is Validator.SIZE:
        return "its checksum as spec.source.expect.checksum would prove it"
    return "spec.verification: ReadBack would read both objects again"


def _why_no_source_leg(status: Status, pin: Pin) -> str:
    if pin.validator is Validator.SIZE:
        return "its server tells no checksum, and neither an ETag nor a time by which a change would be seen"
    if pin.validator is not None:
        return "the server of a URL tells no checksum of it"
    if pin.encrypted or not ledger.is_md5_etag(pin.etag):
        return "its store tells no checksum of it, and its ETag is no MD5"
    if "-" in pin.etag:
        return "its store tells no checksum of it, and its parts were others than ours"
    return "its store tells no checksum of it, and its MD5 cannot be had from parts"
