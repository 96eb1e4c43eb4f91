"""Where the benches on a cluster take place: the operator in it, a namespace for each, programs of ours as pods."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dev import lab

LIGHT = {"requests": {"cpu": "10m"}}
"""Resources of a worker, so that sixteen find room on a small node."""


def fresh_operator() -> None:
    """From manifests/, as a user installs it, in a new process: nothing of an earlier copy is in its memory."""
    lab.install_operator(os.environ["IMAGE"])


@contextmanager
def namespace(name: str) -> Iterator[str]:
    """A new one, deleted afterwards; the copies first, since their stores go with it."""
    lab.kubectl("delete", "namespace", name, "--ignore-not-found", timeout=180)
    lab.kubectl("create", "namespace", name)
    try:
        lab.apply(lab.credentials("s3"), namespace=name)
        yield name
    finally:
        with suppress(lab.LabError):
            where = ("--namespace", name)
            lab.kubectl("delete", "mpc", "--all", *where, "--timeout=60s", timeout=70)
        with suppress(lab.LabError):
            lab.kubectl("delete", "namespace", name, "--wait=false")


def copy_of(
    name: str, source: tuple[str, str, str], destination: tuple[str, str, str], **spec: Any
) -> dict[str, Any]:
    """A MultipartCopy that relays; each end is endpoint, bucket and key."""

    def end(endpoint: str, bucket: str, key: str) -> dict[str, Any]:
        location = {"endpoint": endpoint, "bucket": bucket, "key": key}
        return {"s3": {**location, "secretRef": {"name": "s3"}}}

    return {
        "apiVersion": "multipartcopy.dev/v1alpha1",
        "kind": "MultipartCopy",
        "metadata": {"name": name},
        "spec": {"source": end(*source), "destination": end(*destination), "mode": "Relay", **spec},
    }


def deploy_program(
    namespace: str,
    name: str,
    program: Path,
    arguments: Sequence[str],
    ports: Mapping[str, int],
    files: Mapping[str, str] | None = None,
) -> None:
    """One file of Python, and ``files`` beside it in ``/program``, as a pod of our own image, behind a Service.

    Returns when it listens.
    """
    labels = {"app": name}
    container = {
        "name": "program",
        "image": os.environ["IMAGE"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", f"/program/{program.name}", *arguments],
        "volumeMounts": [{"name": "program", "mountPath": "/program"}],
        "readinessProbe": {"tcpSocket": {"port": next(iter(ports.values()))}, "periodSeconds": 1},
    }
    pod = {
        "containers": [container],
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "volumes": [{"name": "program", "configMap": {"name": name}}],
    }
    kept = {"selector": {"matchLabels": labels}}
    service_ports = [{"name": word, "port": port} for word, port in ports.items()]
    metadata = {"name": name}
    lab.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {program.name: program.read_text(), **(files or {})},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {**kept, "template": {"metadata": {"labels": labels}, "spec": pod}},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": service_ports},
        },
        namespace=namespace,
    )
    where = ("--namespace", namespace)
    lab.kubectl(*(*where, "rollout", "status", f"deployment/{name}", "--timeout=120s"), timeout=130)
