"""The tools of others, as they are run elsewhere; each is built or installed when it is first needed."""

import json
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.cluster.builds import build, kubectl
from dev.cluster.prereqs import install

Object = dict[str, Any]


@pytest.fixture(scope="session")
def gitops() -> Callable[[str, Iterable[Object]], list[dict[str, str]]]:
    """``dev/cluster/gitops``: what the libraries of kpt, Flux and the Prometheus operator say of objects."""
    program = build("gitops")

    def ask(question: str, objects: Iterable[Object]) -> list[dict[str, str]]:
        said = _run(program, question, stdin="\n".join(map(json.dumps, objects)))
        return [json.loads(line) for line in said.splitlines()]

    return ask


@pytest.fixture(scope="session")
def kustomize() -> Callable[[Path], list[Object]]:
    """What `kubectl kustomize` makes of a directory."""
    program = kubectl()

    def render(directory: Path) -> list[Object]:
        return list(yaml.safe_load_all(_run(program, "kustomize", directory)))

    return render


@pytest.fixture(scope="session")
def promtool() -> Callable[..., str]:
    install({"promtool": "prometheus"})

    def run(*arguments: str | Path, stdin: str = "") -> str:
        return _run("promtool", *arguments, stdin=stdin)

    return run


def _run(*command: str | Path, stdin: str = "") -> str:
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
