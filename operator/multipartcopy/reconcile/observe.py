"""One look at the cluster: everything that the decision needs, fresh from the API server."""

from collections.abc import Iterable
from datetime import UTC, datetime

from multipartcopy.api.reasons import Reason
from multipartcopy.kube import Kube
from multipartcopy.reconcile.act import Memory
from multipartcopy.reconcile.facts import (
    Facts,
    Job,
    Pod,
    Resource,
    Seat,
    read_job,
    read_pod,
    read_resource,
    refusal,
)
from multipartcopy.reconcile.writer import stored_size


def observe(
    kube: Kube, namespace: str, name: str, memory: Memory, seats: Iterable[Seat] = ()
) -> Facts:
    """``seats`` are those of all copies, as far as they matter.

    Raises NotFoundError where the resource is gone, KubeError.
    """
    body = kube.get_copy(namespace, name)
    resource = read_resource(body)
    uid = resource.owner.uid
    # Jobs first: a pod made between the two lists is then seen, and a Job's end implies its pods' end.
    jobs = tuple(read_job(job) for job in kube.list_jobs(namespace, uid))
    pods = tuple(read_pod(pod) for pod in kube.list_pods(namespace, uid))
    there = {pod.uid for pod in pods}
    # In place, over a copy of the keys: the event loop adds to it meanwhile.
    for key, pod in list(memory.gone_pods.items()):
        told = (pod.attempt, pod.run) < (resource.status.attempt, resource.status.run)
        if key in there or told:
            del memory.gone_pods[key]
    strays = _strays(resource, jobs, memory)
    # The Job of an upload that another operator has just recorded is no stray: look again.
    if strays and read_resource(kube.get_copy(namespace, name)) != resource:
        strays = set()
    return Facts(
        now=datetime.now(UTC),
        resource=resource,
        jobs=jobs,
        pods=pods,
        gone_pods=tuple(memory.gone_pods.values()),
        trouble=memory.trouble,
        abort_failed_since=memory.abort_failed_since,
        refused=_refused(kube, namespace, jobs, pods),
        listed_at=memory.listed_at,
        written_at=memory.written_at,
        status_bytes=stored_size(body),
        strays=tuple(sorted(strays)),
        others=tuple(seat for seat in seats if seat.uid != uid),
    )


def _strays(resource: Resource, jobs: tuple[Job, ...], memory: Memory) -> set[str]:
    status = resource.status
    named = {status.upload.id} if status.upload else set()
    # What only a Job names is remembered: its workers are stopped first, and the Job goes with them.
    memory.uploads |= named | {job.upload for job in jobs if job.upload}
    # Without a claim nobody would ask for the one that it names.
    current = named if status.claim else set()
    return memory.uploads - memory.ended_uploads - current


def _refused(
    kube: Kube, namespace: str, jobs: tuple[Job, ...], pods: tuple[Pod, ...]
) -> tuple[Reason, str] | None:
    """The Job's Events are asked for only where it has no pod that could say more."""
    for job in jobs:
        live = any(pod.run == job.run and not pod.finished for pod in pods)
        if not (job.finished or job.deleting or live):
            return refusal(kube.list_warnings(namespace, job.uid))
    return None
