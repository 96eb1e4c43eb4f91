"""`logs`: what the worker pods say, by kubectl itself."""

import argparse
import subprocess

from multipartcopy.api.names import LABEL_UID
from multipartcopy.cli.cluster import Cluster
from multipartcopy.cli.errors import CliError, Exit


def run(options: argparse.Namespace) -> int:
    cluster = Cluster(options.context, options.namespace)
    resource = cluster.get(options.name)
    pods = cluster.pods(resource)
    if not pods:
        raise CliError(
            Exit.NOT_FOUND,
            f"{options.name} has no pod now, and a pod's log goes with it: see what"
            f" `kubectl multipartcopy describe {options.name}` remembers",
        )
    return subprocess.run(command(options, resource["metadata"], len(pods)), check=False).returncode


def command(options: argparse.Namespace, meta: dict[str, str], pods: int) -> list[str]:
    """kubectl follows five pods unless told otherwise, and more may come."""
    made = ["kubectl", "logs", f"--namespace={meta['namespace']}", "--prefix"]
    made += [f"--selector={LABEL_UID}={meta['uid']}", f"--tail={options.tail}"]
    if options.context:
        made.append(f"--context={options.context}")
    if options.follow:
        made += ["--follow", f"--max-log-requests={max(5, pods)}", "--ignore-errors"]
    return made
