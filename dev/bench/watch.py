"""What a client of the API server hears, and when: watches of a namespace, each event with its time."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from dev.lab import LabError

_PATHS = {
    "MultipartCopy": "/apis/multipartcopy.dev/v1alpha1/namespaces/{}/multipartcopies",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "Pod": "/api/v1/namespaces/{}/pods",
}


@dataclass(frozen=True)
class Seen:
    """An object as it was heard of at a time, in seconds since the epoch; ``gone``: as it was in the end."""

    at: float
    kind: str
    body: dict[str, Any]
    gone: bool = False

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])

    @property
    def owner(self) -> str:
        """The name of its owner, empty for none."""
        owners = self.body["metadata"].get("ownerReferences", [])
        return str(owners[0]["name"]) if owners else ""

    def holds(self, condition: str) -> bool:
        """Whether a condition of this type is true."""
        conditions = self.body.get("status", {}).get("conditions", [])
        return any(c["type"] == condition and c["status"] == "True" for c in conditions)


class Watch:
    """Everything heard since it began."""

    def __init__(self) -> None:
        self._seen: list[Seen] = []
        self._news = threading.Condition()

    def hear(self, kind: str, line: str) -> None:
        event = json.loads(line)
        if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
            with self._news:
                gone = event["type"] == "DELETED"
                self._seen.append(Seen(time.time(), kind, event["object"], gone))
                self._news.notify_all()

    def of(self, since: float) -> list[Seen]:
        """What was heard since a time, in its order."""
        with self._news:
            return [seen for seen in self._seen if seen.at >= since]

    def wait(self, what: str, check: Callable[[Seen], bool], seconds: float) -> Seen:
        """The first that passes, heard already or yet to come. Raises LabError."""
        end, known = time.monotonic() + seconds, 0
        with self._news:
            while True:
                for seen in self._seen[known:]:
                    if check(seen):
                        return seen
                known = len(self._seen)
                left = end - time.monotonic()
                if left <= 0 or not self._news.wait(left):
                    raise LabError(f"{what}: not within {seconds:.0f} s")


@contextmanager
def watching(namespace: str, *kinds: str) -> Iterator[Watch]:
    """One connection for each kind, by kubectl, which passes on what it hears at once."""
    watch = Watch()
    with ExitStack() as stack:
        for kind in kinds:
            command = ["kubectl", "get", "--raw", f"{_PATHS[kind].format(namespace)}?watch=true"]
            process = stack.enter_context(
                subprocess.Popen(
                    command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
                )
            )
            stack.callback(process.terminate)
            threading.Thread(target=_read, args=(watch, kind, process), daemon=True).start()
        yield watch


def _read(watch: Watch, kind: str, process: subprocess.Popen[str]) -> None:
    for line in process.stdout or ():
        watch.hear(kind, line)
