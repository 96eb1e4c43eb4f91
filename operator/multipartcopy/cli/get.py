"""`get`: copies as a table, or as they are."""

import argparse
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from multipartcopy.api.location import public_url
from multipartcopy.cli import show
from multipartcopy.cli.cluster import Cluster
from multipartcopy.cli.errors import CliError, Exit

HEADER = ("NAME", "PHASE", "REASON", "PROGRESS", "PARTS", "SIZE", "RATE", "LEFT", "AGE")
WIDE = ("SOURCE", "DESTINATION", "PROOF", "MESSAGE")


def run(options: argparse.Namespace) -> int:
    if options.names and options.all_namespaces:
        raise CliError(Exit.USAGE, "a name is of one namespace: leave out --all-namespaces")
    cluster = Cluster(options.context, options.namespace)
    if options.names:
        found = [cluster.get(name) for name in options.names]
    else:
        found = cluster.copies(
            None if options.all_namespaces else cluster.namespace, options.selector
        )
    if options.output in ("json", "yaml"):
        one = len(options.names) == 1
        made = show.as_stored(found[0]) if one else show.items(found)
        print(show.document(made, options.output))
    elif found:
        wide, everywhere = options.output == "wide", options.all_namespaces
        print("\n".join(table(found, show.now(), wide=wide, namespaces=everywhere)))
    else:
        where = "any namespace" if options.all_namespaces else f"namespace {cluster.namespace}"
        like = f" with the labels {options.selector}" if options.selector else ""
        print(f"there is no MultipartCopy{like} in {where}")
    return Exit.DONE


def table(
    resources: Sequence[Mapping[str, Any]],
    now: datetime,
    *,
    wide: bool = False,
    namespaces: bool = False,
) -> list[str]:
    header = (
        *(("NAMESPACE",) if namespaces else ()),
        *HEADER,
        *(WIDE if wide else ()),
    )
    rows = []
    for resource in resources:
        cells = list(row(resource, now))
        if namespaces:
            cells.insert(0, resource["metadata"]["namespace"])
        rows.append([*cells, *(more(resource) if wide else ())])
    return show.table(header, rows)


def row(resource: Mapping[str, Any], now: datetime) -> Sequence[str]:
    meta, status = resource["metadata"], resource.get("status", {})
    progress = status.get("progress") or {}
    return (
        meta["name"],
        "Deleting" if meta.get("deletionTimestamp") else status.get("phase", "Pending"),
        show.summary(status).get("reason", ""),
        f"{progress['percent']}%" if progress else "",
        progress.get("parts", ""),
        progress.get("size", ""),
        show.rate(status),
        show.left(status),
        show.since(meta.get("creationTimestamp"), now),
    )


def more(resource: Mapping[str, Any]) -> Sequence[str]:
    spec, status = resource["spec"], resource.get("status", {})
    return (
        place(spec["source"]),
        place(spec["destination"]),
        (status.get("verification") or {}).get("result", ""),
        show.summary(status).get("message", ""),
    )


def place(side: Mapping[str, Any]) -> str:
    """``s3://bucket/key`` of a side of the spec, or its URL without the query, which may hold a signature.

    Another kind of source is shown as it is written.
    """
    if location := side.get("s3"):
        return f"s3://{location['bucket']}/{location['key']}"
    if url := (side.get("http") or {}).get("url"):
        return public_url(url)
    return " ".join(f"{kind}:{value}" for kind, value in side.items())
