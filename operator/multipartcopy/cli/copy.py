"""`copy`: make the manifest, print it or create it, and follow it."""

import argparse
import sys

from multipartcopy.cli import manifest, show
from multipartcopy.cli.errors import Exit


def run(options: argparse.Namespace) -> int:
    made = manifest.build(options)
    if options.dry_run:
        print(show.document(made, options.output or "yaml"))
        return Exit.DONE
    from multipartcopy.cli.cluster import Cluster

    cluster = Cluster(options.context, options.namespace)
    created = cluster.create(made)
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
