"""A copy from a URL: how it is let in, pinned, planned, mounted and proven."""

from dataclasses import replace

import pytest

from multipartcopy.api.location import HttpLocation, Reference
from multipartcopy.api.names import SOURCE_STAMP
from multipartcopy.api.reasons import Reason
from multipartcopy.api.spec import Checksum, ChecksumAlgorithm, Expected, Source, VerificationMode
from multipartcopy.api.status import Pin, Plan, Reading, Result, Way
from multipartcopy.api.task import Read, UrlSource, Validator, decode_task
from multipartcopy.jobs import Image, build_job, build_task
from multipartcopy.plan import PlanError, make_plan
from multipartcopy.reconcile import ledger, outcome, proof
from multipartcopy.reconcile.outcome import Inspection
from multipartcopy.s3.control import ObjectInfo
from multipartcopy.s3.secrets import MissingSecretError, access
from tests.unit.facts import FULL, NOW, OWNER, SIZE, SPEC, UPLOADING, etag, facts

MiB = 1 << 20
GiB = 1 << 30
STAMP = "2026-01-02T03:04:05Z"
URL = HttpLocation("https://example.com/a/file?signature=s3cr3t")
FROM_URL = replace(SPEC, source=Source(http=URL))
FOUND = ObjectInfo(SIZE, "a" * 32, STAMP, validator=Validator.ETAG)
CRC = ledger.object_crc(FULL) or ""
STORED = ObjectInfo(SIZE, "b", crc64nvme=CRC)
READ = Reading("a" * 32, "1-20")


def claim(found=FOUND, destination=None, spec=FROM_URL):
    return outcome.claim(facts(spec=spec), Inspection(found, None, destination, (), NOW))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (FOUND, f"pinned 100.0 MiB with ETag {'a' * 32}"),
        (replace(FOUND, validator=Validator.WEAK_ETAG), "which need not show every change"),
        (
            replace(FOUND, etag="", validator=Validator.LAST_MODIFIED),
            f"pinned 100.0 MiB by its time {STAMP}",
        ),
        (
            replace(FOUND, etag="", last_modified=None, validator=Validator.SIZE),
            "by its size alone, since its server tells neither an ETag nor a time",
        ),
    ],
)
def test_the_pin_says_what_it_is_worth(found, words):
    result = claim(found)
    assert result.reason == "Claimed"
    assert words in result.message
    pin = result.status.source
    assert (pin.etag, pin.last_modified, pin.validator) == (
        found.etag,
        found.last_modified,
        found.validator,
    )
    assert pin.url == "https://example.com/a/file"
    assert result.status.mode == Way.RELAY
    assert "the source is a URL" in result.message


def test_without_ranges_it_goes_through_one_pod():
    result = claim(replace(FOUND, ranges=False))
    assert result.status.mode == Way.SERIAL
    assert "serves no ranges: one pod reads it in one stream" in result.message
    assert result.status.plan.batch_count == 1


@pytest.mark.parametrize("mode", list(VerificationMode))
def test_no_object_is_known_to_be_equal_to_a_url(mode):
    """Not by an ETag that looks like its MD5, nor by the stamp of a copy of another URL with the same."""
    stamped = {SOURCE_STAMP: f"{'a' * 32} {SIZE} uid/1"}
    there = ObjectInfo(SIZE, "a" * 32, metadata=stamped)
    assert claim(destination=there, spec=replace(FROM_URL, verification=mode)).reason == "Claimed"


def test_the_stamp_of_a_source_without_an_etag():
    status = replace(UPLOADING, source=Pin("", SIZE, validator=Validator.SIZE))
    assert outcome.stamp(facts(status)) == f"- {SIZE} {OWNER.uid}/1"


@pytest.mark.parametrize(
    ("size", "part_size", "plan"),
    [
        (0, "Auto", (16 * MiB, 0, 0)),
        (1, "Auto", (16 * MiB, 1, 1)),
        (GiB, "Auto", (16 * MiB, 64, 1)),
        (GiB * 3 // 2 + 1, "Auto", (17 * MiB, 91, 1)),
        (480 * GiB, "Auto", (5 * GiB, 96, 1)),
        (480 * MiB, "5Mi", (5 * MiB, 96, 1)),
    ],
)
def test_one_stream_has_one_batch(size, part_size, plan):
    made = make_plan(size, part_size=part_size, serial=True, parallelism=8, streams=16)
    assert (made.part_size, made.part_count, made.batch_count) == plan
    assert made.batch_size == 96


@pytest.mark.parametrize(
    ("size", "part_size", "reason", "words"),
    [
        (
            480 * GiB + 1,
            "Auto",
            Reason.OBJECT_TOO_LARGE,
            "the limit is 515,396,075,520 bytes (480.0 GiB)",
        ),
        (GiB, "5Mi", Reason.PART_SIZE_TOO_SMALL, "more than 96 parts; spec.partSize must be at"),
    ],
)
def test_one_stream_has_its_limit(size, part_size, reason, words):
    with pytest.raises(PlanError) as caught:
        make_plan(size, part_size=part_size, serial=True)
    assert caught.value.reason is reason
    assert words in str(caught.value)


def copying(**changes):
    pin = Pin("a", SIZE, last_modified=STAMP, validator=Validator.WEAK_ETAG)
    return replace(UPLOADING, source=pin, **{"mode": Way.RELAY} | changes)


@pytest.mark.parametrize("mode", [Way.RELAY, Way.SERIAL])
def test_the_task(mode):
    task = build_task(FROM_URL, copying(mode=mode), [])
    assert decode_task(task.encode()) == task
    assert task.source is None
    assert task.url == UrlSource(URL, Validator.WEAK_ETAG, STAMP, ranges=mode is Way.RELAY)
    assert (task.source_etag, task.serial) == ("a", mode is Way.SERIAL)


@pytest.mark.parametrize(("read", "serial"), [(Read.SOURCE, True), (Read.DESTINATION, False)])
def test_the_object_made_is_always_read_by_ranges(read, serial):
    task = replace(build_task(FROM_URL, copying(mode=Way.SERIAL), []), read=read)
    assert task.serial is serial


def test_every_key_of_the_secret_with_headers_is_mounted():
    url = replace(URL, headers_secret_ref=Reference("h"), ca_secret_ref=Reference("ca"))
    spec = replace(SPEC, source=Source(http=url))
    job = build_job(OWNER, spec, copying(), [], Image("i"))
    volumes = {
        v["name"]: v["projected"]["sources"] for v in job["spec"]["template"]["spec"]["volumes"]
    }
    assert volumes["source"] == [{"secret": {"name": "h"}}]
    assert volumes["source-ca"][0]["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]


def let_in(secrets, **refs):
    location = replace(URL, **{name: Reference(value) for name, value in refs.items()})
    return access(lambda name, _: secrets.get(name), "default", location)


def test_the_way_in():
    secrets = {"h": {"Authorization": "Bearer abc\n"}, "ca": {"ca.crt": "PEM"}}
    found = let_in(secrets, headers_secret_ref="h", ca_secret_ref="ca")
    assert (found.headers, found.ca, found.credentials) == (
        (("Authorization", "Bearer abc"),),
        "PEM",
        None,
    )
    assert "abc" not in repr(found)
    assert let_in({}).headers == ()


@pytest.mark.parametrize(
    ("secret", "reason", "words"),
    [
        (None, Reason.SECRET_NOT_FOUND, "there is no Secret h in namespace default"),
        ({}, Reason.SECRET_INVALID, "Secret h: it has no key"),
        ({"Host": "a"}, Reason.SECRET_INVALID, "Secret h: Host must not be among its keys"),
        ({"A": "a\nb"}, Reason.SECRET_INVALID, "Secret h: A must be one line"),
    ],
)
def test_a_secret_that_cannot_be_sent(secret, reason, words):
    with pytest.raises(MissingSecretError) as caught:
        let_in({} if secret is None else {"h": secret}, headers_secret_ref="h")
    assert caught.value.reason is reason
    assert words in str(caught.value)


def proven(validator, mode="Auto", expected=None, **changes):
    pin = Pin("a" * 32, SIZE, validator=validator, expected_crc64nvme=expected)
    return proof.conclude(replace(FULL, source=pin, **changes), STORED, VerificationMode(mode))


@pytest.mark.parametrize("validator", list(Validator))
def test_what_came_is_not_what_is_there_until_something_shows_it(validator):
    auto = proven(validator)
    assert auto.result is Result.TRANSFER_VERIFIED
    assert "tells no checksum" in auto.detail
    read_back = proven(validator, "ReadBack", source_reading=READ)
    known = validator is not Validator.SIZE
    assert read_back.result is (Result.VERIFIED if known else Result.TRANSFER_VERIFIED)
    assert ("spec.source.expect.checksum would prove it" in read_back.detail) is not known
    assert proven(validator, expected=CRC).result is Result.VERIFIED


@pytest.mark.parametrize("name", ["0" * 31 + "1", "0" * 32])
def test_an_etag_of_a_url_is_no_md5(name):
    """Neither proof nor doubt, even where it looks like one."""
    plan = Plan(SIZE, 1, 64, 1)
    one = ledger.write_parts(plan, SIZE, {1: ledger.Part(etag(1), 5)})
    pin = Pin(name, SIZE, validator=Validator.ETAG)
    status = replace(FULL, source=pin, plan=plan, batches=one)
    assert proof.source_leg(status) is None
    assert proof.doubt(status) is None


def test_what_is_expected_of_a_url():
    checksum = Checksum(ChecksumAlgorithm.CRC64NVME, CRC)
    spec = replace(FROM_URL, source=Source(http=URL, expect=Expected(SIZE, "a" * 32, checksum)))
    assert claim(spec=spec).status.source.expected_crc64nvme == CRC
    assert claim(replace(FOUND, size=1), spec=spec).reason == "SourceUnexpected"
    assert claim(replace(FOUND, etag=""), spec=spec).reason == "SourceUnexpected"


def test_no_message_has_the_query():
    assert str(URL) == "https://example.com/a/file"
    assert "s3cr3t" not in claim().message
