"""Whether the destination understands the checksum that follows each part as a trailer.

A store that does says so in its answer, or lists it. Others refuse such a part, drop the checksum, or
take the framing around the chunks for content.
"""

import threading

from multipartcopy.api.reasons import Reason
from multipartcopy.api.report import encode_crc
from multipartcopy.worker.answers import Part, check_crc
from multipartcopy.worker.errors import UNAVAILABLE, Failure, Side
from multipartcopy.worker.http import Connection
from multipartcopy.worker.listing import list_parts

_SIDE = Side.DESTINATION


class Trailers:
    """What the streams of a pod have learnt of it: a store that answers without the checksum is asked once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._understood = False

    def check(self, connection: Connection, upload_id: str, part: Part, crc: int) -> None:
        """Raises Failure unless this part, or one before it, is listed with length and CRC64NVME."""
        with self._lock:
            if not self._understood:
                _check_listed(connection, upload_id, part, crc)
                self._understood = True


def _check_listed(connection: Connection, upload_id: str, part: Part, crc: int) -> None:
    for stored in list_parts(connection, upload_id, part.number, part.number):
        if stored.size != part.length:
            raise refused(f"{part.length} bytes were sent, {stored.size} are listed")
        if stored.crc is None:
            raise refused("the part is listed without it")
        check_crc(encode_crc(stored.crc), crc)
        return
    message = f"{_SIDE}: a part was answered as stored, but it is not listed"
    raise Failure(UNAVAILABLE[_SIDE], message)


def refused(how: str) -> Failure:
    message = f"{_SIDE}: it does not take the checksum of a part as a trailer: {how}"
    return Failure(Reason.CHECKSUM_REFUSED, message, permanent=True)
