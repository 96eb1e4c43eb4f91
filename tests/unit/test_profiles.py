"""What is known of stores beforehand, and what it changes."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from multipartcopy.api.location import AddressingStyle, Profile, Reference, S3Location
from multipartcopy.api.spec import Mode, Overwrite, Source, Target, VerificationMode
from multipartcopy.api.status import Pin, Upload, Way
from multipartcopy.jobs import build_task
from multipartcopy.plan import GiB, MiB, PlanError, make_plan
from multipartcopy.reconcile import outcome
from multipartcopy.reconcile.facts import Limits
from multipartcopy.reconcile.ledger import missing
from multipartcopy.s3.address import is_virtual
from multipartcopy.s3.control import StoredPart
from multipartcopy.s3.profiles import profile_of, store_of, stores
from tests import provider_table
from tests.unit.facts import CLAIMED, FULL, SPEC, UPLOADING, etag, facts

ROOT = Path(__file__).parents[2]
TiB = 1 << 40


def at(endpoint: str | None, **more: object) -> S3Location:
    return S3Location("b", "k", endpoint, secret_ref=Reference("s"), **more)  # type: ignore[arg-type]


def to(profile: Profile, **changes: object):
    """The spec of the facts, with a destination of this profile."""
    there = replace(SPEC.destination.s3, profile=profile)
    return replace(SPEC, destination=Target(there), **changes)


@pytest.mark.parametrize(
    ("endpoint", "profile"),
    [
        (None, "AWS"),
        ("https://s3.eu-central-1.amazonaws.com", "AWS"),
        ("https://s3.cn-north-1.amazonaws.com.cn", "AWS"),
        ("https://S3.EU-Central-1.AmazonAWS.com.", "AWS"),
        ("https://bucket.vpce-1a2b.s3.us-east-1.vpce.amazonaws.com", "AWS"),
        ("https://amazonaws.com.example.org", "Other"),
        ("https://notamazonaws.com", "Other"),
        ("https://0123.r2.cloudflarestorage.com", "CloudflareR2"),
        ("https://0123.eu.r2.cloudflarestorage.com", "CloudflareR2"),
        ("https://storage.googleapis.com", "GoogleCloudStorage"),
        ("https://s3.us-west-004.backblazeb2.com", "BackblazeB2"),
        ("https://s3.eu-central-1.wasabisys.com", "Wasabi"),
        ("https://ns.compat.objectstorage.eu-frankfurt-1.oraclecloud.com", "OracleCloud"),
        ("https://oss-cn-hangzhou.aliyuncs.com", "AlibabaOSS"),
        ("https://s3.oss-cn-hangzhou.aliyuncs.com", "AlibabaOSS"),
        ("https://fra1.digitaloceanspaces.com", "DigitalOcean"),
        ("https://s3.fr-par.scw.cloud", "Scaleway"),
        ("https://gateway.storjshare.io", "Storj"),
        ("http://minio.storage.svc:9000", "Other"),
        ("http://10.0.0.1", "Other"),
        ("http://[fd00::1]:9000", "Other"),
    ],
)
def test_a_store_is_known_by_its_host(endpoint, profile):
    assert profile_of(at(endpoint)) == profile
    assert profile_of(at(endpoint, profile=Profile.GARAGE)) == "Garage"


def test_every_profile_is_there_with_where_it_is_from():
    assert [Profile.AUTO, *stores()] == list(Profile)
    for store in stores().values():
        assert store.sources
        assert all(url.startswith("https://") for url in store.sources)


def test_no_host_is_that_of_two():
    patterns = [host for store in stores().values() for host in store.hosts]
    assert len(patterns) == len(set(patterns))
    for store in stores().values():
        for host in store.hosts:
            example = host.replace("*", "x")
            assert store_of(at(f"https://{example}")) == store


def test_nothing_is_said_of_any_other_store():
    """It is tried, as ever."""
    plain = stores()[Profile.OTHER]
    assert (plain.checksums, plain.conditional_writes, plain.part_copy, plain.part_md5) == (
        None,
    ) * 4
    assert plain.limits == stores()[Profile.AWS].limits


@pytest.mark.parametrize("profile", list(stores()))
@pytest.mark.parametrize("size", [1, 5 * MiB, 100 * MiB, 10 * GiB, 700 * GiB, 4 * TiB])
@pytest.mark.parametrize("server_side", [False, True])
@pytest.mark.parametrize("layout", [None, 8 * MiB, 3 * GiB])
def test_each_plan_keeps_to_the_limits_of_the_store(profile, size, server_side, layout):
    limits = stores()[profile].limits
    plan = make_plan(size, source_layout=layout, server_side=server_side, limits=limits)
    assert limits.min_part <= plan.part_size <= limits.max_part
    assert plan.part_count <= limits.max_parts
    assert plan.part_size * (plan.part_count - 1) < size <= plan.part_size * plan.part_count


@pytest.mark.parametrize("profile", list(stores()))
def test_the_largest_object_of_each_store_has_a_plan_and_none_above(profile):
    limits = stores()[profile].limits
    plan = make_plan(limits.largest, limits=limits)
    assert limits.min_part <= plan.part_size <= limits.max_part
    assert plan.part_count <= limits.max_parts
    with pytest.raises(PlanError):
        make_plan(limits.largest + 1, limits=limits)


@pytest.mark.parametrize(
    ("profile", "size", "part_size", "count"),
    [
        # What the arithmetic of S3 would give, and what it must be here.
        ("Other", 100 * GiB, 64 * MiB, 1600),
        ("Scaleway", 100 * GiB, 103 * MiB, 995),
        ("Storj", GiB, 64 * MiB, 16),
        ("BackblazeB2", GiB, 16 * MiB, 64),
        ("CloudflareR2", 4 * TiB, 420 * MiB, 9987),
    ],
)
def test_some_plans(profile, size, part_size, count):
    plan = make_plan(size, limits=stores()[Profile(profile)].limits)
    assert (plan.part_size, plan.part_count) == (part_size, count)


@pytest.mark.parametrize(
    ("profile", "size", "part_size", "reason", "words"),
    [
        ("CloudflareR2", 5 * TiB, "Auto", "ObjectTooLarge", "limits are those of Cloudflare R2"),
        ("Scaleway", 10 * GiB, "5Mi", "PartSizeTooSmall", "more than 1000 parts"),
        ("Storj", GiB, "16Mi", "InvalidSpec", "between 64.0 MiB and 5.0 GiB"),
        ("BackblazeB2", GiB, "5Gi", "InvalidSpec", "Backblaze B2"),
        ("GoogleCloudStorage", 6 * TiB, "Auto", "ObjectTooLarge", "5.0 TiB"),
    ],
)
def test_what_cannot_be_is_refused_before_a_byte_is_sent(profile, size, part_size, reason, words):
    spec = to(Profile(profile), part_size=part_size)
    with pytest.raises(PlanError, match=words) as caught:
        outcome._plan(spec, Pin("e" * 32, size), Way.RELAY)
    assert caught.value.reason == reason


@pytest.mark.parametrize("profile", list(stores()))
def test_checksums_are_tried_unless_the_store_is_known_to_refuse_them(profile):
    refuses = {"GoogleCloudStorage", "BackblazeB2", "AlibabaOSS", "Storj"}
    assert outcome.wants_checksum(facts(CLAIMED, to(profile))) == (profile not in refuses)


@pytest.mark.parametrize("profile", list(stores()))
def test_a_store_copies_by_itself_unless_it_is_known_not_to(profile):
    here = replace(SPEC.destination.s3, profile=profile)
    spec = replace(SPEC, source=Source(here), destination=Target(here))
    why = outcome.relay_because(spec)
    if profile in ("GoogleCloudStorage", "Storj"):
        assert why == f"{stores()[profile].title} does not copy parts by itself"
    else:
        assert why is None


def test_a_store_that_does_not_copy_by_itself_is_not_asked_to():
    here = replace(SPEC.destination.s3, profile=Profile.STORJ, key="other")
    source = replace(here, key="from")
    spec = replace(SPEC, source=Source(source), destination=Target(here), mode=Mode.SERVER_SIDE)
    told = outcome.claim(facts(spec=spec), _seen())
    assert told.status.failing
    assert told.status.failing.reason == "ServerSideRefused"
    assert "Storj does not copy parts by itself" in told.message
    told = outcome.claim(facts(spec=replace(spec, mode=Mode.AUTO)), _seen())
    assert told.status.mode is Way.RELAY
    assert "since Storj does not copy parts by itself" in told.message


def _seen():
    from tests.unit.test_outcome import seen

    return seen()


@pytest.mark.parametrize("overwrite", list(Overwrite))
@pytest.mark.parametrize(
    ("profile", "taken"), [("AWS", True), ("Other", True), ("GoogleCloudStorage", False)]
)
def test_preconditions_are_sent_where_they_may_be_taken(profile, taken, overwrite):
    spec = to(Profile(profile), overwrite=overwrite, verification=VerificationMode.NONE)
    parts = [StoredPart(n, etag(n), 5 * MiB) for n in range(1, 21)]
    intent = outcome.intend(facts(FULL, spec), parts, Limits()).status.completing
    assert intent
    assert intent.if_none_match == (taken and overwrite is not Overwrite.ALWAYS)
    told = outcome.claim(facts(spec=spec), _seen()).message
    silent = taken or overwrite is Overwrite.ALWAYS
    assert ("takes no preconditions" in told) != silent


def test_md5s_are_not_compared_with_etags_that_are_none(monkeypatch):
    made = facts(CLAIMED, to(Profile.GARAGE))
    assert outcome.uploading(made, Upload("u")).status.upload.md5
    known = SimpleNamespace(part_md5=False)
    monkeypatch.setattr(outcome, "store_of", lambda _: known)
    assert not outcome.uploading(made, Upload("u")).status.upload.md5


@pytest.mark.parametrize(
    ("location", "virtual"),
    [
        (at(None), True),
        (at("https://oss-cn-hangzhou.aliyuncs.com"), True),
        (at("http://minio:9000"), False),
        (at("http://minio:9000", profile=Profile.ALIBABA_OSS), True),
        (at("http://minio:9000", addressing_style=AddressingStyle.VIRTUAL), True),
        (at(None, addressing_style=AddressingStyle.PATH), False),
        (replace(at(None), bucket="a.b"), False),
    ],
)
def test_where_the_bucket_stands(location, virtual):
    assert is_virtual(location) is virtual
    task = build_task(replace(SPEC, source=Source(location)), UPLOADING, missing(UPLOADING))
    assert task.source.addressing_style == ("Virtual" if virtual else "Path")


def test_the_docs_have_the_table():
    told = (ROOT / "docs/providers.md").read_text()
    assert provider_table.markdown() in told
