"""What users of other tools have complained of, in public, and the test that shows that it does not happen here.

A complaint is `project#number`, of its issues on GitHub. A test is `file::name`; a fault is a row of
`tests/s3/fault_table.py`, each of which is tried on whole copies.
"""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.s3 import fault_table

ROOT = Path(__file__).parents[2]


class Complaint(NamedTuple):
    what: str
    where: str
    tests: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


COPIES = "s3/test_faults_copies.py::"
WORKER = "s3/test_worker_copies.py::"

COMPLAINTS = [
    Complaint(
        "a copy that dies begins anew",
        "rclone#87, rclone#3019, minio#20071, velero#7919",
        (
            COPIES + "test_an_operator_that_is_killed_costs_no_byte",
            COPIES + "test_a_worker_that_is_killed_costs_what_it_had_in_flight",
            WORKER + "test_killed_at_any_moment_the_next_one_goes_on",
        ),
    ),
    Complaint(
        "memory grows with the part size",
        "rclone#4259, rclone#7141, argo#10378, juicefs#4108",
        (
            WORKER + "test_memory_does_not_grow_with_the_part_size",
            "cluster/test_copy.py::test_parts_of_512_mib_through_64_mib_pods",
        ),
    ),
    Complaint(
        "a body that cannot be rewound is not retried",
        "botocore#911, boto3#751",
        ("unit/worker/test_relay.py::test_a_destination_worth_another_try",),
    ),
    Complaint(
        "checksums that the store was not asked about break it",
        "s3transfer#327, boto3#4400, botocore#3352",
        (COPIES + "test_no_store_is_sent_a_checksum_that_it_was_not_asked_about",),
    ),
    Complaint(
        "a 412 of a completion is taken for an object that is there",
        "langfuse#13280",
        faults=("412 of a Complete, the destination unchanged",),
    ),
    Complaint(
        "aws-chunked is sent to stores that do not know it",
        "milvus#28670, seaweedfs#6517",
        ("unit/worker/test_relay.py::test_a_store_that_does_not_understand_trailers",),
        (
            "checksum refused by Create",
            "checksum accepted by Create, refused with the parts",
        ),
    ),
    Complaint(
        "unequal parts fail when everything has been sent",
        "opendal#2904, iceberg-rust#1406, duckdb-httpfs#405",
        ("unit/test_plan.py::test_parts_cover_the_object_exactly_and_are_equal",),
    ),
    Complaint(
        "the limit of 10,000 parts is found late, or cuts the object off",
        "arrow#41506, mountpoint-s3#498, ocis#10775",
        (
            "unit/test_plan.py::test_no_plan_says_what_to_write",
            "unit/test_plan.py::test_the_part_size_that_the_message_asks_for_is_taken",
        ),
    ),
    Complaint(
        "a repeated completion is answered 404, and the copy fails",
        "minio#13318, s5cmd#450",
        ("s3/test_settle.py::test_a_lost_answer_is_settled_by_what_is_there",),
        ("404 NoSuchUpload of a repeated Complete",),
    ),
    Complaint(
        "an object that exists is taken for the one that was sent",
        "ClickHouse#114348",
        (
            COPIES + "test_a_strangers_object_between_a_complete_and_its_repeat_is_not_claimed",
            "s3/test_settle.py::test_a_strangers_overwrite_after_a_lost_answer_is_not_claimed",
        ),
    ),
    Complaint(
        "a 200 with an error in its body is a success",
        "arrow-rs-object-store#122, scylladb#20517, duckdb-httpfs#393",
        faults=("200 with an Error in the body",),
    ),
    Complaint(
        "a store that works in silence is given up",
        "rclone#9616, smithy-rs#4439",
        ("unit/worker/test_relay.py::test_a_store_may_ponder_over_a_part",),
        ("silence while a store hashes a part or an object",),
    ),
    Complaint(
        "a part that arrives late damages what is completed",
        "ceph#16732, ceph#58082",
        (COPIES + "test_a_part_that_arrives_late_is_harmless",),
        ("part that arrives late from a cut-off worker",),
    ),
    Complaint(
        "parts are left behind and paid for",
        "rclone#4033, ocis#4968, scylladb#20425",
        (
            COPIES + "test_an_abort_that_stays_impossible_names_the_upload",
            "cluster/test_deaths.py::test_deleted_while_the_operator_is_down",
            "cluster/test_kill_matrix.py::test_killed_between_any_two_effects",
        ),
    ),
    Complaint(
        "a source that changes under the copy is mixed",
        "s3transfer#86",
        (WORKER + "test_source_overwritten_in_the_middle",),
        ("412 of the source", "another ETag between ranges"),
    ),
    Complaint(
        "an answer to a range is not looked at",
        "htcat#8",
        ("unit/worker/test_relay.py::test_a_source_that_is_not_the_pinned_one",),
        ("wrong Content-Range", "Content-Range of another size", "200 instead of 206"),
    ),
    Complaint(
        "metadata is lost above a threshold",
        "boto3#1227, aws-cli#2253, s3cmd#1091",
        (COPIES + "test_headers_and_metadata_are_not_lost_above_a_threshold",),
    ),
    Complaint(
        "an ETag that is no MD5 is called corruption",
        "rclone#56, rclone#5304",
        ("unit/worker/test_relay.py::test_an_etag_that_may_be_no_md5",),
    ),
    Complaint(
        "a token that expires ends the copy",
        "aws-cli#4562",
        (WORKER + "test_a_secret_that_rotates_is_read_again",),
        ("400 ExpiredToken", "403 RequestTimeTooSkewed"),
    ),
    Complaint(
        "SlowDown is answered with more of the same",
        "nextcloud#53419",
        ("unit/worker/test_relay.py::test_retry_after_is_obeyed_up_to_its_limit",),
        ("503 SlowDown with Retry-After", "429"),
    ),
    Complaint(
        "one pair of keys for two stores",
        "aws-cli#2885, aws-cli#1989, s5cmd#700",
        (WORKER + "test_wrong_secret", WORKER + "test_tls_with_a_ca_of_its_own"),
    ),
    Complaint(
        "an object of zero bytes cannot be copied",
        "distribution#3866, aws-sdk-php#1649",
        (
            COPIES + "test_a_lost_answer_to_the_writing_of_an_empty_object",
            "cluster/test_copy.py::test_small_objects",
        ),
    ),
    Complaint(
        "a pod that was evicted, or never starts, fails without a word",
        "velero#10321, velero#8971, velero#8316",
        (
            COPIES + "test_an_evicted_worker_counts_against_nothing",
            "cluster/test_waiting.py::test_a_pod_too_large_for_every_node",
            "cluster/test_waiting.py::test_a_quota",
        ),
    ),
    Complaint(
        "a resource that grows too large is lost in silence",
        "renovate-operator#616, kubernetes#107233",
        (COPIES + "test_a_ledger_that_no_longer_fits_is_a_failure_and_not_a_silence",),
    ),
]


@pytest.mark.parametrize("complaint", COMPLAINTS, ids=lambda complaint: complaint.what)
def test_it_is_tried(complaint: Complaint) -> None:
    assert complaint.tests or complaint.faults
    assert re.fullmatch(r"[\w.-]+#\d+(, [\w.-]+#\d+)*", complaint.where)
    for test in complaint.tests:
        file, _, name = test.partition("::")
        assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text(), test
    assert set(complaint.faults) <= {row.name for row in fault_table.ROWS}
