"""A body with a trailing checksum: ``aws-chunked``, its chunks unsigned.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
"""

from multipartcopy.api.report import encode_crc

CHUNK = 1 << 20
"""Bytes of payload a chunk. AWS wants 8 KiB or more but in the last one, MinIO at most 16 MiB."""
HEAD = 16
"""Bytes that a chunk's head takes at most."""
CRC_HEADER = "x-amz-checksum-crc64nvme"


def head(length: int, *, first: bool) -> bytes:
    """What goes before a chunk of ``length`` bytes, the end of the chunk before it included."""
    return b"%s%x\r\n" % (b"" if first else b"\r\n", length)


def tail(crc: int) -> bytes:
    """What goes after the last chunk."""
    return f"\r\n0\r\n{CRC_HEADER}:{encode_crc(crc)}\r\n\r\n".encode()


def encoded_length(length: int) -> int:
    """Bytes on the wire for ``length`` > 0 payload bytes."""
    full, rest = divmod(length, CHUNK)
    chunks = [CHUNK] * full + ([rest] if rest else [])
    heads = sum(len(head(n, first=i == 0)) for i, n in enumerate(chunks))
    return heads + length + len(tail(0))
