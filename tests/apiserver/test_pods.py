"""How many pods the operator can read: a Job keeps one for each of its batches."""

import tracemalloc
from typing import Any

import kubernetes

from multipartcopy.api.names import LABEL_UID
from multipartcopy.kube import connect
from multipartcopy.reconcile.facts import read_pod
from tests.apiserver.kubectl import Kubectl
from tests.apiserver.test_jobs import made

MiB = 1 << 20
COUNT = 230


def test_many_pods_are_read_in_the_memory_of_a_few(kubectl: Kubectl) -> None:
    """All of them once, though they come in pages; without pages these take 10 MiB, and there may be a thousand."""
    kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=30s")
    job = made(kubectl, {})
    namespace, uid = str(kubectl.namespace), job["metadata"]["labels"][LABEL_UID]
    kube = connect()
    core = kubernetes.client.CoreV1Api()
    created = {create(core, namespace, job["spec"]["template"]) for _ in range(COUNT)}
    try:
        tracemalloc.start()
        read = [read_pod(pod) for pod in kube.list_pods(namespace, uid)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        core.delete_collection_namespaced_pod(
            namespace, label_selector=f"{LABEL_UID}={uid}", grace_period_seconds=0
        )
    assert len(read) == COUNT
    assert {pod.name for pod in read} == created
    assert peak < 5 * MiB


def create(core: Any, namespace: str, template: dict[str, Any]) -> str:
    """For a scheduler that there is none of, so it is never run."""
    metadata = {**template["metadata"], "generateName": "many-"}
    spec = {**template["spec"], "schedulerName": "none"}
    pod = core.create_namespaced_pod(namespace, {"metadata": metadata, "spec": spec})
    return str(pod.metadata.name)
