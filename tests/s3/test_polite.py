"""Less when a store asks for less, and no more than the bandwidth."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dev.servers import Server
from multipartcopy.api.reasons import Reason
from multipartcopy.worker import framing
from tests.proxy_client import proxy, refusal
from tests.s3.copying import Copy, MiB, copying, pair
from tests.s3.test_worker_copies import prepare, server

__all__ = ["prepare", "server"]

PUT = "^PUT .*[?&]partNumber="
BY_A_CLOCK_OF_ITS_OWN = """
import json, os, sys, threading
from multipartcopy.worker import main
from multipartcopy.worker.budget import Budget

lock, now = threading.Lock(), [0.0]

class Bucket(Budget):
    def __init__(self, rate, stop):
        super().__init__(rate, stop, clock=lambda: now[0])

    def take(self, count):
        with lock:
            now[0] += self._reserve(count)

main.Budget = Bucket
code = main.main(os.environ)
print(json.dumps({"message": "clock", "seconds": now[0]}), flush=True)
os._exit(code)
"""


@pytest.mark.parametrize(
    "fault", [refusal(503, "SlowDown"), refusal(429, Retry_After="1")], ids=str
)
def test_a_crowded_store_gets_fewer_streams(versitygw: Server, prepare: Any, fault: Any) -> None:
    with proxy(versitygw.endpoint) as door:
        copy = prepare(
            versitygw, replace(versitygw, endpoint=door.endpoint), size=150 * MiB, streams=8
        )
        door.rules(
            {"match": PUT, "above": 2, "do": fault},
            {"match": PUT, "do": {"kind": "stall", "at": "answer", "seconds": 0.1}},
        )
        code, log = copy.run()
        assert code == 0
        puts = door.log(PUT)
        door.open()
        copy.complete()
        assert copy.stored_sha256() == copy.sha256
    refused = [put["status"] != 200 for put in puts]
    crowd = [put["under_way"] for put in puts]
    half = len(puts) // 2
    assert any(refused)
    assert sum(refused[half:]) <= sum(refused[:half])
    assert max(crowd[half:]) <= 4 < max(crowd) <= 8
    assert min(line["streams"] for line in log if line["message"] == "pace") <= 4


@pytest.mark.parametrize("streams", [1, 4])
def test_the_bandwidth_is_kept_to_the_byte(server: Server, prepare: Any, streams: int) -> None:
    """Its clock stands still but for the waits: what they come to is the size by the rate."""
    size, rate = 40 * MiB, 4 * MiB
    with proxy(server.endpoint) as source, proxy(server.endpoint) as destination:
        here, there = (replace(server, endpoint=door.endpoint) for door in (source, destination))
        copy = prepare(here, there, size=size, streams=streams, checksum=False)
        copy.task = replace(copy.task, bytes_per_second=rate)
        code, log = copy.run(BY_A_CLOCK_OF_ITS_OWN)
        assert (code, source.bytes_got(), destination.bytes_put()) == (0, size, size)
        copy.complete()
        assert copy.stored_sha256() == copy.sha256
    assert log[-1] == {"message": "clock", "seconds": (size - framing.CHUNK) / rate}


def test_a_limited_pod_stops_at_once(server: Server, prepare: Any) -> None:
    copy = prepare(server, server, size=20 * MiB, part_size=20 * MiB)
    copy.task = replace(copy.task, bytes_per_second=1 << 10)
    with copy.worker(
        "import os; from multipartcopy.worker.main import run; run(os.environ)"
    ) as pod:
        assert pod.stdout
        assert json.loads(pod.stdout.readline())["streams"] == 1
        pod.terminate()
        assert pod.wait(10) == 143
    assert copy.report().error.code == Reason.WORKER_TERMINATED


def test_a_change_of_the_limit_reaches_a_running_copy(versitygw: Server, tmp_path: Path) -> None:
    with pair(versitygw) as stores, copying(stores, tmp_path) as copy:
        copy.pair.destination.hold(PUT, at="request")
        copy.start(bandwidthLimit="2Mi")
        copy.pair.destination.wait_held(2)
        assert shares(copy) == ["1048576"]
        copy.cluster.change_spec("copy", bandwidthLimit="2Gi")
        copy.until(lambda: shares(copy) == ["1073741824"])
        copy.pair.destination.open()
        assert copy.end() == "Copied"
        assert copy.stored() == copy.data


def shares(copy: Copy) -> list[str]:
    """What the Jobs that are not being deleted say that each of their pods may move."""
    metas = [job["metadata"] for job in list(copy.cluster.jobs.values())]
    name = "multipartcopy.dev/bytes-per-second"
    return [meta["annotations"][name] for meta in metas if "deletionTimestamp" not in meta]
