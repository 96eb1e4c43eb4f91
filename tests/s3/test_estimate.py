"""`kubectl multipartcopy estimate`, compared with what a real copy asks of real servers."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from multipartcopy.api.codec import from_json
from multipartcopy.api.reasons import Reason
from multipartcopy.api.status import Plan
from multipartcopy.cli.estimate import requests
from tests.proxy_client import Proxy
from tests.s3.copying import SIZE, Pair, copying, pair
from tests.s3.local_cluster import shortened


@pytest.fixture(scope="module", params=["versitygw", "minio"])
def between(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with pair(request.getfixturevalue(request.param)) as made, shortened():
        yield made


def asked(door: Proxy) -> Counter[str]:
    """By operation; the two who list parts are told apart by how many they ask for."""
    counted: Counter[str] = Counter()
    for entry in door.log():
        method, _, path = entry["request"].partition(" ")
        if method == "GET" and "uploadId=" in path:
            counted["list parts" if "max-parts=" in path else "operator lists parts"] += 1
        else:
            counted["list uploads" if method == "GET" and "?uploads" in path else method] += 1
    return counted


@pytest.mark.parametrize("size", [SIZE, 0])
@pytest.mark.parametrize("verification", ["Auto", "ReadBack"])
def test_a_copy_asks_for_as_much(between: Pair, tmp_path: Path, size: int, verification: str):
    """But for one HEAD of a source that has parts, and the listings while it runs."""
    with copying(between, tmp_path, bytes(size)) as copy:
        copy.start(verification=verification)
        assert copy.end() == Reason.COPIED
        source, destination = requests(from_json(Plan, copy.status["plan"]), verification)
        seen = asked(between.source)
        assert (seen["GET"] + seen["HEAD"] + 1, 0) == (source.reads, source.writes), seen
        seen = asked(between.destination)
        assert seen["GET"] + seen["HEAD"] == destination.reads, seen
        lists = seen["list uploads"] + seen["list parts"]
        once = 0 if size == 0 else 2 if verification == "ReadBack" else 1
        assert seen["PUT"] + seen["POST"] + lists + once == destination.writes, seen
        assert seen["operator lists parts"] >= once


@pytest.mark.parametrize("verification", ["Auto", "ReadBack"])
def test_so_does_one_within_a_store(between: Pair, tmp_path: Path, verification: str):
    with copying(between, tmp_path) as copy:
        copy.start(within=True, verification=verification)
        assert copy.end() == Reason.COPIED
        plan = from_json(Plan, copy.status["plan"])
        source, destination = requests(plan, verification, server_side=True)
        seen = asked(between.destination)
        assert seen["GET"] + seen["HEAD"] + 1 == source.reads + destination.reads, seen
        lists = seen["list uploads"] + seen["list parts"] + 1
        assert seen["PUT"] + seen["POST"] + lists == destination.writes, seen
