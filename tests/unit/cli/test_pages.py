"""What `get` and `describe` print, of dicts."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import yaml

from multipartcopy.api.codec import to_json
from multipartcopy.api.reasons import Reason
from multipartcopy.api.report import Report, WorkerError
from multipartcopy.api.spec import Spec
from multipartcopy.api.status import (
    Claim,
    Condition,
    Destination,
    LastFailure,
    Leg,
    Phase,
    Progress,
    Result,
    Retry,
    Status,
    Verification,
)
from multipartcopy.api.task import Work
from multipartcopy.cli import describe, get
from multipartcopy.cli.describe import page, picture, text
from multipartcopy.cli.errors import Exit
from multipartcopy.jobs import Image, Owner, build_job
from multipartcopy.reconcile.facts import format_time
from tests.unit.cli.api import COPYING, Api, ended
from tests.unit.cli.conftest import Command
from tests.unit.facts import NOW, SIZE, SPEC, UPLOADING, with_parts

LATER = NOW + timedelta(minutes=4)


def condition(kind: str, status: str, reason: str, message: str) -> Condition:
    return Condition(kind, status, reason, message, format_time(NOW), 1)


HALF = replace(
    with_parts(UPLOADING, range(1, 8)),
    conditions=(condition("Complete", "False", "Copying", "copying 20 parts of 5.0 MiB"),),
    progress=Progress(10, 20, SIZE // 2, SIZE, 50, "10/20", "100.0 MiB", 1 << 20),
)
DONE = replace(
    with_parts(UPLOADING, range(1, 21)),
    phase=Phase.SUCCEEDED,
    completion_time=format_time(LATER),
    conditions=(condition("Complete", "True", "Copied", "copied 100.0 MiB"),),
    progress=Progress(20, 20, SIZE, SIZE, 100, "20/20", "100.0 MiB", 1 << 20),
    destination=Destination("abc-20", SIZE, "v1"),
    verification=Verification(
        Result.TRANSFER_VERIFIED,
        "the source tells no checksum",
        Leg("CRC64NVME", "AAAAAAAAAAA=", "the destination's full-object CRC64NVME"),
    ),
)
FAILED = replace(
    HALF,
    phase=Phase.FAILED,
    claim=None,
    completion_time=format_time(LATER),
    conditions=(condition("Failed", "True", "SourceChanged", "it is another object"),),
    last_failure=LastFailure("OOMKilled", "it needed\nmore", 1, 6, 137, format_time(NOW)),
    retry=Retry(2, format_time(LATER)),
)


def saying(status: Status, reason: Reason) -> Status:
    return replace(status, conditions=(condition("Complete", "False", reason, "it says why"),))


def resource(status: Status | None, spec: Spec = SPEC, **meta: Any) -> dict[str, Any]:
    made = {"name": "era5", "namespace": "climate", "uid": "u", **meta}
    made.setdefault("creationTimestamp", format_time(NOW))
    return {
        "metadata": made,
        "spec": to_json(spec),
        **({"status": to_json(status)} if status else {}),
    }


def pod(name: str, index: int, **container: Any) -> dict[str, Any]:
    """Of the run that does batches 1 and 3, which its Job counts as 0 and 1."""
    owner = Owner("era5", "climate", "u")
    job = build_job(owner, SPEC, HALF, [Work(1, "6-10"), Work(3, "16-20")], Image("i"))
    state: dict[str, Any] = container or {"running": {}}
    running = "running" in state
    return {
        "metadata": {
            "name": name,
            "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
        },
        "spec": {**job["spec"]["template"]["spec"], "nodeName": "node-1"},
        "status": {
            "phase": "Running" if running else "Failed",
            "containerStatuses": [{"state": state}],
        },
    }


def event(reason: str, minutes: int, message: str = "m", count: int = 1) -> dict[str, Any]:
    at = format_time(NOW + timedelta(minutes=minutes))
    return {"reason": reason, "message": message, "lastTimestamp": at, "count": count}


def sections(body: dict[str, Any], *around: Any) -> dict[str, list[str]]:
    events, jobs, pods = (*around, [], [], [])[:3]
    made = page(body, events, jobs, pods, now=LATER)
    return {section.title: list(section.lines) for section in made}


class TestGet:
    def test_a_table(self):
        lines = get.table([resource(HALF), resource(None, name="new")], LATER)
        assert lines == [
            "NAME   PHASE     REASON    PROGRESS   PARTS   SIZE        RATE        LEFT    AGE",
            "era5   Copying   Copying   50%        10/20   100.0 MiB   1.0 MiB/s   0m50s   4m",
            "new    Pending                                                                4m",
        ]

    def test_the_time_left_is_not_guessed_of_the_first_parts(self):
        assert HALF.progress
        begun = replace(HALF, progress=replace(HALF.progress, percent=0, bytes_per_second=9))
        assert get.row(resource(begun), LATER)[-2] == ""

    def test_wide_and_of_all_namespaces(self):
        lines = get.table([resource(DONE)], LATER, wide=True, namespaces=True)
        assert lines[0].split()[-4:] == ["SOURCE", "DESTINATION", "PROOF", "MESSAGE"]
        assert lines[1].split()[:2] == ["climate", "era5"]
        assert "s3://from/key   s3://to/key   TransferVerified   copied" in lines[1]

    def test_one_that_is_being_deleted(self):
        body = resource(HALF, deletionTimestamp=format_time(LATER))
        assert get.row(body, LATER)[1] == "Deleting"

    def test_documents(self, api: Api, run: Command, capsys: pytest.CaptureFixture[str]):
        api.add("era5", COPYING)
        run("get", "era5", "-o", "json")
        assert json.loads(capsys.readouterr().out) == api.copies["default", "era5"]
        run("get", "-o", "yaml")
        listed = yaml.safe_load(capsys.readouterr().out)
        assert (listed["kind"], len(listed["items"])) == ("List", 1)

    def test_documents_are_as_kubectl_prints_them(self, api: Api, run: Command, capsys: Any):
        api.add("era5", managedFields=[{"manager": "m"}])
        for words in (["get", "era5"], ["get"], ["describe", "era5"]):
            assert run(*words, "-o", "json") == Exit.DONE
            shown = capsys.readouterr().out
            assert "era5" in shown
            assert "managedFields" not in shown

    def test_none(self, run: Command, capsys: pytest.CaptureFixture[str]):
        assert run("get") == Exit.DONE
        assert capsys.readouterr().out == "there is no MultipartCopy in namespace default\n"

    def test_a_name_is_of_one_namespace(self, run: Command):
        assert run("get", "era5", "-A") == Exit.USAGE


class TestDescribe:
    def test_the_head(self):
        assert sections(resource(HALF))[""] == [
            "Name          climate/era5",
            "Phase         Copying",
            "Says          copying 20 parts of 5.0 MiB",
            "Source        s3://from/key at http://a:1 (Secret a)",
            "Destination   s3://to/key at http://b:1 (Secret b)",
            "Progress      50%, 10/20 parts of 100.0 MiB, 1.0 MiB/s, 0m50s left",
            "Plan          20 parts of 5.0 MiB in 4 batches of 5",
            "Effort        4 pods of ? with 4 streams",
            "Upload        upload-1",
        ]

    def test_the_timeline_is_in_order_and_names_what_events_no_longer_tell(self):
        events = [event("Copying", 2, "go"), event("OOMKilled", 3, "no\nmore", 4)]
        assert sections(resource(DONE), events)["Timeline"] == [
            "2026-01-02 03:04:05   +0m00s   created",
            "2026-01-02 03:04:05   +0m00s   Claimed     by the store's clock",
            "2026-01-02 03:06:05   +2m00s   Copying     go",
            "2026-01-02 03:07:05   +3m00s   OOMKilled   no more (4 times)",
            "2026-01-02 03:08:05   +4m00s   Copied      copied 100.0 MiB",
        ]

    def test_an_end_is_told_once(self):
        lines = sections(resource(DONE), [event("Copied", 4, "copied")])["Timeline"]
        assert sum("Copied" in line for line in lines) == 1
        twice = [event("SourceChanged", 4, "it is another object") for _ in range(2)]
        lines = sections(resource(FAILED), twice)["Timeline"]
        assert sum("SourceChanged" in line for line in lines) == 1

    def test_of_one_second_the_first_comes_first(self):
        """Kubernetes dates Events to the second, and lists them by their names."""
        words = ["UploadCreated", "Copying", "Claimed"]
        lines = sections(resource(HALF), [event(word, 0) for word in words])["Timeline"]
        told = [line.split()[3] for line in lines]
        assert told == ["created", "Claimed", "UploadCreated", "Copying"]

    def test_what_holds_a_deleted_one(self):
        finalizers = ["multipartcopy.dev/abort-upload"]
        body = resource(HALF, deletionTimestamp=format_time(LATER), finalizers=finalizers)
        assert "held until its upload is aborted" in sections(body)["Timeline"][-1]
        (words,) = sections(body)["What to do"]
        assert words.startswith("it goes when its upload is aborted, which takes the operator")

    def test_batches_done_begun_and_waiting(self):
        pods = [pod("a", 0), pod("b", 1)]
        assert sections(resource(HALF), [], [], pods)["Batches"] == [
            "[#+.+]  1 done, 2 begun, 1 waiting of 4",
            "batch 1   2 of 5 parts   a pod is at it",
            "batch 3   0 of 5 parts   a pod is at it",
        ]

    def test_an_empty_object(self):
        empty = replace(HALF, plan=replace(HALF.plan, part_count=0, batch_count=0), batches={})  # type: ignore[type-var]
        assert sections(resource(empty))["Batches"] == ["an empty object has none"]

    def test_workers(self):
        job = {
            "metadata": {"name": "mpc-1-a1-r1", "creationTimestamp": format_time(NOW)},
            "status": {"active": 1, "failed": 2},
        }
        pods = [pod("b", 1, waiting={"reason": "ImagePullBackOff"}), pod("a", 0)]
        assert sections(resource(HALF), [], [job], pods)["Workers"] == [
            "Job mpc-1-a1-r1: 1 active, 0 succeeded, 2 failed, 4m old",
            "a   batch 1   Running            node-1",
            "b   batch 3   ImagePullBackOff   node-1",
        ]

    def test_a_pod_of_another_version_has_no_batch(self):
        other = pod("a", 0)
        other["spec"]["containers"][0]["env"][0]["value"] = '{"version": 1}'
        assert sections(resource(HALF), [], [], [other])["Workers"] == ["a      Running   node-1"]

    def test_failures(self):
        report = Report("h", 1, 1, 1, error=WorkerError("AccessDenied", "no way in", 7))
        message = report.encode().decode()
        gone = pod("a", 0, terminated={"exitCode": 42, "reason": "Error", "message": message})
        killed = pod("b", 1, terminated={"exitCode": 137, "reason": "OOMKilled"})
        assert sections(resource(FAILED), [], [], [gone, killed])["Failures"] == [
            "latest, before the end: OOMKilled: it needed more (batch 1, part 6, exit status 137)",
            f"2 runs in a row finished no part; the next begins {format_time(LATER)}",
            "a: AccessDenied: no way in (part 7)",
            "b: OOMKilled, exit status 137",
        ]

    def test_the_proof(self):
        assert sections(resource(DONE))["Proof"] == [
            "TransferVerified: the source tells no checksum",
            "transfer   CRC64NVME AAAAAAAAAAA=   equal to the destination's full-object CRC64NVME",
            f"the object has {SIZE} bytes and the ETag abc-20, version v1",
        ]

    @pytest.mark.parametrize(
        ("status", "words"),
        [
            (None, "nobody has looked at it yet: see that the operator runs"),
            (HALF, "to follow it: kubectl multipartcopy watch era5 -n climate"),
            (FAILED, "mend the cause, then: kubectl multipartcopy retry era5 -n climate"),
            (
                replace(HALF, phase=Phase.SUSPENDED),
                "to go on: kubectl multipartcopy resume era5 -n climate",
            ),
            (
                saying(HALF, Reason.QUOTA_EXCEEDED),
                "it goes on by itself once the cause is gone: QuotaExceeded in docs/troubleshooting.md",
            ),
            (
                saying(HALF, Reason.PARTS_DISAGREE),
                "to follow it: kubectl multipartcopy watch era5 -n climate",
            ),
        ],
    )
    def test_what_to_do(self, status: Status | None, words: str):
        assert sections(resource(status))["What to do"] == [words]

    @pytest.mark.parametrize(
        "status",
        [
            replace(FAILED, conditions=(condition("Failed", "True", "SourceNotFound", "m"),)),
            saying(HALF, Reason.SECRET_NOT_FOUND),
        ],
    )
    def test_what_cannot_be_mended_is_made_anew(self, status: Status):
        _, anew = sections(resource(status))["What to do"]
        assert anew.startswith("source and destination cannot be changed")

    def test_memory_that_was_raised_is_shown(self):
        lines = sections(resource(replace(HALF, worker_memory="128Mi")))[""]
        assert "Memory        raised to 128Mi after a kill" in lines

    def test_nothing_is_to_be_done_for_a_good_one(self):
        assert "What to do" not in sections(resource(DONE))

    def test_a_claim_without_progress_and_a_source_that_is_anonymous(self):
        source = replace(SPEC.source.s3, endpoint=None, secret_ref=None, anonymous=True)
        spec = replace(SPEC, source=replace(SPEC.source, s3=source))
        status = replace(UPLOADING, upload=None, claim=Claim(format_time(NOW)))
        lines = sections(resource(status, spec))[""]
        assert "Source        s3://from/key at AWS us-east-1 (anonymous)" in lines

    def test_a_source_of_a_kind_that_is_newer(self):
        assert get.place({"ftp": {"url": "ftp://a"}}) == "ftp:{'url': 'ftp://a'}"

    def test_a_url_is_shown_without_what_may_be_a_secret(self):
        source = {"http": {"url": "https://me:pass@a/b?signature=s#f"}}
        assert get.place(source) == "https://a/b"
        assert describe.side(source) == "https://a/b"
        source["http"]["headersSecretRef"] = {"name": "h"}
        assert describe.side(source) == "https://a/b (headers of Secret h)"

    def test_the_page_is_plain_text(self, api: Api, run: Command, capsys: Any):
        api.add("era5", ended("Failed"))
        assert run("describe", "era5") == Exit.DONE
        shown = capsys.readouterr().out
        assert "\x1b" not in shown
        assert "\n\nTimeline\n  2026-01-02 03:04:05" in shown
        run("describe", "era5", "-o", "json")
        assert json.loads(capsys.readouterr().out)["metadata"]["name"] == "era5"

    def test_in_colour_it_says_the_same(self, capsys: pytest.CaptureFixture[str]):
        made = page(resource(FAILED), [], [], [], now=LATER)
        describe._print_in_colour(made)
        assert capsys.readouterr().out.rstrip() == text(made)


@pytest.mark.parametrize(
    ("states", "width", "expected"),
    [
        ("#+.", 64, "#+."),
        ("##..", 2, "#."),
        ("#.#.", 2, "++"),
        ("####..##", 4, "##.#"),
        ("#.." * 100, 3, "+++"),
        ("#" * 1000 + ".", 10, "#########+"),
    ],
)
def test_a_picture_never_shows_more_done_than_is(states: str, width: int, expected: str):
    assert picture(states, width) == expected
