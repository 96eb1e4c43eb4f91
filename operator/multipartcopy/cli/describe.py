"""`describe`: a page for people, from the resource, its Events, Jobs and pods."""

import argparse
import functools
import itertools
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from multipartcopy.api.codec import from_json
from multipartcopy.api.names import FINALIZER, TASK_VARIABLE
from multipartcopy.api.quantity import format_bytes, number_of
from multipartcopy.api.reasons import CANNOT_BEGIN, Reason, reason_of
from multipartcopy.api.report import decode_report
from multipartcopy.api.status import Plan
from multipartcopy.api.task import decode_task
from multipartcopy.cli import show
from multipartcopy.cli.cluster import Cluster
from multipartcopy.cli.errors import Exit
from multipartcopy.cli.get import place
from multipartcopy.plan import batch_parts

Object = Mapping[str, Any]

_WIDTH = 64
"""Cells of the picture of the batches."""
_LISTED = 20
"""Batches and pods that are named one by one."""
_FOR_SOMEBODY = CANNOT_BEGIN | {
    Reason.QUOTA_EXCEEDED,
    Reason.POD_REFUSED,
    Reason.UNSCHEDULABLE,
    Reason.IMAGE_PULL_FAILED,
    Reason.POD_NOT_STARTING,
    Reason.OOM_KILLED,
}
"""What a copy may wait for until somebody does something."""
_OF_THE_SPEC = CANNOT_BEGIN | {
    Reason.SOURCE_NOT_FOUND,
    Reason.BUCKET_NOT_FOUND,
    Reason.REQUEST_REFUSED,
}
"""What may come of a source or destination that is written wrong."""
_ANEW = (
    "source and destination cannot be changed: if the cause is there, delete it and create it anew"
)


@dataclass(frozen=True)
class Section:
    """Lines under a title; those of the first section stand without one."""

    title: str
    lines: Sequence[str]


def run(options: argparse.Namespace) -> int:
    cluster = Cluster(options.context, options.namespace)
    resource = cluster.get(options.name)
    if options.output != "table":
        print(show.document(show.as_stored(resource), options.output))
        return Exit.DONE
    around = cluster.events(resource), cluster.jobs(resource), cluster.pods(resource)
    sections = page(resource, *around, now=show.now())
    if sys.stdout.isatty():
        _print_in_colour(sections)
    else:
        print(text(sections))
    return Exit.DONE


def text(sections: Sequence[Section]) -> str:
    blocks = []
    for section in sections:
        head = [section.title] if section.title else []
        indent = "  " if section.title else ""
        blocks.append("\n".join([*head, *(f"{indent}{line}".rstrip() for line in section.lines)]))
    return "\n\n".join(blocks)


def page(
    resource: Object,
    events: Sequence[Object],
    jobs: Sequence[Object],
    pods: Sequence[Object],
    *,
    now: datetime,
) -> list[Section]:
    """Those that have something to say."""
    sections = [
        Section("", head(resource)),
        Section("Timeline", timeline(resource, events)),
        Section("Batches", batches(resource.get("status", {}), pods)),
        Section("Workers", workers(jobs, pods, now)),
        Section("Failures", failures(resource.get("status", {}), pods)),
        Section("Proof", proof(resource.get("status", {}))),
        Section("What to do", advice(resource)),
    ]
    return [section for section in sections if section.lines]


def head(resource: Object) -> list[str]:
    meta, spec, status = resource["metadata"], resource["spec"], resource.get("status", {})
    progress = status.get("progress") or {}
    worker = spec.get("worker") or {}
    memory = ((worker.get("resources") or {}).get("limits") or {}).get("memory", "")
    raised = status.get("workerMemory", "")
    rows = [
        ("Name", f"{meta['namespace']}/{meta['name']}"),
        ("Phase", "Deleting" if meta.get("deletionTimestamp") else show.phase(status)),
        ("Says", show.summary(status).get("message", "")),
        ("Source", side(spec["source"])),
        ("Destination", side(spec["destination"])),
        ("Progress", _progress(progress, status)),
        ("Mode", status.get("mode", "")),
        ("Plan", _plan(status.get("plan"))),
        (
            "Effort",
            f"{spec.get('parallelism', '?')} pods of {memory or '?'} with"
            f" {worker.get('streams', '?')} streams",
        ),
        ("Memory", f"raised to {raised} after a kill" if raised else ""),
        ("Upload", (status.get("upload") or {}).get("id", "")),
    ]
    return show.columns([row for row in rows if row[1]])


def side(spec: Object) -> str:
    """Where it is, and how one is let in: the name of a Secret is none."""
    location = spec.get("s3")
    if location is None:
        headers = ((spec.get("http") or {}).get("headersSecretRef") or {}).get("name")
        return place(spec) + (f" (headers of Secret {headers})" if headers else "")
    store = location.get("endpoint") or f"AWS {location.get('region', '')}".rstrip()
    secret = (location.get("secretRef") or {}).get("name")
    version = f" version {location['versionId']}" if location.get("versionId") else ""
    let_in = f"Secret {secret}" if secret else "anonymous"
    return f"{place(spec)}{version} at {store} ({let_in})"


def _progress(progress: Object, status: Object) -> str:
    if not progress:
        return ""
    said = [f"{progress['percent']}%", f"{progress['parts']} parts of {progress['size']}"]
    left = show.left(status)
    said += [show.rate(status), f"{left} left" if left else ""]
    return ", ".join(word for word in said if word)


def _plan(plan: Object | None) -> str:
    if not plan:
        return ""
    return (
        f"{number_of(plan['partCount'], 'part')} of {format_bytes(plan['partSize'])}"
        f" in {number_of(plan['batchCount'], 'batch')} of {plan['batchSize']}"
    )


# When what happened.


def timeline(resource: Object, events: Sequence[Object]) -> list[str]:
    """What the status dates and what Events tell, which the cluster forgets after about an hour."""
    meta, status = resource["metadata"], resource.get("status", {})
    said: list[tuple[datetime, str, str]] = []

    def add(text: str | None, what: str, words: str = "") -> None:
        if at := show.time(text):
            said.append((at, what, words))

    add(meta.get("creationTimestamp"), "created")
    told = {event["reason"] for event in events}
    for event in events:
        count = int(event.get("count") or 1)
        times = f" ({count} times)" if count > 1 else ""
        when = event.get("lastTimestamp") or event.get("eventTime")
        add(when, event["reason"], _line(event.get("message", "")) + times)
    if "Claimed" not in told:
        add((status.get("claim") or {}).get("time"), "Claimed", "by the store's clock")
    failing = status.get("failing") or {}
    if failing.get("reason") not in told:
        add(failing.get("time"), failing.get("reason", ""), _line(failing.get("message", "")))
    ended = show.outcome(status)
    if ended and ended[1].partition(":")[0] not in told:
        reason, _, message = ended[1].partition(": ")
        add(status.get("completionTime"), reason, _line(message))
    add(meta.get("deletionTimestamp"), "deleted", _held(meta))
    said.sort(key=lambda entry: (entry[0], _rank(entry[1])))
    # Why a copy is given up is told when that begins and when it is done.
    said = [next(alike) for _, alike in itertools.groupby(said, lambda entry: entry[1:])]
    start = said[0][0] if said else None
    return show.columns(
        [
            (f"{at:%Y-%m-%d %H:%M:%S}", f"+{show.duration((at - start).total_seconds())}", *rest)
            for at, *rest in said
            if start
        ]
    )


def _rank(what: str) -> int:
    """Of what happened in one second, which Events do not divide: in the order in which copies do it."""
    order = ("created", *Reason, "deleted")
    return order.index(what) if what in order else len(order)


def _held(meta: Object) -> str:
    held = FINALIZER in meta.get("finalizers", [])
    return "held until its upload is aborted" if held else ""


# What of it is done.


def batches(status: Object, pods: Sequence[Object]) -> list[str]:
    """A picture, a count, and the ones that are neither done nor untouched."""
    if not status.get("plan"):
        return []
    plan = from_json(Plan, status["plan"])
    if not plan.batch_count:
        return ["an empty object has none"]
    entries = status.get("batches") or {}
    done = [len(entries.get(str(n), {}).get("etags", ())) for n in range(plan.batch_count)]
    whole = [len(batch_parts(plan, n)) for n in range(plan.batch_count)]
    busy = Counter(n for n in (_batch_of(pod) for pod in pods if _runs(pod)) if n is not None)
    states = [
        "#" if have == all_ else "+" if have or busy[number] else "."
        for number, (have, all_) in enumerate(zip(done, whole, strict=True))
    ]
    count = Counter(states)
    words = f"{count['#']} done, {count['+']} begun, {count['.']} waiting"
    lines = [f"[{picture(states)}]  {words} of {plan.batch_count}"]
    begun = [number for number, state in enumerate(states) if state == "+"]
    rows = [
        (f"batch {n}", f"{done[n]} of {whole[n]} parts", "a pod is at it" if busy[n] else "")
        for n in begun[:_LISTED]
    ]
    lines += show.columns(rows)
    if len(begun) > _LISTED:
        lines.append(f"and {len(begun) - _LISTED} more")
    return lines


def picture(states: Sequence[str], width: int = _WIDTH) -> str:
    """A character for each, or for as many as share a cell: of several the least that is done."""
    cells = min(width, len(states))
    bounds = [number * len(states) // cells for number in range(cells + 1)]
    groups = [set(states[a:b]) for a, b in itertools.pairwise(bounds)]
    return "".join(
        next(iter(group)) if len(group) == 1 else "+" if group & {"#", "+"} else "."
        for group in groups
    )


# Who works at it.


def workers(jobs: Sequence[Object], pods: Sequence[Object], now: datetime) -> list[str]:
    lines = []
    for job in sorted(jobs, key=lambda job: job["metadata"]["creationTimestamp"]):
        status, meta = job.get("status", {}), job["metadata"]
        at_work = f"{status.get('active', 0)} active, {status.get('succeeded', 0)} succeeded"
        since = show.since(meta["creationTimestamp"], now)
        lines.append(
            f"Job {meta['name']}: {at_work}, {status.get('failed', 0)} failed, {since} old"
        )
    rows = [
        (
            pod["metadata"]["name"],
            "" if (number := _batch_of(pod)) is None else f"batch {number}",
            _state(pod),
            pod["spec"].get("nodeName", ""),
        )
        for pod in sorted(pods, key=lambda pod: (not _runs(pod), pod["metadata"]["name"]))[:_LISTED]
    ]
    lines += show.columns(rows)
    if len(pods) > _LISTED:
        lines.append(f"and {len(pods) - _LISTED} more pods")
    return lines


def _runs(pod: Object) -> bool:
    return str(pod.get("status", {}).get("phase")) == "Running"


def _state(pod: Object) -> str:
    """The container's reason where it waits or has ended, else the pod's phase."""
    for container in pod.get("status", {}).get("containerStatuses", []):
        for state in ("waiting", "terminated"):
            if reason := container["state"].get(state, {}).get("reason"):
                return str(reason)
    return str(pod.get("status", {}).get("phase", "Unknown"))


def _batch_of(pod: Object) -> int | None:
    """By its task: its index in the Job counts what the run has to do, not the batches of the plan."""
    index = pod["metadata"].get("annotations", {}).get(_INDEX)
    for container in pod["spec"].get("containers", []):
        for variable in container.get("env") or []:
            if variable["name"] == TASK_VARIABLE and index is not None:
                batches = _batches_of(variable["value"])
                return batches[int(index)] if int(index) < len(batches) else None
    return None


@functools.lru_cache(maxsize=4)
def _batches_of(task: str) -> list[int]:
    """By index; none of a task of another version. It is the same for all pods of a run, and may be long."""
    try:
        return [work.batch for work in decode_task(task).work]
    except (ValueError, TypeError, KeyError):
        return []


_INDEX = "batch.kubernetes.io/job-completion-index"
"""https://kubernetes.io/docs/reference/labels-annotations-taints/#batch-kubernetes-io-job-completion-index"""


# What went wrong.


def failures(status: Object, pods: Sequence[Object]) -> list[str]:
    lines = []
    failing = status.get("failing")
    if failing and show.outcome(status) is None:
        lines.append(f"being given up: {failing['reason']}: {_line(failing['message'])}")
    if last := status.get("lastFailure"):
        where = [f"{name} {last[name]}" for name in ("batch", "part") if name in last]
        if "exitCode" in last:
            where.append(f"exit status {last['exitCode']}")
        place = f" ({', '.join(where)})" if where else ""
        gone = "latest" if show.outcome(status) is None else "latest, before the end"
        lines.append(f"{gone}: {last['reason']}: {_line(last['message'])}{place}")
    retry = status.get("retry") or {}
    if count := retry.get("failures"):
        then = f"; the next begins {retry['notBefore']}" if retry.get("notBefore") else ""
        lines.append(f"{count} runs in a row finished no part{then}")
    if again := status.get("disagreements"):
        lines.append(f"{again} times parts were not as recorded, and compared or sent again")
    for pod in pods[:_LISTED]:
        if words := _complaint(pod):
            lines.append(f"{pod['metadata']['name']}: {words}")
    return lines


def _complaint(pod: Object) -> str:
    for container in pod.get("status", {}).get("containerStatuses", []):
        ended = container["state"].get("terminated") or {}
        report = decode_report(ended.get("message", ""))
        if report and report.error:
            part = f" (part {report.error.part})" if report.error.part else ""
            return f"{report.error.code}: {_line(report.error.message)}{part}"
        if ended.get("exitCode"):
            return f"{ended.get('reason', 'Error')}, exit status {ended['exitCode']}"
    return ""


def proof(status: Object) -> list[str]:
    verification = status.get("verification")
    if not verification:
        return []
    rows = [
        (name, f"{leg['method']} {leg['value']}", f"equal to {leg['comparedWith']}")
        for name in ("transfer", "source")
        if (leg := verification.get(name))
    ]
    made = status.get("destination") or {}
    lines = [f"{verification['result']}: {_line(verification['detail'])}", *show.columns(rows)]
    if made:
        version = f", version {made['versionId']}" if made.get("versionId") else ""
        lines.append(f"the object has {made['size']} bytes and the ETag {made['etag']}{version}")
    for left_out in status.get("dropped", []):
        lines.append(f"not kept: {left_out['item']}: {_line(left_out['reason'])}")
    return lines


def advice(resource: Object) -> list[str]:
    """The next command, where there is one."""
    meta, status = resource["metadata"], resource.get("status", {})
    command = f"kubectl multipartcopy {{}} {meta['name']} -n {meta['namespace']}"
    if meta.get("deletionTimestamp"):
        return [
            "it goes when its upload is aborted, which takes the operator, the store and the Secret:"
            " Aborting in docs/troubleshooting.md"
        ]
    if not status.get("conditions"):
        return [show.UNSEEN]
    ended = show.outcome(status)
    said = reason_of(show.summary(status).get("reason", ""))
    anew = [_ANEW] if said in _OF_THE_SPEC else []
    if ended and ended[0] is Exit.FAILED:
        return [f"mend the cause, then: {command.format('retry')}", *anew]
    if status.get("phase") == "Suspended":
        return [f"to go on: {command.format('resume')}"]
    if not (ended or status.get("failing")) and said in _FOR_SOMEBODY:
        mended = f"it goes on by itself once the cause is gone: {said} in docs/troubleshooting.md"
        return [mended, *anew]
    if not ended and status.get("upload"):
        return [f"to follow it: {command.format('watch')}"]
    return []


def _line(message: str) -> str:
    return " ".join(message.split())


def _print_in_colour(sections: Sequence[Section]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    for number, section in enumerate(sections):
        if number:
            console.print()
        if section.title:
            console.print(section.title, style="bold", markup=False)
        indent = "  " if section.title else ""
        for line in section.lines:
            console.print(indent + line, markup=False, soft_wrap=True)
