"""The command line: `python3 -m dev.cluster COMMAND`."""

from __future__ import annotations

import argparse
import os
import sys

from dev.cluster import images, lifecycle
from dev.cluster.builds import BUILDS, build
from dev.cluster.components import COMPONENTS
from dev.cluster.console import ClusterError, say
from dev.cluster.paths import KUBECONFIG


def main() -> int:
    arguments = _parser().parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # not on everybody's PATH, nor on a cron job's
    try:
        return _run(arguments)
    except ClusterError as error:
        say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _run(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "up":
            lifecycle.up()
            print(f"export KUBECONFIG={KUBECONFIG}")
        case "down":
            lifecycle.down()
        case "status":
            return 0 if lifecycle.status() else 1
        case "kubeconfig":
            print(KUBECONFIG)
        case "start" | "stop" | "restart":
            getattr(lifecycle, arguments.command)(arguments.component)
        case "compact":
            lifecycle.compact()
        case "build":
            for name in arguments.names:
                print(build(name))
        case "base-image":
            print(images.base_image())
        case "build-image":
            print(images.build_image(arguments.tag, arguments.file, arguments.context))
        case "load-image":
            images.load_image(arguments.name)
        case "s3-image":
            print(images.s3_image())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m dev.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="start the cluster, or what of it does not run")
    commands.add_parser("down", help="stop the cluster and remove it; the cache stays")
    commands.add_parser("status", help="say what runs")
    commands.add_parser("kubeconfig", help="print the path of the admin's kubeconfig")
    for verb in ("start", "stop", "restart"):
        one = commands.add_parser(verb, help=f"{verb} one component")
        one.add_argument("component", choices=[component.name for component in COMPONENTS])
    commands.add_parser("compact", help="let etcd forget the past, as it does by itself in time")
    some = commands.add_parser("build", help="build programs and print their paths (no root)")
    some.add_argument("names", nargs="+", choices=list(BUILDS), metavar="NAME")
    commands.add_parser("base-image", help="make the Python base image and print its name")
    image = commands.add_parser("build-image", help="build the project's image on the base image")
    image.add_argument("--tag", default="localhost/multipartcopy:dev")
    image.add_argument("--file", default="Dockerfile")
    image.add_argument("--context", default=".")
    load = commands.add_parser("load-image", help="load a built image into the cluster")
    load.add_argument("name")
    commands.add_parser("s3-image", help="build and load an S3 server and print its image's name")
    return parser


if __name__ == "__main__":
    sys.exit(main())
