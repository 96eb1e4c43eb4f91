"""The arithmetic of the benches on a cluster: what was counted, heard and sent, to figures."""

import asyncio
import base64
import contextlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.bench import report
from dev.bench.latency import figures as latency
from dev.bench.ledger import figures as ledger
from dev.bench.ledger.etcd import Counters, Tally, parse_counters, place_of
from dev.bench.ledger.figures import Snapshot
from dev.bench.ledger.flows import flow_schemas, parse_requests
from dev.bench.ledger.process import Use, parse_use
from dev.bench.pods import figures as pods
from dev.bench.pods.figures import Flow, Sample, TooShortError, flow
from dev.bench.pods.throttle import Throttle
from dev.bench.stage import MiB
from dev.bench.watch import Seen, Watch
from dev.lab import LabError

ROOT = Path(__file__).parents[2]


# Pods.


def test_the_rate_is_that_of_the_time_in_which_all_pods_were_served() -> None:
    early = [(slot, "a", 10) for slot in range(100, 150)]
    late = [(slot, "b", 10) for slot in range(120, 170)]
    found = flow([*early, *late, (90, "operator", 1)], clients=2, least=100)
    assert found.seconds == pytest.approx(2.8)  # from slot 121 until slot 149
    assert found.bytes_per_second == pytest.approx(200)
    assert (found.begin, found.end) == (pytest.approx(10.0), pytest.approx(17.0))


def test_pods_that_took_turns_were_never_all_at_work() -> None:
    with pytest.raises(TooShortError, match="never all at work"):
        flow([(1, "a", 100), (2, "a", 100), (3, "b", 100), (4, "b", 100)], 2, 100)


def test_a_pod_too_many_was_a_second_try() -> None:
    with pytest.raises(TooShortError, match="2 clients were served, not 1"):
        flow([(1, "a", 100), (9, "a", 100), (5, "b", 100)], 1, 100)


def sample(count: int, rate: float, copying: float = 10.0) -> Sample:
    return Sample(count, count * 600, Flow(rate, 9, 0, 10), copying, 20.0, 0.2, True)


def test_what_is_linear_is_reckoned_from_the_one_pod_of_the_same_round() -> None:
    slow = {1: sample(1, 50), 4: sample(4, 190)}
    fast = {1: sample(1, 100), 4: sample(4, 380, copying=12.5)}
    rows = pods.make_rows([slow, fast])
    assert [row["steady_of_linear"]["median"] for row in rows] == [1, 0.95]
    assert rows[1]["steady_bytes_per_second"] == {"median": 285, "min": 190, "max": 380}
    assert rows[1]["with_start_of_linear"] == {"median": 0.9, "min": 0.8, "max": 1}


@pytest.mark.parametrize(("rate", "met"), [(1440, True), (1430, False)])
def test_the_goal_is_for_every_number_of_pods(rate: float, met: bool) -> None:
    rows = pods.make_rows([{1: sample(1, 100), 16: sample(16, rate), 8: sample(8, 800)}])
    (verdict,) = (v for v in pods.verdicts(rows) if "linear" in v.goal)
    assert verdict.met is met
    assert "with 16 pods" in verdict.measured
    assert len(pods.table(rows).splitlines()) == 5


def test_the_throttle_passes_everything_on_and_counts_it_by_client() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * int((await reader.readuntil()).decode()))
        await writer.drain()
        writer.close()

    async def main() -> tuple[bytes, Throttle]:
        upstream = await asyncio.start_server(serve, "127.0.0.1", 0)
        throttle = Throttle(upstream.sockets[0].getsockname(), rate=10 * MiB)
        door = await asyncio.start_server(throttle.serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*door.sockets[0].getsockname())
        writer.write(b"300000\n")
        received = await reader.read()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        for server in (door, upstream):
            server.close()
        return received, throttle

    received, throttle = asyncio.run(main())
    assert received == b"x" * 300_000
    assert {client for _, client, _ in throttle.rows()} == {"127.0.0.1"}
    assert sum(count for _, _, count in throttle.rows()) == 300_000


# Latency.


def seen(at: float, kind: str, name: str, owner: str = "", **body: Any) -> Seen:
    owners = [{"name": owner}] if owner else []
    return Seen(at, kind, {"metadata": {"name": name, "ownerReferences": owners}, **body})


def condition(kind: str) -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": "True"}]}


def test_a_timeline_has_the_first_time_of_each_step_of_its_own_objects() -> None:
    ended = {"containerStatuses": [{"state": {"terminated": {}}}]}
    events = [
        seen(10.0, "MultipartCopy", "copy", status={}),
        seen(10.2, "MultipartCopy", "copy", status={"claim": {"time": "now"}}),
        seen(
            10.3, "MultipartCopy", "copy", status={"claim": {"time": "now"}, "upload": {"id": "u"}}
        ),
        seen(10.5, "Pod", "other-pod", "other", spec={"nodeName": "node"}),
        seen(10.6, "Job", "job", "copy"),
        seen(10.8, "Pod", "pod", "job", spec={}),
        seen(11.0, "Pod", "pod", "job", spec={"nodeName": "node"}),
        seen(12.5, "Pod", "pod", "job", spec={"nodeName": "node"}, status=ended),
        seen(13.0, "MultipartCopy", "copy", status=condition("Complete")),
        seen(14.0, "MultipartCopy", "copy", status=condition("Complete")),
    ]
    found = latency.timeline(latency.COPY, 10.0, latency.family(events, "copy"))
    assert found == {
        "the claim is written": 0.2,
        "the upload is recorded": 0.3,
        "the Job is there": 0.6,
        "its pod is there": 0.8,
        "the pod has a node": 1.0,
        "its container was seen to have ended": 2.5,
        "Complete": 3.0,
    }


def test_a_bare_job_is_complete_by_its_own_condition() -> None:
    events = [seen(1, "Job", "bare"), seen(3, "Job", "bare", status=condition("Complete"))]
    assert latency.timeline(latency.BARE, 1, events) == {"the Job is there": 0, "Complete": 2}


@pytest.mark.parametrize(("copy", "met"), [(4.0, True), (4.2, False)])
def test_the_ratio_is_that_of_the_medians(copy: float, met: bool) -> None:
    times = [(copy, 2.0), (9.0, 3.0), (3.0, 1.0)]
    rounds = [{"copy": {"Complete": mine}, "bare": {"Complete": bare}} for mine, bare in times]
    result = latency.make_result(rounds)
    assert result["ratio_of_medians"] == copy / 2
    assert result["ratio"] == {"median": 3.0, "min": copy / 2, "max": 3.0}
    assert [verdict.met for verdict in latency.verdicts(result)] == [met]
    assert "Complete" in latency.table(result)


def test_a_step_that_few_rounds_have_seen_is_left_out() -> None:
    one, two = {"Complete": 1.0, "the Job is there": 0.1}, {"Complete": 1.0}
    result = latency.make_result([{"copy": one, "bare": two}, {"copy": two, "bare": two}])
    assert list(result["timeline"]["copy"]) == ["Complete"]


def test_a_watch_is_waited_for_what_was_heard_and_what_is_to_come() -> None:
    watch = Watch()
    watch.hear("Job", json.dumps({"type": "BOOKMARK", "object": {}}))
    watch.hear("Job", json.dumps({"type": "ADDED", "object": {"metadata": {"name": "a"}}}))
    assert watch.wait("a", lambda event: event.name == "a", 1).kind == "Job"
    with pytest.raises(LabError, match="b: not within"):
        watch.wait("b", lambda event: event.name == "b", 0.01)


# Ledger.


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("/registry/pods/bench/worker-0", ("pods", "bench")),
        ("/registry/multipartcopy.dev/multipartcopies/bench/copy", ("multipartcopies", "bench")),
        ("/registry/services/endpoints/bench/store", ("endpoints", "bench")),
        ("/registry/minions/node", ("minions", "")),
        ("/registry/apiregistration.k8s.io/apiservices/v1.", ("apiservices", "")),
    ],
)
def test_a_key_of_etcd_says_whose_it_is(key: str, place: tuple[str, str]) -> None:
    assert place_of(key) == place


def put(key: str, value: bytes) -> dict[str, Any]:
    encode = base64.b64encode
    return {"kv": {"key": encode(key.encode()).decode(), "value": encode(value).decode()}}


def test_writes_are_counted_by_kind_with_key_and_value() -> None:
    tally = Tally("bench")
    key = "/registry/pods/bench/worker-0"
    events = [put(key, b"x" * 100), put(key, b"x" * 41), put("/registry/leases/kube/node", b"xy")]
    tally.hear(json.dumps({"Header": {}, "Events": events}))
    tally.hear(json.dumps({"Events": [{"type": 1, **put(key, b"")}]}))
    pods_of_ours = tally.ours["pods"]
    assert pods_of_ours.count == 2
    assert pods_of_ours.bytes == 141 + 2 * len(key)
    assert pods_of_ours.largest == 100 + len(key)
    assert list(tally.others) == ["leases"]
    assert tally.bytes == pods_of_ours.bytes + 2 + len("/registry/leases/kube/node")


def test_the_counters_of_etcd_are_read_by_their_names() -> None:
    text = """\
# TYPE etcd_mvcc_put_total counter
etcd_mvcc_put_total 1057
# TYPE etcd_debugging_mvcc_total_put_size_in_bytes gauge
etcd_debugging_mvcc_total_put_size_in_bytes 1.24e+06
"""
    found = parse_counters(text)
    assert found == Counters(1057, 1.24e6)
    assert found.since(Counters(57, 2.4e5)) == Counters(1000, 1e6)


def test_requests_are_counted_by_verb_and_resource_and_nobody_elses() -> None:
    text = """\
apiserver_flowcontrol_dispatched_requests_total{flow_schema="multipartcopy-bench-get-multipartcopies",priority_level="workload-low"} 12
apiserver_flowcontrol_dispatched_requests_total{flow_schema="multipartcopy-bench-patch-multipartcopies-status",priority_level="workload-low"} 3
apiserver_flowcontrol_dispatched_requests_total{flow_schema="service-accounts",priority_level="workload-low"} 900
apiserver_request_total{verb="GET"} 9
"""  # noqa: E501 - as it comes
    assert parse_requests(text) == {"get multipartcopies": 12, "patch multipartcopies/status": 3}


def test_every_request_that_rbac_allows_the_operator_has_a_counter() -> None:
    roles = yaml.safe_load_all((ROOT / "manifests/rbac.yaml").read_text())
    (role,) = (role for role in roles if role["kind"] == "ClusterRole")
    allowed = {
        f"{verb} {resource}"
        for rule in role["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
    }
    rare = {f"{verb} customresourcedefinitions" for verb in ("list", "watch")}
    rare |= {"update multipartcopies/finalizers", "delete multipartcopies"}
    assert allowed - rare == set(flow_schemas()) - {"other"}


def test_cpu_and_memory_are_read_as_proc_has_them() -> None:
    before = " ".join(["S", *["1"] * 10])
    stat = f"42 (python3 (x) y) {before} 250 50 0 0 20 0 9 0 100 1 1"
    status = "Name:\tpython3\nVmHWM:\t   90000 kB\nVmRSS:\t   80000 kB\nThreads:\t9\n"
    assert parse_use(7.0, stat, status) == Use(7.0, 3.0, 80000 << 10, 90000 << 10)


def ledger_result(**changes: Any) -> dict[str, Any]:
    tally = Tally("bench")
    value = b"x" * changes.pop("written", 1000)
    key = "/registry/multipartcopy.dev/multipartcopies/bench/copy"
    tally.hear(json.dumps({"Events": [put(key, value), put("/registry/minions/node", b"x")]}))

    def at(seconds: float, puts: int, requests: int, cpu: float, rss: int, peak: int) -> Snapshot:
        counted = Counter({"get pods": requests})
        use = Use(seconds, cpu, rss * MiB, peak * MiB)
        return Snapshot(seconds, Counters(puts, puts * 100), counted, use)

    what: dict[str, Any] = {
        "parts": 100,
        "part_bytes": 5 * MiB,
        "batches": 2,
        "resource_bytes": 5000,
        "idle": (at(0, 0, 0, 0, 90, 95), at(100, 50, 10, 1, 91, 95)),
        "copy": (at(100, 50, 10, 1, 91, 95), at(1100, 650, 60, 41, 95, 100)),
        "tally": tally,
        "fresh": Use(0, 0, 70 * MiB, 70 * MiB),
        "samples": [Use(1200, 42, 92 * MiB, 100 * MiB)],
    }
    return ledger.make_result(**(what | changes))


def test_what_a_copy_costs_is_told_apart_from_what_the_cluster_costs_anyway() -> None:
    result = ledger_result()
    assert ledger.written(result) == 1000 + len(
        "/registry/multipartcopy.dev/multipartcopies/bench/copy"
    )
    assert result["etcd"]["put_bytes"] == 60_000
    assert result["etcd"]["idle_put_bytes_per_second"] == 50
    assert result["requests_per_part"] == 0.5
    assert result["operator"]["cpu_seconds"] == 40
    assert result["operator"]["rss"] == {
        "fresh": 70 * MiB,
        "warm": 91 * MiB,
        "peak": 100 * MiB,
        "end": 92 * MiB,
    }
    text = ledger.table(result)
    assert "the copy's multipartcopies" in text
    assert "peak 100.0" in text


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({}, []),
        ({"resource_bytes": 600_000}, ["less than 600 KB"]),
        ({"written": 64 * MiB}, ["less than 64 MiB"]),
        ({"fresh": Use(0, 0, 0, 0)}, []),
    ],
)
def test_the_goals_of_the_ledger(changes: dict[str, Any], missed: list[str]) -> None:
    found = ledger.verdicts(ledger_result(**changes))
    assert [verdict.goal for verdict in found if not verdict.met] == missed


# All.


@pytest.mark.parametrize("bench", ["latency", "pods", "ledger"])
def test_the_page_has_a_place_for_each_bench(bench: str) -> None:
    page = (ROOT / "docs/bench.md").read_text()
    written = report.replace_measured(page, f"news of {bench}", bench)
    assert f"news of {bench}" in written
    assert report.replace_measured(written, "x", bench) == report.replace_measured(page, "x", bench)
