"""Each row of the table, on a whole copy: the real operator and worker between real servers behind proxies."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.s3 import fault_table
from tests.s3.copying import OPERATOR_LISTS, PART, Copy, Pair, copying, pair
from tests.s3.fault_table import Row
from tests.s3.local_cluster import shortened

CASES = [(row, server) for row in fault_table.ROWS if not row.by for server in row.servers]


@pytest.fixture(scope="module")
def pairs(request: pytest.FixtureRequest) -> Iterator[dict[str, Pair]]:
    with (
        pair(request.getfixturevalue("versitygw")) as versitygw,
        pair(request.getfixturevalue("minio")) as minio,
        shortened(),
    ):
        yield {"versitygw": versitygw, "minio": minio}


@pytest.mark.parametrize(("row", "server"), CASES, ids=[f"{r.name}-{s}" for r, s in CASES])
def test_fault(pairs: dict[str, Pair], tmp_path: Path, row: Row, server: str, faults: Any) -> None:
    with copying(pairs[server], tmp_path) as copy:
        if row.late:
            copy.pair.destination.hold(r"^PUT .*[?&]partNumber=4&", at="answer")
            copy.start(within=row.within, **row.spec)
            copy.pair.destination.wait_held()
            copy.until(lambda: copy.pair.destination.log(OPERATOR_LISTS["match"]))
        copy.pair.source.rules(*row.source)
        copy.pair.destination.rules(*row.destination)
        if row.late:
            copy.pair.destination.release()
        else:
            copy.start(within=row.within, **row.spec)
        assert copy.end() == row.ends, copy.message
        assert re.search(row.says, copy.message)
        assert set(row.told) <= copy.cluster.told()
        struck(copy, row)
        left_nothing(copy, completed=row.ends == "Copied")
        assert copy.sent_again() <= row.resent * PART + PART // 8
        faults.survived(row.name, copy.sent_again())


def struck(copy: Copy, row: Row) -> None:
    """A fault that never happened proves nothing."""
    for proxy, rules in ((copy.pair.source, row.source), (copy.pair.destination, row.destination)):
        met = {entry["rule"] for entry in proxy.log()}
        assert {str(number) for number in range(len(rules))} <= met
        assert proxy.spent() or any("times" not in rule for rule in rules)


def left_nothing(copy: Copy, *, completed: bool) -> None:
    assert copy.stored() == (copy.data if completed else None)
    assert copy.uploads() == []
    assert copy.finalizers == []
