"""A store without a disk: objects of zero bytes (0x00), as large as their key says, and uploads that keep
no more of a part than its length. The worker copies them as it copies any object, through real sockets.

The object ``zeros/N``: N bytes. Any other bucket takes uploads with CRC64NVME: a part that is not all zeros has
another checksum, and is refused. Nobody is asked who they are. ``--rate`` is in bytes a second, of each answer.
One process, with no more than the project's image has: it runs in a pod.
"""

import argparse
import hashlib
import re
import ssl
import time
import uuid
from email.utils import formatdate
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from awscrt.checksums import combine_crc64nvme, crc64nvme

from multipartcopy.api.report import encode_crc

BUCKET = "zeros"
BLOCK = 256 << 10
ZEROS = bytes(BLOCK)
PAGE = 1000
_TAIL = 256
"""Bytes at the end of a body in which its trailer is."""
_STARTED = time.time()


class Refused(Exception):  # noqa: N818 - S3's word is an error's code
    """The request: HTTP status, S3's code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class Upload:
    def __init__(self, path: str, headers: dict[str, str]) -> None:
        """``path`` has the bucket in it; ``headers`` are to come back with the object."""
        self.id = uuid.uuid4().hex
        self.path = path
        self.name = path.strip("/").partition("/")[2]
        self.headers = headers
        self.begun = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._lengths: dict[int, int] = {}

    def put(self, number: int, length: int) -> None:
        self._lengths[number] = length

    def parts(self) -> list[tuple[int, int]]:
        """Number and length, ascending. Other threads may be adding to them."""
        return sorted(self._lengths.copy().items())


class Store:
    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.uploads: dict[str, Upload] = {}
        self.objects: dict[str, dict[str, str]] = {}
        """The headers of each, by path."""

    def headers(self, path: str) -> dict[str, str]:
        """Of an object. Raises Refused."""
        bucket, _, key = path.strip("/").partition("/")
        if bucket == BUCKET and key.isdecimal():
            size = int(key)
            return _object_headers(size, f"{size:032x}", encode_crc(crc_of_zeros(size)))
        if path not in self.objects:
            raise Refused(404, "NoSuchKey")
        return self.objects[path]

    def upload(self, upload_id: str) -> Upload:
        if upload_id not in self.uploads:
            raise Refused(404, "NoSuchUpload")
        return self.uploads[upload_id]

    def complete(self, upload: Upload, wanted: list[tuple[int, str]]) -> dict[str, str]:
        """Make the object of the parts that are named by number and ETag."""
        parts = upload.parts()
        stored = [(number, etag_of_zeros(length)) for number, length in parts]
        if wanted != stored:
            raise Refused(400, "InvalidPart")
        size = crc = 0
        for _, length in parts:
            size, crc = size + length, combine_crc64nvme(crc, crc_of_zeros(length), length)
        md5s = b"".join(bytes.fromhex(etag) for _, etag in stored)
        etag = f"{hashlib.md5(md5s, usedforsecurity=False).hexdigest()}-{len(stored)}"
        made = _object_headers(size, etag, encode_crc(crc)) | upload.headers
        self.objects[upload.path] = made
        del self.uploads[upload.id]
        return made


@lru_cache
def crc_of_zeros(length: int) -> int:
    """Put together from halves: nobody waits for the CRC of 50 GB."""
    if length <= BLOCK:
        return int(crc64nvme(ZEROS[:length]))
    half = length // 2
    return int(combine_crc64nvme(crc_of_zeros(half), crc_of_zeros(length - half), length - half))


@lru_cache
def etag_of_zeros(length: int) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for _ in range(length // BLOCK):
        digest.update(ZEROS)
    digest.update(ZEROS[: length % BLOCK])
    return digest.hexdigest()


def _object_headers(size: int, etag: str, crc: str) -> dict[str, str]:
    return {
        "Content-Length": str(size),
        "ETag": f'"{etag}"',
        "Last-Modified": formatdate(_STARTED, usegmt=True),
        "Accept-Ranges": "bytes",
        "x-amz-checksum-crc64nvme": crc,
        "x-amz-checksum-type": "FULL_OBJECT",
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: Store

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:  # a worker that ends says nothing
            self.close_connection = True

    def do_HEAD(self) -> None:
        self._serve()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        url = urlsplit(self.path)
        self._where = unquote(url.path)
        self._query = {k: v[0] for k, v in parse_qs(url.query, keep_blank_values=True).items()}
        try:
            self._route()
        except Refused as refused:
            self.close_connection = True  # what is left of the body is not read
            self._answer(refused.status, f"<Error><Code>{refused.code}</Code></Error>")

    def _route(self) -> None:
        query = self._query
        upload = self.store.upload(query["uploadId"]) if "uploadId" in query else None
        match self.command:
            case "HEAD":
                self._answer(200, headers=self.store.headers(self._where))
            case "GET" if "uploads" in query:
                self._list_uploads(query.get("prefix", ""))
            case "GET" if upload:
                self._list_parts(upload)
            case "GET":
                self._get()
            case "PUT" if upload:
                self._put_part(upload)
            case "POST" if "uploads" in query:
                self._create()
            case "POST" if upload:
                self._complete(upload)
            case "DELETE":
                self.store.uploads.pop(query.get("uploadId", ""), None)
                self.store.objects.pop(self._where if not upload else "", None)
                self._answer(204)
            case _:
                raise Refused(501, "NotImplemented")

    def _get(self) -> None:
        """A range of zeros, paced; a sleep that was too long is made up for by the next."""
        headers = dict(self.store.headers(self._where))
        size = int(headers["Content-Length"])
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = map(int, asked.groups()) if asked else (0, size - 1)
        if not first <= last < size:
            raise Refused(416, "InvalidRange")
        length = headers["Content-Length"] = str(last - first + 1)
        if asked:
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        self._head(206 if asked else 200, headers)
        start, left = time.monotonic(), int(length)
        while left:
            piece = ZEROS[:left]
            self.wfile.write(piece)
            left -= len(piece)
            due = start + (int(length) - left) / self.store.rate
            time.sleep(max(0, due - time.monotonic()))

    def _put_part(self, upload: Upload) -> None:
        sent = int(self.headers["Content-Length"])
        length = int(self.headers.get("x-amz-decoded-content-length", sent))
        self._swallow(max(0, sent - _TAIL))
        tail = self.rfile.read(min(sent, _TAIL))
        crc = encode_crc(crc_of_zeros(length))
        found = re.search(rb"x-amz-checksum-crc64nvme:(\S+)", tail)
        if not found or found[1].decode() != crc:
            raise Refused(400, "BadDigest")
        upload.put(int(self._query["partNumber"]), length)
        etag = etag_of_zeros(length)
        self._answer(200, headers={"ETag": f'"{etag}"', "x-amz-checksum-crc64nvme": crc})

    def _swallow(self, length: int) -> None:
        buffer = memoryview(bytearray(min(length, 1 << 20)))
        while length:
            got = self.rfile.readinto(buffer[:length])
            if not got:
                raise ConnectionResetError
            length -= got

    def _create(self) -> None:
        kept = {k: v for k, v in self.headers.items() if k.lower().startswith("x-amz-meta-")}
        upload = Upload(self._where, kept)
        self.store.uploads[upload.id] = upload
        checksum = {
            "x-amz-checksum-algorithm": "CRC64NVME",
            "x-amz-checksum-type": "FULL_OBJECT",
        }
        self._answer(
            200,
            f"<InitiateMultipartUploadResult><UploadId>{upload.id}</UploadId>"
            "</InitiateMultipartUploadResult>",
            checksum,
        )

    def _list_uploads(self, prefix: str) -> None:
        uploads = [u for u in self.store.uploads.copy().values() if u.name.startswith(prefix)]
        entries = "".join(
            f"<Upload><Key>{upload.name}</Key><UploadId>{upload.id}</UploadId>"
            f"<Initiated>{upload.begun}</Initiated></Upload>"
            for upload in uploads
        )
        self._answer(200, f"<ListMultipartUploadsResult>{entries}</ListMultipartUploadsResult>")

    def _list_parts(self, upload: Upload) -> None:
        marker = int(self._query.get("part-number-marker", 0))
        most = min(PAGE, int(self._query.get("max-parts", PAGE)))
        after = [part for part in upload.parts() if part[0] > marker]
        page = after[:most]
        entries = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag_of_zeros(length)}&quot;</ETag>"
            f"<Size>{length}</Size>"
            f"<ChecksumCRC64NVME>{encode_crc(crc_of_zeros(length))}</ChecksumCRC64NVME></Part>"
            for number, length in page
        )
        more = "true" if len(after) > most else "false"
        last = page[-1][0] if page else marker
        self._answer(
            200,
            f"<ListPartsResult><IsTruncated>{more}</IsTruncated>"
            f"<NextPartNumberMarker>{last}</NextPartNumberMarker>"
            f"<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>{entries}</ListPartsResult>",
        )

    def _complete(self, upload: Upload) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        named = re.findall(r"<Part>(.*?)</Part>", body, re.DOTALL)
        headers = self.store.complete(upload, [_named(part) for part in named])
        etag, crc = headers["ETag"].strip('"'), headers["x-amz-checksum-crc64nvme"]
        self._answer(
            200,
            f"<CompleteMultipartUploadResult><ETag>&quot;{etag}&quot;</ETag>"
            f"<ChecksumCRC64NVME>{crc}</ChecksumCRC64NVME></CompleteMultipartUploadResult>",
        )

    def _answer(self, status: int, body: str = "", headers: dict[str, str] | None = None) -> None:
        """``headers`` with a length of their own are those of an object, to a HEAD."""
        length = {} if status == 204 else {"Content-Length": str(len(body))}
        self._head(status, {**length, **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(body.encode())

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _named(part: str) -> tuple[int, str]:
    """Number and ETag of a part as a completion names it."""
    number = re.search(r"<PartNumber>(\d+)</PartNumber>", part)
    etag = re.search(r"<ETag>(?:&quot;|\"|&#34;)?([0-9a-f]+)", part)
    if not number or not etag:
        raise Refused(400, "MalformedXML")
    return int(number[1]), etag[1]


def serve(address: str, port: int, rate: float) -> ThreadingHTTPServer:
    """Listening; the caller lets it serve."""

    class Bound(Handler):
        store = Store(rate)

    server = ThreadingHTTPServer((address, port), Bound)
    server.daemon_threads = True
    return server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=7070)
    parser.add_argument("--rate", type=float, required=True, help="bytes a second of each answer")
    parser.add_argument(
        "--certificate", help="speak TLS with this one, and the key in the same file"
    )
    options = parser.parse_args()
    server = serve("0.0.0.0", options.port, options.rate)  # noqa: S104 - in a pod
    if options.certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.certificate)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    server.serve_forever()


if __name__ == "__main__":
    main()
