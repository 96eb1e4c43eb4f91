"""The tests' end of proxy.py: its control port, and a process of its own on loopback."""

import contextlib
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("proxy.py")
_STOP_SECONDS = 10


class Proxy:
    """``endpoint`` is where clients go, where the test knows it; ``control`` the URL of the control port."""

    def __init__(self, control: str, endpoint: str = "") -> None:
        self.control = control
        self.endpoint = endpoint

    def rules(self, *rules: dict[str, Any]) -> None:
        """These and no others."""
        self._ask("PUT", "/rules", list(rules))

    def rule(self, match: str, do: dict[str, Any], **more: Any) -> None:
        """This one and no other."""
        self.rules({"match": match, "do": do, **more})

    def spent(self) -> bool:
        """Whether every rule with ``times`` has acted so often: a fault that never struck proves nothing."""
        return all(not rule["times"] for rule in self._ask("GET", "/rules"))

    def hold(self, match: str, at: str = "request", **more: Any) -> None:
        """Hold what matches, until :meth:`release`; ``whole=True`` after its body was taken in."""
        do = {"kind": "hold", "at": at, "whole": more.pop("whole", False)}
        self.rule(match, do, **more)

    def held(self) -> list[dict[str, Any]]:
        return list(self._ask("GET", "/held"))

    def wait_held(self, count: int = 1, seconds: float = 60) -> list[dict[str, Any]]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if len(held := self.held()) >= count:
                return held
            time.sleep(0.02)
        raise AssertionError(f"{len(self.held())} held of {count} within {seconds} s")

    def release(self, how: str = "forward", name: str | None = None) -> None:
        """``forward`` or ``drop`` what is held. The rule stays."""
        self._ask("PUT", "/release", {"how": how, "name": name})

    def open(self, how: str = "forward") -> None:
        """No more rules; what is held is let go."""
        self._ask("DELETE", "/rules")
        self.release(how)

    def down(self) -> None:
        self._ask("PUT", "/down")

    def up(self) -> None:
        self._ask("PUT", "/up")

    def log(self, match: str = "") -> list[dict[str, Any]]:
        """The requests that match, in the order of their coming."""
        return [e for e in self._ask("GET", "/log") if re.search(match, e["request"])]

    def clear(self) -> None:
        self._ask("DELETE", "/log")

    def bytes_put(self, part: int | None = None) -> int:
        """Bytes of body that were sent on in UploadParts, of one part or of all, frames included."""
        which = r"[0-9]+" if part is None else str(part)
        return sum(e["request_bytes"] for e in self.log(rf"^PUT .*[?&]partNumber={which}(&|$)"))

    def bytes_got(self) -> int:
        """Bytes of body that were sent on in the answers to GETs of objects, refusals left out."""
        answers = self.log(r"^GET [^?]*($|\?versionId)")
        return sum(e["answer_bytes"] for e in answers if e["status"] in (200, 206))

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.control + path, data, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)


def refusal(status: int, code: str = "", **headers: str) -> dict[str, Any]:
    """The action that answers as S3 does: an error document where there is a code."""
    body = f"<Error><Code>{code}</Code><Message>as told</Message></Error>" if code else ""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"kind": "answer", "status": status, "headers": names, "body": body}


@contextlib.contextmanager
def proxy(upstream: str, ca: Path | None = None) -> Iterator[Proxy]:
    """Before a server on loopback. With ``ca``, that server's certificate and its key beside it serve both ways."""
    options = ["--upstream", upstream]
    if ca:
        key = ca.with_name("private.key")
        options += ["--upstream-ca", str(ca), "--cert", str(ca), "--key", str(key)]
    listen = ["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"]
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), *listen, *options], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        ports = json.loads(process.stdout.readline())
        scheme = "https" if ca else "http"
        yield Proxy(
            f"http://127.0.0.1:{ports['control']}", f"{scheme}://127.0.0.1:{ports['listen']}"
        )
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)
