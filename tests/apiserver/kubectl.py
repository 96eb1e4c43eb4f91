"""kubectl, as people and pipelines use it: what it prints, and how it says no."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CRD = ROOT / "crds/multipartcopies.yaml"


@dataclass(frozen=True)
class Kubectl:
    """Of the cluster that KUBECONFIG names; without a namespace each manifest has to say its own."""

    namespace: str | None = None

    def __call__(self, *arguments: str | Path, stdin: Any = None) -> str:
        """What it printed. ``stdin`` is sent as JSON."""
        done = self._run(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *arguments: str | Path, stdin: Any = None) -> str:
        """What it complained of."""
        done = self._run(*arguments, stdin=stdin)
        assert done.returncode != 0, f"accepted: {done.stdout}"
        return done.stderr

    def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        return self._json("create", "-f-", stdin=manifest)

    def get(self, name: str) -> dict[str, Any]:
        return self._json("get", "mpc", name)

    def patch_status(self, name: str, status: dict[str, Any]) -> dict[str, Any]:
        return self._json(*self._status_patch(name, status))

    def refused_status(self, name: str, status: dict[str, Any]) -> str:
        return self.refused(*self._status_patch(name, status))

    def may(self, verb: str, resource: str, user: str, *options: str) -> bool:
        done = self._run("auth", "can-i", verb, resource, f"--as={user}", *options)
        answer = done.stdout.strip()
        assert answer in ("yes", "no"), done.stderr
        return answer == "yes"

    @staticmethod
    def _status_patch(name: str, status: dict[str, Any]) -> tuple[str, ...]:
        patch = json.dumps({"status": status})
        return "patch", "mpc", name, "--subresource=status", "--type=merge", f"--patch={patch}"

    def _json(self, *arguments: str, stdin: Any = None) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self(*arguments, "--output=json", stdin=stdin))
        return answer

    def _run(self, *arguments: str | Path, stdin: Any = None) -> subprocess.CompletedProcess[str]:
        where = [f"--namespace={self.namespace}"] if self.namespace else []
        return subprocess.run(
            ["kubectl", *map(str, arguments), *where],
            input=None if stdin is None else json.dumps(stdin),
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
