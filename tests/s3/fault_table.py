"""Every fault that a network or a store was seen to show, what is done to show it, and what then happens.

``python -m tests.s3.fault_table`` prints it as the table of docs/design.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.proxy_client import refusal
from tests.s3.copying import (
    ABORT,
    COMPLETE,
    COPY_PART_2,
    COPY_PARTS,
    CREATE,
    GET_PART_2,
    HEAD,
    LIST_PARTS,
    LIST_UPLOADS,
    OPERATOR_LISTS,
    PUT_PART_2,
    WORKER_LISTS,
    MiB,
)

Rule = dict[str, Any]

_NOTHING = "nothing"
_HIDDEN = "nothing; the log of the worker or the operator"
_PASSING = "`DestinationUnavailable` while it lasts, then `Copied`"
_ALL_RETRIED = (
    "each request: a part 6 times and for 30 s in a pod, then by other pods and runs without end;"
    " a control call 3 times, Create and Complete once, then every 5 s without end"
)

_THROTTLED = (
    "a part by fewer streams, not before `Retry-After` (at most 60 s), until the pod has got nothing else"
    " for 600 s, then by other pods and runs without end;"
    " a control call 3 times, Create and Complete once, then every 5 s without end"
)


@dataclass(frozen=True)
class Row:
    """``source`` and ``destination`` are rules of the proxy there; each must strike.

    ``late``: they are set when only part 4 is still to be answered. ``told``: reasons of Events on the
    way. ``resent``: parts sent again, at most. ``within`` one store, which copies by itself. ``by``:
    the test that shows it, where rules do not.
    """

    name: str
    ends: str
    """The reason in the end."""
    sees: str
    retried: str
    left: str
    source: tuple[Rule, ...] = ()
    destination: tuple[Rule, ...] = ()
    late: bool = False
    within: bool = False
    told: tuple[str, ...] = ()
    resent: int = 0
    says: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)
    servers: tuple[str, ...] = ("versitygw", "minio")
    by: str = ""


def once(place: Rule, do: Rule, **more: Any) -> Rule:
    return {**place, "do": do, "times": 1, **more}


def ever(place: Rule, do: Rule) -> Rule:
    return {**place, "do": do}


def _everywhere(name: str, do: Rule, *, resent: int = 0, **changes: Any) -> Row:
    """Met once by each kind of request that a copy makes."""
    fields: dict[str, Any] = {
        "ends": "Copied",
        "sees": _PASSING,
        "retried": _ALL_RETRIED,
        "left": _NOTHING,
        "source": (once(HEAD, do), once(GET_PART_2, do)),
        "destination": (
            *(once(place, do) for place in (LIST_UPLOADS, HEAD, CREATE, PUT_PART_2, LIST_PARTS)),
            once(COMPLETE, do),
            once(HEAD, do, skip=2),
        ),
        "told": ("DestinationUnavailable",),
        "resent": resent,
    }
    return Row(name, **{**fields, **changes})


def _final(name: str, ends: str, left: str = "no upload, no object", **fields: Any) -> Row:
    sees = f"`{ends}`, `Failed`"
    return Row(name, ends, sees, "nothing", left, **fields)


def _hidden_within(name: str, do: Rule, **changes: Any) -> Row:
    """A part that the store copies by itself."""
    fields = {"sees": _HIDDEN, "retried": "the part", "left": _NOTHING, **changes}
    return Row(name, "Copied", destination=(once(COPY_PART_2, do),), within=True, **fields)


def _refused_within(name: str, do: Rule, **changes: Any) -> Row:
    fields: dict[str, Any] = {
        "sees": "`ServerSideRefused`, then `Copied`",
        "retried": "everything, in a new attempt through the workers",
        "left": _NOTHING,
        "told": ("ServerSideRefused",),
        **changes,
    }
    return Row(name, "Copied", destination=(ever(COPY_PARTS, do),), within=True, **fields)


def _edit(**do: Any) -> Rule:
    return {"kind": "edit", **do}


_OTHER_PART_2 = _edit(
    replace=[["(<PartNumber>2</PartNumber>.*?<ETag>)[^<]*", r"\g<1>" + "0" * 32]],
)
_NO_PART_2 = _edit(replace=[[r"<Part>(?:(?!</Part>).)*<PartNumber>2</PartNumber>.*?</Part>", ""]])
_INVENTED = (
    "<Part><PartNumber>2</PartNumber><ETag>&quot;" + "0" * 32 + "&quot;</ETag><Size>5242880</Size>"
    "<ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME></Part></ListPartsResult>"
)
_ERROR_200 = refusal(200, "InternalError")

ROWS = (
    Row(
        "connection refused",
        "Copied",
        "`SourceUnavailable` or `DestinationUnavailable` while it lasts, then `Copied`",
        _ALL_RETRIED,
        _NOTHING,
        by="test_an_outage_ends_nothing_and_sends_nothing_proven_again",
    ),
    _everywhere("connection reset before the request", {"kind": "reset", "at": "request"}),
    Row(
        "connection reset within the request's body",
        "Copied",
        _HIDDEN,
        "the part",
        _NOTHING,
        destination=(once(PUT_PART_2, {"kind": "reset", "at": "request-body", "after": 3 * MiB}),),
        resent=1,
    ),
    _everywhere(
        "connection reset within the answer's body",
        {"kind": "reset", "at": "answer-body", "after": 20},
        resent=2,
        source=(once(GET_PART_2, {"kind": "reset", "at": "answer-body", "after": 3 * MiB}),),
        destination=tuple(
            once(place, {"kind": "reset", "at": "answer-body", "after": 20})
            for place in (LIST_UPLOADS, CREATE, LIST_PARTS, COMPLETE)
        ),
    ),
    _everywhere(
        "answer lost after the store has applied the request",
        {"kind": "reset", "at": "answer"},
        resent=1,
        retried="a part; Create takes up the upload that is there; Complete is settled by a HEAD",
    ),
    _everywhere(
        "stall without a byte",
        {"kind": "stall", "at": "answer", "seconds": 60},
        resent=2,
        retried="after 60 s of silence of the source, 300 s of the destination, 900 s of a Complete",
        source=(
            once(GET_PART_2, {"kind": "stall", "at": "answer-body", "after": 3 * MiB}),
            once(HEAD, {"kind": "stall", "at": "answer"}),
        ),
        destination=tuple(
            once(place, {"kind": "stall", "at": "answer"})
            for place in (CREATE, PUT_PART_2, COMPLETE)
        ),
        servers=("versitygw",),
    ),
    Row(
        "silence while a store hashes a part or an object",
        "Copied",
        "nothing",
        "nothing: a part has 300 s, a Complete 900 s",
        _NOTHING,
        destination=tuple(
            once(place, {"kind": "stall", "at": "answer", "seconds": 1})
            for place in (PUT_PART_2, COMPLETE)
        ),
    ),
    Row(
        "slow trickle",
        "Copied",
        _HIDDEN,
        "the part, when 1 MiB takes longer than 300 s",
        _NOTHING,
        source=(
            once(GET_PART_2, {"kind": "trickle", "at": "answer-body", "bytes_per_second": 100_000}),
        ),
        destination=(
            once(
                {"match": "^PUT .*[?&]partNumber=3&"},
                {"kind": "trickle", "at": "request-body", "bytes_per_second": 100_000},
            ),
        ),
        resent=2,
        servers=("versitygw",),
    ),
    _everywhere(
        "truncated body",
        {"kind": "truncate", "after": 20},
        resent=1,
        source=(once(GET_PART_2, {"kind": "truncate", "after": 3 * MiB}),),
        destination=tuple(
            once(place, {"kind": "truncate", "after": 20})
            for place in (LIST_UPLOADS, CREATE, LIST_PARTS, COMPLETE)
        ),
    ),
    _everywhere("500 InternalError", refusal(500, "InternalError")),
    _everywhere(
        "503 SlowDown with Retry-After",
        refusal(503, "SlowDown", Retry_After="1"),
        retried=_THROTTLED,
    ),
    _everywhere("502 of a proxy, no S3 code", {"kind": "answer", "status": 502, "body": "<html>"}),
    _everywhere("429", refusal(429, "TooManyRequests"), retried=_THROTTLED),
    _everywhere("400 RequestTimeout", refusal(400, "RequestTimeout")),
    _everywhere(
        "400 ExpiredToken",
        refusal(400, "ExpiredToken"),
        source=(
            {**HEAD, "times": 4, "do": refusal(400, "ExpiredToken")},
            once(GET_PART_2, refusal(400, "ExpiredToken")),
        ),
        retried=_ALL_RETRIED + "; the Secret is read again for each request",
    ),
    _everywhere("403 RequestTimeTooSkewed", refusal(403, "RequestTimeTooSkewed")),
    _everywhere("409 OperationAborted", refusal(409, "OperationAborted")),
    _everywhere(
        "403 AccessDenied for a while",
        refusal(403, "AccessDenied"),
        sees="`AccessDenied` while it lasts, then `Copied`",
        retried="as above; the operator every 10 s, for `--denied-grace` seconds",
        told=("AccessDenied",),
    ),
    _final(
        "403 AccessDenied of the source for good",
        "AccessDenied",
        source=(ever(GET_PART_2, refusal(403, "AccessDenied")),),
        resent=4,
        says="403 AccessDenied",
    ),
    _final(
        "403 AccessDenied of a Complete for good",
        "AccessDenied",
        destination=(ever(COMPLETE, refusal(403, "AccessDenied")),),
        says="AccessDenied",
    ),
    _everywhere("404 of a proxy, no S3 code", {"kind": "answer", "status": 404, "body": "<html>"}),
    _final(
        "404 NoSuchKey of the source",
        "SourceNotFound",
        source=(once(GET_PART_2, refusal(404, "NoSuchKey")),),
    ),
    _final(
        "404 NoSuchBucket of the source",
        "BucketNotFound",
        source=(once(GET_PART_2, refusal(404, "NoSuchBucket")),),
    ),
    _final(
        "404 NoSuchBucket of the destination",
        "BucketNotFound",
        destination=(once(PUT_PART_2, refusal(404, "NoSuchBucket")),),
    ),
    Row(
        "404 NoSuchUpload of an upload that is there",
        "Copied",
        "`UploadLost`, then `Copied`",
        "the parts in flight, in a new run",
        _NOTHING,
        destination=(once(PUT_PART_2, refusal(404, "NoSuchUpload")),),
        told=("UploadLost",),
        resent=4,
    ),
    Row(
        "404 NoSuchUpload of an upload that is gone",
        "Copied",
        "`UploadLost`, then `Copied`",
        "everything, in a new attempt; three in all, then `UploadLost`, `Failed`",
        _NOTHING,
        by="test_an_upload_that_was_aborted_by_a_lifecycle_rule_is_made_anew",
    ),
    _final(
        "404 NoSuchUpload of each Complete",
        "UploadLost",
        destination=(ever(COMPLETE, refusal(404, "NoSuchUpload")),),
        resent=8,
        told=("UploadLost",),
        says="vanished 3 times",
    ),
    Row(
        "404 NoSuchUpload of a repeated Complete",
        "Copied",
        _PASSING,
        "Complete; a HEAD against the intent settles it",
        _NOTHING,
        destination=(
            once(COMPLETE, {"kind": "reset", "at": "answer"}),
            once(COMPLETE, refusal(404, "NoSuchUpload")),
            {**HEAD, "skip": 2, "times": 2, "do": refusal(404)},
            {"match": "^GET /[^?]+/to$", "skip": 2, "times": 2, "do": refusal(404, "NoSuchKey")},
        ),
        told=("DestinationUnavailable",),
    ),
    _final(
        "412 of the source",
        "SourceChanged",
        source=(once(GET_PART_2, refusal(412, "PreconditionFailed")),),
    ),
    _final(
        "412 of a Complete, the destination unchanged",
        "DestinationChanged",
        destination=(ever(COMPLETE, refusal(412, "PreconditionFailed")),),
        says="PreconditionFailed",
    ),
    Row(
        "200 with an Error in the body",
        "Copied",
        _PASSING,
        "the part; Complete, after a HEAD",
        _NOTHING,
        destination=(once(PUT_PART_2, _ERROR_200), once(COMPLETE, _ERROR_200)),
        told=("DestinationUnavailable",),
    ),
    _hidden_within("200 with an Error in the body of a part copy", _ERROR_200),
    _hidden_within("503 SlowDown of a part copy", refusal(503, "SlowDown")),
    _hidden_within(
        "answer lost after the store has copied a part", {"kind": "reset", "at": "answer"}
    ),
    _hidden_within(
        "silence while a store copies a part",
        {"kind": "stall", "at": "answer", "seconds": 1},
        sees="nothing",
        retried="nothing: a part copy has 900 s",
    ),
    _refused_within("501 NotImplemented of a part copy", refusal(501, "NotImplemented")),
    _refused_within(
        "501 NotImplemented of a part copy, in the body of a 200", refusal(200, "NotImplemented")
    ),
    _refused_within(
        "403 AccessDenied of a part copy for good",
        refusal(403, "AccessDenied"),
        sees="`AccessDenied`, then `ServerSideRefused`, then `Copied`",
        retried="the part, as above; after five runs of it everything, in a new attempt through the workers",
        told=("AccessDenied", "ServerSideRefused"),
    ),
    _final(
        "501 NotImplemented of a part copy, with `mode: ServerSide`",
        "ServerSideRefused",
        destination=(ever(COPY_PARTS, refusal(501, "NotImplemented")),),
        within=True,
        says="write spec.mode: Auto",
        spec={"mode": "ServerSide"},
    ),
    _final(
        "412 of a part copy",
        "SourceChanged",
        destination=(once(COPY_PART_2, refusal(412, "PreconditionFailed")),),
        within=True,
    ),
    _final(
        "404 NoSuchKey of a part copy",
        "SourceNotFound",
        destination=(once(COPY_PART_2, refusal(404, "NoSuchKey")),),
        within=True,
    ),
    _final(
        "wrong Content-Range",
        "RangeNotSupported",
        source=(once(GET_PART_2, _edit(headers={"Content-Range": "bytes 0-5242879/16777223"})),),
        says="Content-Range|asked for",
    ),
    _final(
        "Content-Range of another size",
        "SourceChanged",
        source=(
            once(GET_PART_2, _edit(headers={"Content-Range": "bytes 5242880-10485759/99999999"})),
        ),
    ),
    _final(
        "200 instead of 206",
        "RangeNotSupported",
        source=(once(GET_PART_2, _edit(status=200)),),
    ),
    Row(
        "200 of something that is not the object",
        "Copied",
        _HIDDEN,
        "the part",
        _NOTHING,
        source=(once(GET_PART_2, {"kind": "answer", "status": 200, "body": "<html>"}),),
    ),
    _final(
        "another ETag between ranges",
        "SourceChanged",
        source=(once(GET_PART_2, _edit(headers={"ETag": '"other"'})),),
    ),
    Row(
        "weak ETag of a range",
        "Copied",
        _HIDDEN,
        "the part: something in between has rewritten the answer",
        _NOTHING,
        source=(once(GET_PART_2, _edit(headers={"ETag": 'W/"other"'})),),
    ),
    _final(
        "weak ETag of the source",
        "RequestRefused",
        source=(once(HEAD, _edit(headers={"ETag": 'W/"other"'})),),
        says="strong ETag",
    ),
    _final(
        "answer compressed on the way",
        "RangeNotSupported",
        source=(
            once(
                GET_PART_2,
                _edit(headers={"Content-Encoding": "gzip", "Content-Length": None}),
            ),
        ),
    ),
    Row(
        "InvalidPart of a Complete",
        "Copied",
        "`PartsDisagree`, then `Copied`",
        "Complete, after a new comparison with `ListParts`; three times, then `Failed`",
        _NOTHING,
        destination=(once(COMPLETE, refusal(400, "InvalidPart")),),
        told=("PartsDisagree",),
    ),
    _final(
        "InvalidPart of each Complete",
        "PartsDisagree",
        destination=(ever(COMPLETE, refusal(400, "InvalidPart")),),
    ),
    _final(
        "EntityTooSmall",
        "RequestRefused",
        destination=(once(COMPLETE, refusal(400, "EntityTooSmall")),),
        says="EntityTooSmall",
    ),
    Row(
        "ListParts without a part that was stored",
        "Copied",
        "`PartsDisagree`, then `Copied`",
        "that part; three times, then `Failed`",
        _NOTHING,
        destination=(once(OPERATOR_LISTS, _NO_PART_2),),
        late=True,
        told=("PartsDisagree",),
        resent=1,
    ),
    _final(
        "ListParts never with a part that was stored",
        "PartsDisagree",
        destination=(ever(OPERATOR_LISTS, _NO_PART_2),),
        late=True,
        resent=3,
    ),
    Row(
        "ListParts with somebody else's part under a number of ours",
        "Copied",
        "`PartsDisagree`, then `Copied`",
        "that part; three times, then `Failed`",
        _NOTHING,
        destination=(once(OPERATOR_LISTS, _OTHER_PART_2),),
        late=True,
        told=("PartsDisagree",),
        resent=1,
    ),
    Row(
        "ListParts with a part that is not there",
        "Copied",
        "`PartsDisagree`, then `Copied`",
        "that part, which the worker had taken for stored",
        _NOTHING,
        destination=(
            once(
                {"match": WORKER_LISTS["match"], "header": "part-number-marker=0&"},
                _edit(replace=[["</ListPartsResult>", _INVENTED]]),
            ),
        ),
        told=("PartsDisagree",),
    ),
    Row(
        "checksum refused by Create",
        "Copied",
        _HIDDEN,
        "Create, once, without the checksum; the parts go without trailers",
        _NOTHING,
        destination=(
            ever({**CREATE, "header": "^x-amz-checksum-"}, refusal(400, "InvalidRequest")),
        ),
    ),
    Row(
        "checksum accepted by Create, refused with the parts",
        "Copied",
        "`ChecksumRefused`, then `Copied`",
        "everything, in a new attempt without trailers",
        _NOTHING,
        destination=(
            ever(
                {"match": r"^PUT .*[?&]partNumber=", "header": "^x-amz-trailer:"},
                refusal(501, "NotImplemented"),
            ),
        ),
        told=("ChecksumRefused",),
        resent=4,
    ),
    Row(
        "501 NotImplemented of a precondition",
        "Copied",
        _HIDDEN,
        "Complete, once, without the precondition, after a HEAD",
        _NOTHING,
        destination=(
            ever({**COMPLETE, "header": "^If-None-Match:"}, refusal(501, "NotImplemented")),
        ),
    ),
    _final(
        "413 of a proxy's limit",
        "RequestRefused",
        destination=(ever(PUT_PART_2, {"kind": "answer", "status": 413, "body": "<html>"}),),
        says="413",
        resent=4,
        spec={"verification": "PartMD5"},
    ),
    Row(
        "Abort refused",
        "RequestRefused",
        "the failure's own reason; `Aborting` until it succeeds",
        "every 10 s for `--abort-grace` seconds",
        "nothing; after that time the upload, named in status, log and Events: `UploadLeftBehind`",
        destination=(
            once(COMPLETE, refusal(400, "EntityTooSmall")),
            {**ABORT, "times": 4, "do": refusal(503, "SlowDown")},
        ),
    ),
    Row(
        "bit flipped on the way to the destination",
        "Copied",
        _HIDDEN,
        "the part, which the store refuses or answers with another checksum",
        _NOTHING,
        destination=(
            once(PUT_PART_2, {"kind": "flip", "at": "request-body", "offset": 300_000, "bit": 2}),
        ),
        resent=1,
    ),
    Row(
        "bit flipped on the way from the source",
        "Copied",
        "`Verifying`, `PartsDisagree`, then `Copied`: whatever is called `Verified`",
        "the part, after a second reading of the source",
        "nothing; without a word of the source's store, `TransferVerified` is all that is claimed",
        by="test_a_bit_flipped_in_one_part_from_the_source_is_found",
    ),
    Row(
        "part that arrives late from a cut-off worker",
        "Copied",
        "`Copied`",
        "that part, by the next pod",
        "nothing: it carries the same bytes, or the upload is gone",
        by="test_a_part_that_arrives_late_is_harmless",
    ),
    Row(
        "destination written by somebody else during the copy",
        "DestinationChanged",
        "`DestinationChanged`, or `DestinationExists` with `overwrite: Never`; `Failed`",
        "nothing",
        "no upload; their object as it is",
        by="test_a_strangers_object_between_a_complete_and_its_repeat_is_not_claimed",
    ),
)


def markdown() -> str:
    lines = ["| fault | what the user sees | what is retried, how often | what is left behind |"]
    lines.append("|---|---|---|---|")
    lines += [f"| {row.name} | {row.sees} | {row.retried} | {row.left} |" for row in ROWS]
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown())
