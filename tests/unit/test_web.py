"""What the operator sees at a URL; the server is a script."""

import socket
from contextlib import suppress

import pytest

from multipartcopy.api.location import HttpLocation, public_url
from multipartcopy.api.reasons import Reason
from multipartcopy.api.task import Validator
from multipartcopy.s3 import headers
from multipartcopy.s3.control import Access
from multipartcopy.s3.errors import S3Error
from multipartcopy.s3.validators import Version, read_version
from multipartcopy.s3.web import Site
from tests.unit.worker.conftest import script, tls_script
from tests.unit.worker.scripted import Script

__all__ = ["script", "tls_script"]

TIME, STAMP = "Fri, 02 Jan 2026 03:04:05 GMT", "2026-01-02T03:04:05Z"
RANGE = {"Content-Range": "bytes 0-0/1000", "Content-Length": "1"}
STRONG = Version(Validator.ETAG, "v1", STAMP)
WEAK = Version(Validator.WEAK_ETAG, "v1", STAMP)
DATED = Version(Validator.LAST_MODIFIED, "", STAMP)
NOTHING = Version(Validator.SIZE)


def site(script: Script, *, query: str = "", **access: object) -> Site:
    scheme = "https" if script.ca else "http"
    url = f"{scheme}://127.0.0.1:{script.server_port}/a%20file{query}"
    return Site(HttpLocation(url), Access(**access))  # type: ignore[arg-type]


def says(status: int, fields: dict[str, str], body: bytes = b"x"):
    def answer(handler) -> None:
        with suppress(OSError):  # The operator hangs up on what it does not read.
            handler.answer(status, fields, body)
        handler.close_connection = True

    return answer


@pytest.mark.parametrize(
    ("status", "fields", "size", "validator", "ranges"),
    [
        (206, {**RANGE, "ETag": '"v1"', "Last-Modified": TIME}, 1000, "ETag", True),
        (206, {**RANGE, "ETag": 'W/"v1"', "Last-Modified": TIME}, 1000, "WeakETag", True),
        (206, {**RANGE, "Last-Modified": TIME}, 1000, "LastModified", True),
        (206, RANGE, 1000, "Size", True),
        (206, {**RANGE, "ETag": "v1"}, 1000, "Size", True),
        (206, {**RANGE, "Content-Encoding": "identity"}, 1000, "Size", True),
        (206, {**RANGE, "Content-Range": "bytes 0-0/1"}, 1, "Size", True),
        (200, {"Content-Length": "1000", "ETag": '"v1"'}, 1000, "ETag", False),
        (200, {"Content-Length": "1000", "Accept-Ranges": "bytes"}, 1000, "Size", False),
        (200, {"Content-Length": "0", "ETag": '"v1"'}, 0, "ETag", False),
    ],
)
def test_what_is_there(script: Script, status, fields, size, validator, ranges):
    script.gets = [says(status, fields)]
    found = site(script).look()
    assert (found.size, found.validator, found.ranges) == (size, validator, ranges)
    assert found.etag == ("v1" if "ETag" in validator else "")
    assert found.last_modified == (STAMP if "Last-Modified" in fields else None)
    assert not found.crc64nvme


def test_where_there_is_no_first_byte_the_whole_is_asked_for(script: Script):
    """And what it is pinned by is told, which need not be beside a 416."""
    script.gets = [says(416, {}), says(200, {"Content-Length": "0", "ETag": '"v1"'}, b"")]
    found = site(script).look()
    assert (found.size, found.etag, found.validator) == (0, "v1", "ETag")
    assert [request.headers.get("Range") for request in script.requests] == ["bytes=0-0", None]


def test_the_request(script: Script):
    script.gets = [says(206, RANGE)]
    own = (("Authorization", "Bearer abc"), ("X-Tenant", "a b"))
    site(script, query="?a=b%2Fc", headers=own).look()
    (request,) = script.requests
    assert request.command == "GET"
    assert request.path == "/a%20file?a=b%2Fc"
    assert request.headers["Range"] == "bytes=0-0"
    assert request.headers["Accept-Encoding"] == "identity"
    assert request.headers["User-Agent"] == "multipartcopy"
    assert request.headers["Authorization"] == "Bearer abc"
    assert request.headers["X-Tenant"] == "a b"
    assert not {"If-Match", "If-Range", "If-Unmodified-Since"} & set(request.headers)


def test_what_a_copy_keeps(script: Script):
    kept = {
        "Content-Type": "application/x-grib",
        "Cache-Control": "no-cache",
        "Content-Disposition": "attachment",
        "Content-Language": "en",
    }
    script.gets = [says(206, {**RANGE, **kept, "Server": "s", "Set-Cookie": "c"})]
    assert site(script).look().headers == {
        name.replace("-", ""): value for name, value in kept.items()
    }


def test_a_url_of_https_is_believed_by_its_own_authority(tls_script: Script):
    tls_script.gets = [says(206, RANGE)] * 2
    assert tls_script.ca
    assert site(tls_script, ca=tls_script.ca.read_text()).look().size == 1000
    with pytest.raises(S3Error) as caught:
        site(tls_script).look()
    assert caught.value.reason is Reason.SOURCE_UNAVAILABLE
    assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "fields", "reason", "words"),
    [
        (301, {"Location": "https://other/b?key=k"}, "RequestRefused", "to https://other/b, which"),
        (302, {}, "RequestRefused", "a redirect to nowhere, which is not followed"),
        (200, {"Transfer-Encoding": "chunked"}, "RequestRefused", "tells no Content-Length"),
        (206, {"Content-Range": "bytes 0-0/*"}, "RequestRefused", "without a known size"),
        (206, {"Content-Range": "bytes 0-1/5"}, "RequestRefused", "'bytes 0-1/5'"),
        (206, {"Content-Type": "multipart/byteranges"}, "RequestRefused", "Content-Range ''"),
        (206, {**RANGE, "Transfer-Encoding": "chunked"}, "RequestRefused", "known size"),
        (206, {**RANGE, "Content-Encoding": "gzip"}, "RequestRefused", "Content-Encoding gzip"),
        (204, {}, "RequestRefused", "No Content"),
        (400, {}, "RequestRefused", "400: Bad Request"),
        (401, {}, "AccessDenied", "401"),
        (403, {}, "AccessDenied", "403"),
        (404, {}, "SourceNotFound", "404"),
        (410, {}, "SourceNotFound", "410"),
        (407, {}, "SourceUnavailable", "407"),
        (416, {"Content-Range": "bytes */0"}, "RequestRefused", "416"),
        (429, {}, "SourceUnavailable", "429"),
        (500, {}, "SourceUnavailable", "500"),
        (501, {}, "RequestRefused", "501"),
        (503, {}, "SourceUnavailable", "503"),
        (599, {}, "SourceUnavailable", "599"),
    ],
)
def test_what_cannot_be_copied(script: Script, status, fields, reason, words):
    script.gets = [says(status, fields)] * 2
    with pytest.raises(S3Error) as caught:
        site(script).look()
    assert caught.value.reason == reason
    assert words in str(caught.value)
    assert "key=k" not in str(caught.value)


@pytest.mark.parametrize(
    ("version", "sent"),
    [
        (STRONG, {"If-Match": '"v1"'}),
        (WEAK, {"If-Unmodified-Since": TIME}),
        (Version(Validator.WEAK_ETAG, "v1"), {}),
        (DATED, {"If-Unmodified-Since": TIME}),
        (NOTHING, {}),
    ],
)
def test_the_conditions_that_a_validator_allows(script: Script, version, sent):
    """RFC 9110: a weak ETag never matches (13.1.1), If-Range may not carry one (13.1.5)."""
    assert version.conditions() == sent
    script.gets = [says(206, {**RANGE, "ETag": '"v1"', "Last-Modified": TIME})]
    with suppress(S3Error):
        site(script).look(version, 1000)
    (request,) = script.requests
    assert {n: v for n, v in request.headers.items() if n.startswith("If-")} == sent


@pytest.mark.parametrize(
    ("version", "fields", "words"),
    [
        (STRONG, {"ETag": '"v1"'}, None),
        (STRONG, {"ETag": '"v1"', "Last-Modified": "Sat, 03 Jan 2026 03:04:05 GMT"}, None),
        (STRONG, {"ETag": '"v2"'}, "the ETag was v1, now it is v2"),
        (STRONG, {"ETag": 'W/"v1"'}, "now it is W/v1"),
        (STRONG, {}, "now it is missing"),
        (WEAK, {"ETag": 'W/"v1"'}, None),
        (WEAK, {"ETag": '"v1"'}, None),
        (WEAK, {"ETag": 'W/"v2"'}, "the ETag was v1, now it is v2"),
        (WEAK, {"Last-Modified": TIME}, "now it is missing"),
        (DATED, {"Last-Modified": TIME}, None),
        (DATED, {"Last-Modified": TIME, "ETag": '"v9"'}, None),
        (DATED, {"Last-Modified": "Fri, 02 Jan 2026 03:04:06 GMT"}, f"the time was {STAMP}, now"),
        (DATED, {}, "now it is missing"),
        (NOTHING, {}, None),
        (NOTHING, {"ETag": '"v1"'}, None),
    ],
)
def test_another_version_is_seen(script: Script, version, fields, words):
    script.gets = [says(206, {**RANGE, **fields})]
    if words is None:
        assert site(script).look(version, 1000).size == 1000
        return
    with pytest.raises(S3Error) as caught:
        site(script).look(version, 1000)
    assert caught.value.reason is Reason.SOURCE_CHANGED
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [says(412, {}), says(206, {"Content-Range": "bytes 0-0/1001", "Content-Length": "1"})],
    ids=["412", "size"],
)
def test_another_size_or_a_condition_that_fails_is_another_version(script: Script, answer):
    script.gets = [answer]
    with pytest.raises(S3Error) as caught:
        site(script).look(NOTHING, 1000)
    assert caught.value.reason is Reason.SOURCE_CHANGED


@pytest.mark.parametrize(
    ("etag", "version"),
    [
        ('"v1"', Version(Validator.ETAG, "v1")),
        ('""', NOTHING),
        ('"a b"', NOTHING),
        ('w/"v1"', NOTHING),
        ('W/"v1"', Version(Validator.WEAK_ETAG, "v1")),
        ('"W/v1"', Version(Validator.ETAG, "W/v1")),
        ('"\u00e9"', NOTHING),
        (f'"{"x" * 257}"', NOTHING),
    ],
)
def test_an_etag_that_is_none_by_the_grammar(etag, version):
    assert read_version({"ETag": etag}) == version


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 99 Jan 2026 03:04:05 GMT"])
def test_a_time_that_is_none(date):
    assert read_version({"Last-Modified": date}) == NOTHING


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nobody_learns_the_query(scheme):
    with socket.socket() as bound:  # And not listening: refused.
        bound.bind(("127.0.0.1", 0))
        url = f"{scheme}://127.0.0.1:{bound.getsockname()[1]}/file?X-Amz-Signature=s3cr3t"
        with pytest.raises(S3Error) as caught:
            Site(HttpLocation(url), Access()).look()
    assert caught.value.reason is Reason.SOURCE_UNAVAILABLE
    assert "s3cr3t" not in str(caught.value)
    assert "/file" in str(caught.value)
    assert "s3cr3t" not in str(HttpLocation(url))


def test_an_answer_with_a_broken_head(script: Script, caplog: pytest.LogCaptureFixture):
    def broken(handler) -> None:
        handler.wfile.write(b"HTTP/1.1 206 Partial Content\r\nno header\r\nA: b\r\n\r\nx")
        handler.close_connection = True

    script.gets = [broken]
    with pytest.raises(S3Error) as caught:
        site(script, query="?s3cr3t").look()
    assert "s3cr3t" not in str(caught.value) + caplog.text


def test_a_server_that_hangs_up(script: Script):
    script.gets = [lambda handler: handler.reset()]
    with pytest.raises(S3Error) as caught:
        site(script, query="?s3cr3t").look()
    assert caught.value.reason is Reason.SOURCE_UNAVAILABLE
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/a?b#c", "https://h/a"),
        ("https://me:pass@h:1/a", "https://h:1/a"),
        ("https://h?a=//me@b/", "https://h"),
        ("https://h/a@b", "https://h/a@b"),
    ],
)
def test_a_url_in_words(url, shown):
    assert public_url(url) == shown


def test_what_was_asked_is_counted(script: Script):
    heard = []
    script.gets = [says(206, RANGE), says(500, {})]
    for _ in range(2):
        with suppress(S3Error):
            Site(
                site(script).location, Access(), lambda name, code: heard.append((name, code))
            ).look()
    assert heard == [("GetURL", 206), ("GetURL", 500)]


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ({"Authorization": "Bearer a", "X_Tenant.1": "a b"}, None),
        ({}, "it has no key"),
        ({"A": ""}, "A must be one line of printable ASCII"),
        ({"A": "s3cr3t\r\nHost: b"}, "A must be one line of printable ASCII"),
        ({"A": "s\u00e9cr3t"}, "A must be one line"),
        ({"A b": "v"}, "a key is not the name of a header"),
        ({"A\n": "v"}, "a key is not the name of a header"),
        ({"host": "h"}, "host must not be among its keys"),
        ({"RANGE": "bytes=0-"}, "RANGE must not"),
        ({"If-None-Match": "*"}, "If-None-Match must not"),
        ({"If-Whatever": "*"}, "If-Whatever must not"),
        ({"Accept-Encoding": "gzip"}, "Accept-Encoding must not"),
        ({"Content-Length": "1"}, "Content-Length must not"),
        ({"Connection": "close"}, "Connection must not be among its keys: it is of one connection"),
        ({"Transfer-Encoding": "chunked"}, "Transfer-Encoding must not"),
        ({"Proxy-Authorization": "Basic a"}, "Proxy-Authorization must not"),
        ({"X-A": "1", "x-a": "2"}, "is there twice"),
    ],
)
def test_headers_of_a_secret(secret, words):
    problem = headers.problem(secret)
    assert (problem is None) is (words is None)
    assert (words or "") in (problem or "")
    assert "cr3t" not in (problem or "")


def test_an_own_name_for_the_client():
    assert headers.request_headers({"user-agent": "mine"}) == {
        "Accept-Encoding": "identity",
        "user-agent": "mine",
    }
