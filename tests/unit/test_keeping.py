"""What of the source is kept, and what is left out where a store does not let it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from multipartcopy.api.names import SOURCE_STAMP
from multipartcopy.api.reasons import Reason
from multipartcopy.api.spec import Item, Keep, Preserve
from multipartcopy.api.status import Dropped
from multipartcopy.reconcile import keeping, outcome
from multipartcopy.s3.control import ObjectInfo, _less_and_less
from multipartcopy.s3.errors import Kind, S3Error
from multipartcopy.s3.properties import Properties, Wanted
from tests.unit.facts import SPEC, UPLOAD, UPLOADING, facts

ALL = Preserve(*[Keep.BEST_EFFORT] * 4)
SOURCE = ObjectInfo(
    size=1,
    etag="e",
    headers={"ContentType": "text/a"},
    metadata={"who": "them"},
    storage_class="STANDARD_IA",
)
TAGS = {"team": "a"}
KEPT = Properties(SOURCE.headers, SOURCE.metadata, TAGS, "STANDARD_IA")
HEADERS, METADATA, TAGGED, CLASS = Item


def spec(preserve: Preserve = ALL, **destination: Any) -> Any:
    to = replace(SPEC.destination, s3=replace(SPEC.destination.s3, **destination))
    return replace(SPEC, preserve=preserve, destination=to)


def refusal(code: str, kind: Kind = Kind.PERMANENT) -> S3Error:
    return S3Error("destination", "s3://b/k", "Create", kind, code, "no")


def test_by_default_headers_and_metadata_are_kept():
    assert keeping.wanted(SPEC, SOURCE, TAGS).kept == Properties(
        {"ContentType": "text/a"}, {"who": "them"}
    )


@pytest.mark.parametrize("item", Item)
def test_each_is_kept_or_not(item):
    field = item.name.lower()
    others = replace(ALL, **{field: Keep.IGNORE})
    assert keeping.wanted(spec(others), SOURCE, TAGS).kept.items() == {*Item} - {item}
    needed = keeping.wanted(spec(replace(ALL, **{field: Keep.REQUIRED})), SOURCE, TAGS)
    assert needed.kept == KEPT
    assert needed.required == {item}


def test_a_storage_class_that_is_given_leaves_none_to_keep():
    made = keeping.wanted(spec(storage_class="GLACIER_IR"), SOURCE, TAGS)
    assert made.kept.storage_class is None
    assert made.together.storage_class == "GLACIER_IR"


def store(refuses: Callable[[Properties], S3Error | None]) -> tuple[Any, list[Properties]]:
    """A request that is refused or not, by what it asks for, and all that were made."""
    asked: list[Properties] = []

    def make(wanted: Wanted) -> dict[str, Any]:
        asked.append(wanted.together)
        if error := refuses(wanted.together):
            raise error
        return {"UploadId": "u"}

    return make, asked


@pytest.mark.parametrize(
    ("code", "kind", "about", "requests"),
    [
        ("InvalidStorageClass", Kind.PERMANENT, {CLASS}, 2),
        ("InvalidTag", Kind.PERMANENT, {TAGGED}, 2),
        ("MetadataTooLarge", Kind.PERMANENT, {METADATA}, 2),
        ("NotImplemented", Kind.UNSUPPORTED, {TAGGED}, 4),
        ("InvalidArgument", Kind.PERMANENT, {HEADERS}, 2),
        ("InvalidArgument", Kind.PERMANENT, {TAGGED, METADATA}, 6),
        ("AccessDenied", Kind.DENIED, {TAGGED}, 2),
    ],
)
def test_what_the_store_refuses_is_left_out(code, kind, about, requests):
    make, asked = store(lambda made: refusal(code, kind) if made.items() & about else None)
    answer, dropped = _less_and_less(make, Wanted(kept=KEPT))
    assert answer == {"UploadId": "u"}
    assert len(asked) == requests
    assert about <= {d.item for d in dropped}
    assert {d.item for d in dropped} == {*Item} - asked[-1].items()
    assert {d.reason for d in dropped} == {f"destination s3://b/k: Create: {code}: no"}


def test_one_refusal_may_follow_another():
    def refuses(made: Properties) -> S3Error | None:
        if made.metadata:
            return refusal("MetadataTooLarge")
        return refusal("NotImplemented", Kind.UNSUPPORTED) if made.tags else None

    _, dropped = _less_and_less(store(refuses)[0], Wanted(kept=KEPT))
    assert [d.item for d in dropped] == [METADATA, TAGGED]


@pytest.mark.parametrize("kind", [Kind.PERMANENT, Kind.UNSUPPORTED, Kind.DENIED, Kind.NO_BUCKET])
def test_where_leaving_out_does_not_help_the_first_refusal_stands(kind):
    make, asked = store(lambda made: refusal("No", kind))
    with pytest.raises(S3Error, match=r"Create: No: no$") as caught:
        _less_and_less(make, Wanted(kept=KEPT))
    assert caught.value.kind is kind
    assert len(asked) <= 6


def test_a_passing_error_drops_nothing():
    make, asked = store(lambda made: refusal("SlowDown", Kind.RETRY))
    with pytest.raises(S3Error, match="SlowDown"):
        _less_and_less(make, Wanted(kept=KEPT))
    assert len(asked) == 1

    def refuses(made: Properties) -> S3Error:
        return refusal("SlowDown", Kind.RETRY) if not made.tags else refusal("No")

    with pytest.raises(S3Error, match="SlowDown"):
        _less_and_less(store(refuses)[0], Wanted(kept=Properties(tags=TAGS)))


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        ("InvalidTag", Kind.PERMANENT, Reason.NOT_PRESERVED),
        ("NotImplemented", Kind.UNSUPPORTED, Reason.REQUEST_REFUSED),
        ("AccessDenied", Kind.DENIED, Reason.ACCESS_DENIED),
    ],
)
def test_what_is_required_is_never_left_out(code, kind, reason):
    make, asked = store(lambda made: refusal(code, kind) if made.tags else None)
    with pytest.raises(S3Error) as caught:
        _less_and_less(make, Wanted(kept=KEPT, required=frozenset({TAGGED})))
    assert caught.value.reason == reason
    assert all(made.tags for made in asked)
    said = "spec.preserve requires tags of the source" in str(caught.value)
    assert said == (kind is not Kind.DENIED)


def test_what_is_given_is_never_left_out():
    given = Properties(tags={"team": "b"})
    make, asked = store(lambda made: refusal("InvalidTag") if made.tags else None)
    with pytest.raises(S3Error, match="InvalidTag"):
        _less_and_less(make, Wanted(given, KEPT))
    assert all(made.tags for made in asked)


@pytest.mark.parametrize("kind", [Kind.PERMANENT, Kind.UNSUPPORTED, Kind.DENIED])
def test_tags_that_the_source_does_not_tell(kind):
    error = replace(refusal("Code", kind), side="source")
    assert keeping.unread_tags(spec(), error) == Dropped(Item.TAGS, str(error))
    with pytest.raises(S3Error) as caught:
        keeping.unread_tags(spec(replace(ALL, tags=Keep.REQUIRED)), error)
    denied = kind is Kind.DENIED
    assert caught.value.reason == (Reason.ACCESS_DENIED if denied else Reason.NOT_PRESERVED)


@pytest.mark.parametrize("kind", [Kind.RETRY, Kind.NO_OBJECT])
def test_an_error_that_is_not_about_tags_is_not_taken_for_one(kind):
    with pytest.raises(S3Error):
        keeping.unread_tags(spec(), refusal("Code", kind))


@pytest.mark.parametrize(
    ("found", "different"),
    [
        ({}, []),
        ({"metadata": {**SOURCE.metadata, "more": "x", SOURCE_STAMP: "s"}}, []),
        ({"metadata": {"Who": "them"}}, []),
        ({"metadata": {"who": "us"}}, [METADATA]),
        ({"headers": {}, "storage_class": None}, [HEADERS, CLASS]),
    ],
)
def test_in_what_an_equal_object_is_other(found, different):
    assert keeping.differences(spec(), SOURCE, replace(SOURCE, **found)) == different


def test_the_standard_class_goes_without_saying():
    plain = replace(SOURCE, storage_class=None)
    standard = replace(SOURCE, storage_class="STANDARD")
    for a, b in ((plain, standard), (standard, plain)):
        assert keeping.differences(spec(), a, b) == []


def test_an_equal_object_is_left_as_it_is_and_that_is_said():
    source = replace(SOURCE, etag="a" * 32)
    there = replace(source, metadata={}, headers={"ContentType": "text/b"})
    seen = outcome.Inspection(source, None, there, (), facts().now)
    result = outcome.claim(facts(spec=spec()), seen)
    assert result.reason == Reason.ALREADY_EQUAL
    assert result.message.endswith("contentHeaders and metadata differ, and were left as they are")


def test_what_was_dropped_is_in_the_status_and_the_message():
    dropped = Dropped(Item.TAGS, "source s3://a/b: GetObjectTagging: AccessDenied: " + "x" * 1000)
    result = outcome.uploading(outcome.dropping(facts(UPLOADING), [dropped]), UPLOAD)
    (told,) = result.status.dropped
    assert (told.item, len(told.reason)) == (Item.TAGS, 512)
    assert "; not kept of the source: tags (source s3://a/b: GetObjectTagging" in result.message
