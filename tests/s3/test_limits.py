"""Limits of an operator, with copies between real servers."""

from dataclasses import replace
from pathlib import Path

from dev.servers import Server
from tests.s3.copying import copying, pair
from tests.s3.local_cluster import IMPATIENT

PART_2 = r"^PUT /[^?]*/to[?].*partNumber=2&"


def test_copies_wait_for_their_turn_and_get_it(versitygw: Server, tmp_path: Path) -> None:
    """Nothing is looked at before; one that cannot begin is no obstacle."""
    with pair(versitygw) as stores, copying(stores, tmp_path) as copy:
        copy.limits = replace(IMPATIENT, max_active_copies=1)
        copy.pair.destination.hold(PART_2)
        copy.start()
        copy.pair.destination.wait_held()
        spec = copy.cluster.copies["copy"]["spec"]
        there = spec["destination"]["s3"]
        for name, secret in (("poor", "none"), ("next", "s3")):
            side = {"s3": {**there, "key": name, "secretRef": {"name": secret}}}
            copy.cluster.create(name, {**spec, "destination": side})

        def reason(name: str) -> str:
            return str(copy.cluster.condition(name).get("reason", ""))

        copy.until(lambda: reason("next") == reason("poor") == "QueuedByOperator")
        assert "1 copies are under way of 1" in copy.cluster.condition("next")["message"]
        assert "finalizers" not in copy.cluster.copies["next"]["metadata"]
        copy.pair.destination.open()
        assert copy.end() == "Copied"
        copy.until(lambda: reason("next") == "Copied")
        copy.until(lambda: reason("poor") == "SecretNotFound")


def test_a_run_has_no_more_pods_than_there_are(versitygw: Server, tmp_path: Path) -> None:
    with pair(versitygw) as stores, copying(stores, tmp_path) as copy:
        copy.limits = replace(IMPATIENT, max_pods=1)
        copy.pair.destination.hold(PART_2)
        copy.start()
        copy.pair.destination.wait_held()
        (job,) = copy.cluster.jobs.values()
        assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (2, 1)
        copy.pair.destination.open()
        assert copy.end() == "Copied"
        assert copy.stored() == copy.data
