"""What is written to etcd, of the embedded cluster: its own counters, and every write by whose it is."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from dev.cluster.components import etcd_metrics, etcdctl
from dev.cluster.prereqs import TEST_PACKAGES, install


@dataclass(frozen=True)
class Counters:
    """Since etcd's start; ``put_bytes`` are those of keys and values.

    Its counter of the log's bytes is no use: etcd 3.4 counts small writes twice.
    """

    puts: float
    put_bytes: float

    def since(self, before: Counters) -> Counters:
        return Counters(self.puts - before.puts, self.put_bytes - before.put_bytes)


@dataclass
class Writes:
    """Of one kind of object: how many, key and value in bytes, the largest."""

    count: int = 0
    bytes: int = 0
    largest: int = 0

    def add(self, size: int) -> None:
        self.count, self.bytes = self.count + 1, self.bytes + size
        self.largest = max(self.largest, size)


@dataclass
class Tally:
    """The writes by kind: those of one namespace, and all others."""

    namespace: str
    ours: dict[str, Writes] = field(default_factory=dict)
    others: dict[str, Writes] = field(default_factory=dict)

    def hear(self, line: str) -> None:
        """A line of `etcdctl watch --write-out=json`: some events, of which a deletion has no value."""
        for event in json.loads(line).get("Events", []):
            if event.get("type"):
                continue
            key = base64.b64decode(event["kv"]["key"])
            size = len(key) + _decoded_length(event["kv"].get("value", ""))
            kind, namespace = place_of(key.decode(errors="replace"))
            whose = self.ours if namespace == self.namespace else self.others
            whose.setdefault(kind, Writes()).add(size)

    @property
    def bytes(self) -> int:
        return sum(w.bytes for whose in (self.ours, self.others) for w in whose.values())


def place_of(key: str) -> tuple[str, str]:
    """Kind and namespace: ``/registry/pods/NAMESPACE/NAME``, ``/registry/GROUP/KIND/NAMESPACE/NAME``."""
    words = key.strip("/").split("/")[1:]
    if words and "." in words[0]:  # custom resources have their group before their kind
        words = words[1:]
    if words and words[0] == "services":  # services/specs, services/endpoints
        words = words[1:]
    namespace = words[1] if len(words) > 2 else ""
    return words[0] if words else "", namespace


def _decoded_length(text: str) -> int:
    """Of base64."""
    return len(text) * 3 // 4 - text[-2:].count("=")


def parse_counters(text: str) -> Counters:
    """From etcd's metrics. Raises KeyError for one that is missing."""
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    return Counters(
        values["etcd_mvcc_put_total"],
        values["etcd_debugging_mvcc_total_put_size_in_bytes"],
    )


def counters() -> Counters:
    return parse_counters(etcd_metrics())


@contextmanager
def watching(namespace: str) -> Iterator[Tally]:
    """Every write, heard of by a watch at etcd itself, which the API server has no part in."""
    install(TEST_PACKAGES)
    tally = Tally(namespace)
    process = subprocess.Popen(
        etcdctl("watch", "--prefix", "/registry/", "--write-out=json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def read() -> None:
        for line in process.stdout or ():
            tally.hear(line)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield tally
    finally:
        process.terminate()
        process.wait(10)
        reader.join(10)
