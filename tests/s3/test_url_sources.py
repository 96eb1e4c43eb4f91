"""From URLs, by whole copies: of real stores that have signed them, of a real server without ranges, and of one
that shows every validator and breaks where it is told to.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from awscrt.checksums import crc64nvme
from botocore.config import Config

from dev.servers import ACCESS_KEY, SECRET_KEY, Server, certificate
from multipartcopy.api.location import HttpLocation, Reference
from multipartcopy.api.names import PROXY_VARIABLES
from multipartcopy.api.reasons import Reason
from multipartcopy.api.report import encode_crc
from multipartcopy.api.task import Read, UrlSource, Validator
from multipartcopy.s3.control import Access
from multipartcopy.s3.web import Site
from tests.forward_proxy import forward_proxy
from tests.s3.copying import PART, SIZE, Copy, MiB, Pair, copying, pair
from tests.s3.local_cluster import shortened
from tests.s3.test_worker_copies import prepare
from tests.web_server import File, WebServer, serving

__all__ = ["prepare"]

GET_PART_2 = {"match": "^GET ", "header": rf"^Range: bytes={PART}-"}
NOW, LATER = "Fri, 02 Jan 2026 03:04:05 GMT", "Sat, 03 Jan 2026 03:04:05 GMT"
STRONG: dict[str, Any] = {"etag": '"v1"'}
WEAK: dict[str, Any] = {"etag": 'W/"v1"'}
DATED: dict[str, Any] = {"etag": None}
NOTHING: dict[str, Any] = {"etag": None, "modified": None}


@pytest.fixture(scope="module", params=["versitygw", "minio"])
def between(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with pair(request.getfixturevalue(request.param)) as made, shortened():
        yield made


@pytest.fixture
def copy(between: Pair, tmp_path: Path) -> Iterator[Copy]:
    with copying(between, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def at_minio(minio: Server) -> Iterator[Pair]:
    with pair(minio) as made, shortened():
        yield made


@pytest.fixture
def one(at_minio: Pair, tmp_path: Path) -> Iterator[Copy]:
    """Where the source is what matters, one destination will do."""
    with copying(at_minio, tmp_path) as made:
        yield made


@pytest.fixture
def web(one: Copy) -> Iterator[WebServer]:
    with serving(File(one.data)) as server:
        yield server


def start(copy: Copy, url: str, *, expect: Any = None, **spec: Any) -> None:
    """``http`` in ``spec`` is of the source."""
    source = {"http": {"url": url, **spec.pop("http", {})}}
    copy.start(source=source | ({"expect": expect} if expect else {}), **spec)


def signed(copy: Copy) -> str:
    """By way of the source's proxy."""
    client = boto3.client(
        "s3",
        endpoint_url=copy.pair.source.endpoint,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    target = {"Bucket": copy.bucket, "Key": copy.source_key}
    return str(client.generate_presigned_url("get_object", Params=target))


def is_copied(copy: Copy, data: bytes | None = None) -> dict[str, Any]:
    """Its verification."""
    assert copy.end() == Reason.COPIED, copy.message
    assert copy.stored() == (copy.data if data is None else data)
    assert copy.uploads() == []
    return dict(copy.status["verification"])


def has_failed(copy: Copy, reason: Reason) -> None:
    assert copy.end() == reason, copy.message
    assert copy.status["phase"] == "Failed"
    assert copy.stored() is None
    assert copy.uploads() == []


def everything_said(copy: Copy) -> str:
    return json.dumps([copy.status, copy.cluster.events])


def checksum(data: bytes) -> dict[str, Any]:
    return {"checksum": {"algorithm": "CRC64NVME", "value": encode_crc(crc64nvme(data))}}


# URLs that real stores have signed.


@pytest.mark.parametrize(
    ("verification", "result"), [("Auto", "TransferVerified"), ("ReadBack", "Verified")]
)
def test_a_signed_url(copy: Copy, verification: str, result: str) -> None:
    url = signed(copy)
    start(copy, url, verification=verification)
    assert is_copied(copy)["result"] == result
    status = copy.status
    assert (status["mode"], status["source"]["validator"]) == ("Relay", "ETag")
    gets = copy.pair.source.log("^GET ")
    readings = 2 if verification == "ReadBack" else 1
    assert len(gets) == 2 + 4 * readings  # the looks, and the parts
    assert all(entry["status"] == 206 for entry in gets)
    signature = re.search("Signature=([0-9a-f]+)", url)
    assert signature
    assert signature[1] not in everything_said(copy)


def test_a_signed_url_whose_object_changes(copy: Copy) -> None:
    copy.pair.source.hold(GET_PART_2["match"], header=GET_PART_2["header"], times=1)
    start(copy, signed(copy))
    copy.pair.source.wait_held()
    copy.put("from", b"x" * SIZE)
    copy.pair.source.open()
    has_failed(copy, Reason.SOURCE_CHANGED)


def test_a_signature_that_is_wrong(copy: Copy) -> None:
    url = signed(copy)
    start(copy, url[:-1] + ("0" if url[-1] != "0" else "1"))
    copy.until_told("AccessDenied")
    has_failed(copy, Reason.ACCESS_DENIED)


@pytest.mark.parametrize("data", [b"", b"x", b"x" * PART], ids=["0", "1", "a part"])
def test_a_small_one(copy: Copy, data: bytes) -> None:
    copy.put("from", data)
    start(copy, signed(copy))
    proven = is_copied(copy, data)["result"]
    assert proven == ("TransferVerified" if data else "Verified")


def test_what_is_expected_proves_it(copy: Copy) -> None:
    start(copy, signed(copy), expect={"size": SIZE, **checksum(copy.data)})
    proven = is_copied(copy)
    assert proven["result"] == "Verified"
    assert proven["source"]["comparedWith"] == "spec.source.expect.checksum"


@pytest.mark.parametrize("verification", ["Auto", "None"])
def test_other_bytes_than_expected_are_never_visible(copy: Copy, verification: str) -> None:
    start(copy, signed(copy), expect=checksum(b"other"), verification=verification)
    has_failed(copy, Reason.SOURCE_UNEXPECTED)


def test_another_size_than_expected_is_never_begun(copy: Copy) -> None:
    start(copy, signed(copy), expect={"size": 1})
    has_failed(copy, Reason.SOURCE_UNEXPECTED)
    assert copy.pair.destination.log(r"^POST .*\?uploads") == []


# An object whose store tells no CRC64NVME, with one that is expected.


def test_an_object_is_proven_by_what_is_expected(copy: Copy) -> None:
    source = copy.pair.source.endpoint
    place = {"bucket": copy.bucket, "key": "from", "endpoint": source, "secretRef": {"name": "s3"}}
    copy.start(source={"s3": place, "expect": checksum(copy.data)})
    assert is_copied(copy)["source"]["method"] == "CRC64NVME"


# Every validator, with ranges and without.


@pytest.mark.parametrize("ranges", [True, False], ids=["Relay", "Serial"])
@pytest.mark.parametrize(
    ("file", "validator"),
    [(STRONG, "ETag"), (WEAK, "WeakETag"), (DATED, "LastModified"), (NOTHING, "Size")],
)
@pytest.mark.parametrize("verification", ["Auto", "ReadBack"])
def test_no_more_is_claimed_than_the_server_lets_be_seen(
    one: Copy, web: WebServer, file: Any, validator: str, ranges: bool, verification: str
) -> None:
    web.file = File(one.data, ranges=ranges, **file)
    start(one, web.url, verification=verification)
    proven = is_copied(one)
    read_back = verification == "ReadBack" and validator != "Size"
    assert proven["result"] == ("Verified" if read_back else "TransferVerified")
    status = one.status
    assert status["source"]["validator"] == validator
    assert status["mode"] == ("Relay" if ranges else "Serial")
    assert len(web.ranges()) == (4 if ranges else 1) * (2 if verification == "ReadBack" else 1)
    assert "s3cr3t" not in everything_said(one)


@pytest.mark.parametrize("ranges", [True, False], ids=["Relay", "Serial"])
@pytest.mark.parametrize(
    ("file", "later"),
    [
        (STRONG, {"etag": '"v2"'}),
        (STRONG, {"etag": 'W/"v1"'}),
        (WEAK, {"etag": 'W/"v2"', "modified": LATER}),
        (WEAK, {"etag": 'W/"v2"'}),
        (DATED, {"etag": None, "modified": LATER}),
        (DATED, {"etag": None, "modified": "Thu, 01 Jan 2026 03:04:05 GMT"}),
        (NOTHING, {"etag": None, "modified": None, "shorter": True}),
    ],
)
def test_a_change_is_seen_in_the_middle(
    one: Copy, web: WebServer, file: Any, later: Any, ranges: bool
) -> None:
    """Behind the proxy's back: what has come by then is of another version."""
    web.file = File(one.data, ranges=ranges, **file)
    web.breaks = [PART + MiB, MiB, MiB, MiB] if not ranges else []
    one.pair.destination.hold(r"^PUT .*[?&]partNumber=[12]&", times=1)
    start(one, web.url, parallelism=1, worker={"streams": 1})
    one.pair.destination.wait_held()
    shorter = later.get("shorter", False)
    fields = {name: value for name, value in later.items() if name != "shorter"}
    web.file = File(one.data[: -1 if shorter else None], ranges=ranges, **fields)
    one.pair.destination.open()
    has_failed(one, Reason.SOURCE_CHANGED)


def test_a_change_that_cannot_be_seen_is_not_said_to_be_none(one: Copy, web: WebServer) -> None:
    """The same size, and nothing else to go by: what was read again is then sent again, and not called proven."""
    web.file = File(one.data, **NOTHING)
    one.pair.destination.hold(r"^PUT .*[?&]partNumber=4&", times=1)
    start(one, web.url, verification="ReadBack")
    one.pair.destination.wait_held()
    other = random.Random(2).randbytes(SIZE)
    web.file = File(other, **NOTHING)
    one.pair.destination.open()
    assert is_copied(one, other)["result"] == "TransferVerified"


# In one stream.


@pytest.fixture
def plain_server(tmp_path: Path, one: Copy) -> Iterator[str]:
    """Python's own, which serves no ranges and speaks HTTP/1.0: a URL."""
    home = tmp_path / "served"
    home.mkdir()
    (home / "file").write_bytes(one.data)
    os.utime(home / "file", (1_000_000_000, 1_000_000_000))
    (home / "directory").mkdir()
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    process = subprocess.Popen(
        command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout
        port = re.search(r"port (\d+)", process.stdout.readline())
        assert port
        yield f"http://127.0.0.1:{port[1]}/file"
    finally:
        process.terminate()
        process.communicate(timeout=10)


@pytest.mark.parametrize("verification", ["Auto", "PartMD5", "ReadBack", "None"])
def test_a_server_without_ranges(one: Copy, plain_server: str, verification: str) -> None:
    start(one, plain_server, verification=verification)
    proven = is_copied(one)["result"]
    assert proven == {"ReadBack": "Verified", "None": "Unverified"}.get(
        verification, "TransferVerified"
    )
    status = one.status
    assert (status["mode"], status["source"]["validator"]) == ("Serial", "LastModified")
    assert status["plan"]["batchCount"] == 1
    assert one.sent_again() == 0


def test_a_server_without_ranges_whose_file_is_written_to(
    one: Copy, plain_server: str, tmp_path: Path
) -> None:
    # The last two: after some tries a worker leaves one to its successor, and goes on with the next.
    one.pair.destination.rule(r"^PUT .*[?&]partNumber=[34]&", {"kind": "reset", "at": "request"})
    start(one, plain_server)
    one.until(lambda: one.uploads() and one.parts() == [1, 2])
    (tmp_path / "served/file").write_bytes(b"x" * SIZE)
    one.pair.destination.open()
    has_failed(one, Reason.SOURCE_CHANGED)


def test_a_worker_that_is_killed_sends_nothing_again_that_is_stored(
    one: Copy, web: WebServer
) -> None:
    web.file = File(one.data, ranges=False)
    one.pair.destination.hold(r"^PUT .*[?&]partNumber=3&", times=1)
    start(one, web.url)
    one.pair.destination.wait_held()
    one.until(lambda: one.parts() == [1, 2])
    (pod,) = one.cluster.running()
    pod.process.send_signal(signal.SIGKILL)
    is_copied(one)
    one.pair.destination.release("drop")
    assert len(web.ranges()) == 2
    assert one.sent_again() <= PART


@pytest.mark.parametrize("verification", ["Auto", "PartMD5"])
def test_an_answer_that_breaks_again_and_again(
    one: Copy, web: WebServer, verification: str
) -> None:
    web.file = File(one.data, ranges=False)
    web.breaks = [0, PART, 2 * PART - 1, 3 * PART + MiB]
    start(one, web.url, verification=verification)
    is_copied(one)
    assert web.breaks == []
    assert len(web.ranges()) == 5
    assert one.sent_again() <= 2 * PART


def test_an_operator_that_is_killed_meanwhile(one: Copy, web: WebServer) -> None:
    web.file = File(one.data, ranges=False)
    one.pair.destination.hold(r"^PUT .*[?&]partNumber=3&", times=1)
    start(one, web.url)
    one.pair.destination.wait_held()
    one.restart()
    one.pair.destination.open()
    is_copied(one)
    assert (len(web.ranges()), one.sent_again()) == (1, 0)


@pytest.mark.parametrize("ranges", [True, False], ids=["Relay", "Serial"])
def test_memory_does_not_grow_with_the_part(
    prepare: Any, minio: Server, ranges: bool, tmp_path: Path
) -> None:
    copy = prepare(minio, minio, size=128 * MiB, part_size=64 * MiB, streams=1)
    body = minio.client().get_object(Bucket=copy.task.source.bucket, Key=copy.task.source.key)
    data = body["Body"].read()
    with serving(File(data, ranges=ranges)) as web:
        url = UrlSource(HttpLocation(web.url), Validator.ETAG, ranges=ranges)
        copy.task = replace(copy.task, source=None, url=url, source_etag="v1")
        assert copy.run()[0] == 0
        sent = copy.report()
        assert 20 * MiB < sent.peak_rss < 48 * MiB
        copy.report_file.unlink()
        copy.task = replace(copy.task, read=Read.SOURCE, read_etag="v1")
        assert copy.run()[0] == 0
        read = copy.report()
    assert read.crc64nvme == sent.crc64nvme
    assert 20 * MiB < read.peak_rss < 48 * MiB


# The way in, and what is refused.


def test_headers_of_a_secret(one: Copy, web: WebServer) -> None:
    web.required = {"Authorization": "Bearer abc", "X-Tenant": "a b"}
    start(one, web.url, http={"headersSecretRef": {"name": "h"}})
    one.until_told("SecretNotFound")
    one.cluster.secrets["h"] = {"Authorization": "Bearer abc\n", "Host": "evil"}
    one.until_told("SecretInvalid")
    one.cluster.secrets["h"] = {"Authorization": "Bearer abc\n", "X-Tenant": "a b"}
    is_copied(one)
    assert "abc" not in everything_said(one)


def test_headers_that_let_nobody_in(one: Copy, web: WebServer) -> None:
    web.required = {"Authorization": "Bearer abc"}
    start(one, web.url)
    one.until_told("AccessDenied")
    has_failed(one, Reason.ACCESS_DENIED)


def test_https_with_an_authority_of_its_own(one: Copy, tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    ca = certificate(tmp_path / "tls")
    one.cluster.secrets["ca"] = {"ca.crt": ca.read_text()}
    with serving(File(one.data), ca) as web:
        start(one, web.url, http={"caSecretRef": {"name": "ca"}})
        is_copied(one)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Content-Encoding": "gzip"}, "it comes with Content-Encoding gzip"),
        ({"Transfer-Encoding": "chunked"}, "without a known size it cannot be copied"),
    ],
)
@pytest.mark.parametrize("ranges", [True, False], ids=["Relay", "Serial"])
def test_what_cannot_be_copied(
    one: Copy, web: WebServer, headers: dict[str, str], words: str, ranges: bool
) -> None:
    web.file = File(one.data, ranges=ranges, headers=headers)
    start(one, web.url)
    has_failed(one, Reason.REQUEST_REFUSED)
    assert words in one.message


def test_a_file_that_is_not_there(one: Copy, plain_server: str) -> None:
    start(one, f"{plain_server}.not")
    has_failed(one, Reason.SOURCE_NOT_FOUND)


def test_a_redirect(one: Copy, plain_server: str) -> None:
    """Python's server redirects a directory to its name with a slash."""
    start(one, plain_server.replace("/file", "/directory?s3cr3t"))
    has_failed(one, Reason.REQUEST_REFUSED)
    assert "a redirect to /directory/, which is not followed" in one.message
    assert "s3cr3t" not in everything_said(one)


def test_a_server_that_is_away_for_a_while(one: Copy) -> None:
    one.pair.source.down()
    start(one, signed(one))
    one.until_told("SourceUnavailable")
    one.pair.source.up()
    is_copied(one)


# Proxies.


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("around", [False, True])
def test_the_operator_goes_the_same_way_as_to_a_store(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tls: bool, around: bool
) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    ca = certificate(tmp_path) if tls else None
    with serving(File(b"abc"), ca) as web, forward_proxy() as way:
        monkeypatch.setenv("HTTPS_PROXY" if tls else "HTTP_PROXY", f"http://{way.authority}")
        if around:
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        site = Site(HttpLocation(web.url), Access(ca=ca.read_text() if ca else None))
        assert site.look().size == 3
        assert bool(way.requests) is not around


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_a_worker_goes_the_same_way(prepare: Any, minio: Server, tmp_path: Path, tls: bool) -> None:
    copy = prepare(minio, minio, size=6 * MiB)
    target = copy.task.source
    data = minio.client().get_object(Bucket=target.bucket, Key=target.key)["Body"].read()
    ca = certificate(tmp_path) if tls else None
    if ca:
        home = copy.directory / "secrets/source-ca"
        home.mkdir()
        (home / "ca.crt").write_text(ca.read_text())
    with serving(File(data), ca) as web, forward_proxy() as way:
        url = UrlSource(HttpLocation(web.url), Validator.ETAG)
        copy.task = replace(copy.task, source=None, url=url, source_etag="v1")
        copy.environment = {f"{'HTTPS' if tls else 'HTTP'}_PROXY": f"http://{way.authority}"}
        assert copy.run()[0] == 0
        authority = web.url.split("/")[2]
    wanted = f"CONNECT {authority} " if tls else f"GET http://{authority}/a%20file?"
    assert any(line.startswith(wanted) for line in way.requests)
    copy.complete()
    assert copy.stored_sha256() == copy.sha256


def test_the_names_of_a_secrets_headers_reach_a_worker(prepare: Any, minio: Server) -> None:
    copy = prepare(minio, minio, size=6 * MiB)
    home = copy.directory / "secrets/source"
    for file in home.iterdir():
        file.unlink()
    (home / "Authorization").write_text("Bearer abc\n")
    data = random.Random(6 * MiB).randbytes(6 * MiB)
    with serving(File(data)) as web:
        web.required = {"Authorization": "Bearer abc"}
        location = HttpLocation(web.url, Reference("h"))
        url = UrlSource(location, Validator.ETAG)
        copy.task = replace(copy.task, source=None, url=url, source_etag="v1")
        assert copy.run()[0] == 0
