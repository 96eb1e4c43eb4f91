"""As much of an API server as the commands talk to: MultipartCopies and Secrets, on loopback.

What a real one accepts and refuses is for the tiers that have one; here it only has to answer.
"""

import json
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]
NAMESPACE = "default"
CREATED = "2026-01-02T03:04:05Z"


class Api(ThreadingHTTPServer):
    """``held``: names that stay when they are deleted; ``refusals``: a path's pattern to status and message."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.copies: dict[tuple[str, str], Object] = {}
        self.secrets: dict[str, dict[str, str]] = {}
        self.children: dict[str, list[Object]] = {"events": [], "jobs": [], "pods": []}
        self.held: set[str] = set()
        self.refusals: dict[str, tuple[int, str]] = {}
        self.asked: list[str] = []
        self.tokens: list[str] = []
        self.agents: set[str] = set()

    @property
    def kubeconfig(self) -> Object:
        here = f"http://127.0.0.1:{self.server_address[1]}"
        return {
            "clusters": [{"name": "c", "cluster": {"server": here}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }

    def add(self, name: str, status: Object | None = None, **meta: Any) -> Object:
        side = {"s3": {"bucket": "bucket", "key": name, "secretRef": {"name": "s"}}}
        namespace = meta.pop("namespace", NAMESPACE)
        made = {
            "apiVersion": "multipartcopy.dev/v1alpha1",
            "kind": "MultipartCopy",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": str(uuid.uuid4()),
                "resourceVersion": "1",
                "creationTimestamp": CREATED,
                **meta,
            },
            "spec": {"source": side, "destination": side},
            **({"status": status} if status is not None else {}),
        }
        self.copies[namespace, name] = made
        return made


def ended(kind: str, reason: str = "R") -> Object:
    """The status of a copy that has."""
    phase = {"Complete": "Succeeded"}.get(kind, kind)
    said = {"type": kind, "status": "True", "reason": reason, "message": "m"}
    return {"phase": phase, "conditions": [said], "completionTime": CREATED}


COPYING: Object = {
    "phase": "Copying",
    "conditions": [{"type": "Complete", "status": "False", "reason": "Copying", "message": "m"}],
}


@contextmanager
def served() -> Iterator[Api]:
    with Api() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Api
    _PATH = re.compile(
        r"/(?:api/v1|apis/[^/]+/[^/]+)(?:/namespaces/(?P<ns>[^/]+))?/(?P<plural>\w+)(?:/(?P<name>.+))?"
    )

    def do_GET(self) -> None:
        self._respond()

    do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_: Any) -> None:
        pass

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server = self.server
        server.asked.append(f"{self.command} {self.path}")
        server.tokens.append(self.headers.get("Authorization", ""))
        server.agents.add(self.headers.get("User-Agent", ""))
        for pattern, (status, message) in list(server.refusals.items()):
            if re.search(pattern, f"{self.command} {self.path}"):
                self._say(status, {"kind": "Status", "message": message})
                return
        match = self._PATH.fullmatch(urlsplit(self.path).path)
        assert match, self.path
        given = json.loads(body) if body else None
        self._say(*self._answer(match["ns"], match["plural"], match["name"], given))

    def _answer(self, ns: str, plural: str, name: str | None, body: Any) -> tuple[int, Object]:
        server = self.server
        if plural == "secrets":
            found = server.secrets.get(name or "")
            return (200, {"data": found}) if found else _missing(plural, name)
        if plural != "multipartcopies":
            return 200, {"items": server.children[plural], "metadata": {}}
        if self.command == "POST":
            return self._create(ns, body)
        if name is None:
            query = parse_qs(urlsplit(self.path).query)
            assert int(query["limit"][0]) > 0
            items = [c for (there, _), c in server.copies.items() if ns in (None, there)]
            return 200, {"items": items, "metadata": {}}
        there = server.copies.get((ns, name))
        if there is None:
            return _missing("multipartcopies.multipartcopy.dev", name)
        if self.command == "PATCH":
            there["spec"] |= body.get("spec", {})
            annotations = there["metadata"].setdefault("annotations", {})
            annotations |= body.get("metadata", {}).get("annotations", {})
        if self.command == "DELETE":
            assert body["preconditions"]["uid"] == there["metadata"]["uid"]
            there["metadata"]["deletionTimestamp"] = CREATED
            if name not in server.held:
                del server.copies[ns, name]
        return 200, there

    def _create(self, ns: str, body: Object) -> tuple[int, Object]:
        name = body["metadata"]["name"]
        if (ns, name) in self.server.copies:
            return 409, {"kind": "Status", "message": f'"{name}" already exists'}
        meta = {"uid": str(uuid.uuid4()), "creationTimestamp": CREATED, "namespace": ns}
        made = {**body, "metadata": {**body["metadata"], **meta}}
        self.server.copies[ns, name] = made
        return 201, made

    def _say(self, status: int, body: Object) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def _missing(plural: str, name: str | None) -> tuple[int, Object]:
    return 404, {"kind": "Status", "message": f'{plural} "{name}" not found'}
