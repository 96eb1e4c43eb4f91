"""Pure: whether the source is what ``spec.source.expect`` says, as far as its store tells; the bytes tell the rest."""

from multipartcopy.api.report import encode_crc
from multipartcopy.api.spec import Expected
from multipartcopy.api.status import Pin
from multipartcopy.s3.control import ObjectInfo

_EMPTY = encode_crc(0)


def unmet(expect: Expected | None, pin: Pin) -> str | None:
    """What of the pin is otherwise than expected: a sentence, or None."""
    if expect is None:
        return None
    if expect.size is not None and expect.size != pin.size:
        return _sentence("size", f"{expect.size} bytes", f"{pin.size} bytes")
    if expect.etag is not None and expect.etag != pin.etag:
        return _sentence("etag", expect.etag, pin.etag or "none")
    told = pin.crc64nvme if pin.size else _EMPTY
    wanted = pin.expected_crc64nvme
    if wanted and told and wanted != told:
        return _sentence("checksum", f"CRC64NVME {wanted}", told)
    return None


def checksum(expect: Expected | None) -> str | None:
    """The CRC64NVME of the full object that is expected, as S3 writes it."""
    return expect.checksum.value if expect and expect.checksum else None


def is_open(pin: Pin) -> bool:
    """Whether only the bytes themselves can tell if the source has the checksum that is expected."""
    return bool(pin.size and pin.expected_crc64nvme and not pin.crc64nvme)


def is_met_by(pin: Pin, destination: ObjectInfo) -> bool:
    """Whether an object that is known to be equal to the source shows that the source is as expected."""
    return not is_open(pin) or destination.crc64nvme == pin.expected_crc64nvme


def _sentence(field: str, wanted: str, found: str) -> str:
    return f"spec.source.expect.{field} is {wanted}, the source has {found}"
