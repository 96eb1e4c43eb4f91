"""`copy`: make the manifest, print it or create it, and follow it."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from multipartcopy.cli import manifest, show
from multipartcopy.cli.errors import CliError, Exit

if TYPE_CHECKING:
    from multipartcopy.cli.cluster import Cluster


def run(options: argparse.Namespace) -> int:
    made = manifest.build(options)
    if options.dry_run:
        print(show.document(made, options.output or "yaml"))
        return Exit.DONE
    from multipartcopy.cli.cluster import Cluster

    cluster = Cluster(options.context, options.namespace)
    created = _create(cluster, made)
    name = created["metadata"]["name"]
    if options.output:
        print(show.document(show.as_stored(created), options.output), flush=True)
    if options.wait:
        from multipartcopy.cli.watch import follow, key

        print(f"{name} is created", file=sys.stderr)
        return follow(cluster, [key(created)], options.timeout)
    if not options.output:
        print(f"{name} is created; follow it with: kubectl multipartcopy watch {name}")
    return Exit.DONE


def _create(cluster: "Cluster", made: dict[str, Any]) -> dict[str, Any]:
    """Raises CliError; of one that is there already it says whether it is the same."""
    try:
        return cluster.create(made)
    except CliError as error:
        if "already exists" not in str(error):
            raise
        meta = made["metadata"]
        try:
            there = cluster.get(meta["name"], meta.get("namespace"))
        except CliError:  # It may be created, and not be read.
            raise error from None
        if there["metadata"].get("deletionTimestamp"):
            raise
        other = ", ".join(differences(made["spec"], there["spec"], "spec"))
        how = f"with another {other}; --name makes a second one" if other else "as is asked for"
        raise CliError(error.code, f"{meta['name']} already exists, {how}") from None


def differences(wanted: Mapping[str, Any], there: Mapping[str, Any], path: str) -> Iterator[str]:
    """The fields that are wanted and are not so; what is not mentioned may be a default."""
    for key, value in wanted.items():
        here, found = f"{path}.{key}", there.get(key)
        if isinstance(value, Mapping) and isinstance(found, Mapping):
            yield from differences(value, found, here)
        elif value != found:
            yield here
