from hypothesis import given
from hypothesis import strategies as st

from multipartcopy.api.report import decode_crc, encode_crc
from multipartcopy.worker import framing

MiB = 1 << 20


def framed(length: int) -> list[bytes | int]:
    """What is written for a part: bytes, or the length of a piece of payload."""
    written: list[bytes | int] = []
    for start in range(0, length, framing.CHUNK):
        chunk = min(framing.CHUNK, length - start)
        written += [framing.head(chunk, first=start == 0), chunk]
    return [*written, framing.tail(7)]


@given(
    st.integers(1, 3 * MiB)
    | st.integers(5 * 1024 * MiB - 3, 5 * 1024 * MiB)
    | st.integers(1, 70).map(lambda chunks: chunks * MiB)
)
def test_encoded_length_is_what_is_written(length: int) -> None:
    written = sum(item if isinstance(item, int) else len(item) for item in framed(length))
    assert framing.encoded_length(length) == written


def test_two_chunks_on_the_wire() -> None:
    assert framed(framing.CHUNK + 16) == [
        b"100000\r\n",
        1 << 20,
        b"\r\n10\r\n",
        16,
        b"\r\n0\r\nx-amz-checksum-crc64nvme:AAAAAAAAAAc=\r\n\r\n",
    ]


@given(st.integers(0, 2**64 - 1))
def test_crc_there_and_back(crc: int) -> None:
    assert decode_crc(encode_crc(crc)) == crc
