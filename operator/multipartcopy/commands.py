"""What the image can be told: the options of the operator, and that there is a worker."""

import argparse
import contextlib
import logging
import os
import re
import sys
from urllib.parse import urlsplit

from multipartcopy import __version__
from multipartcopy.api import names
from multipartcopy.s3.guard import parse_guard


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="multipartcopy", description="The two programs of the one image."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    operator = commands.add_parser(
        "operator", help="watch MultipartCopy resources and carry them out"
    )
    operator.add_argument(
        "--worker-image", metavar="NAME", help="image of the workers (default: the operator's own)"
    )
    operator.add_argument(
        "--namespace",
        metavar="NAME",
        dest="namespaces",
        type=_namespace,
        action="append",
        default=[],
        help="work in this namespace only, and need no rights outside; may be repeated (default: in all)",
    )
    operator.add_argument(
        "--liveness",
        metavar="URL",
        default=f"http://{_everywhere()}:8080/healthz",
        help="where to answer health checks (default: %(default)s)",
    )
    operator.add_argument(
        "--metrics",
        metavar="ADDRESS:PORT",
        type=_listener,
        default=f"{_everywhere()}:8081",
        help="where to answer Prometheus; empty for nowhere (default: %(default)s)",
    )
    operator.add_argument(
        "--denied-grace",
        metavar="SECONDS",
        type=float,
        default=300,
        help="how long a store's AccessDenied may be mended before a copy fails (default: %(default)s)",
    )
    operator.add_argument(
        "--abort-grace",
        metavar="SECONDS",
        type=float,
        default=1800,
        help="how long an abort is tried before the upload is named and left (default: %(default)s)",
    )
    operator.add_argument(
        "--max-active-copies",
        metavar="N",
        type=_count,
        default=os.environ.get("MULTIPARTCOPY_MAX_ACTIVE_COPIES", "0"),
        help="how many copies may be under way at the same time; 0 for any number (default: %(default)s)",
    )
    operator.add_argument(
        "--max-pods",
        metavar="N",
        type=_count,
        default=os.environ.get("MULTIPARTCOPY_MAX_PODS", "0"),
        help="how many worker pods may run at the same time; 0 for any number (default: %(default)s)",
    )
    operator.add_argument(
        "--allow-endpoints",
        metavar="PATTERN,...",
        type=_endpoints,
        default=os.environ.get(names.ALLOW_ENDPOINTS_VARIABLE, ""),
        help="the only endpoints to speak to: hosts like *.example.com, addresses like 10.0.0.0/8"
        " (default: all but loopback, link-local and metadata addresses)",
    )
    operator.add_argument(
        "--require-secret-opt-in",
        action="store_true",
        default=os.environ.get("MULTIPARTCOPY_REQUIRE_SECRET_OPT_IN") == "true",
        help=f'use only Secrets with the label {names.LABEL_ALLOW}: "true"',
    )
    operator.add_argument("--verbose", action="store_true", help="log every step")
    # Which has been begun already, where it is all that is said.
    commands.add_parser("worker", help="copy one batch of parts (run by the operator's Jobs)")
    return _operate(parser.parse_args())


def _everywhere() -> str:
    """In the family of the pod's first address, which the kubelet asks: in some clusters there is no IPv4."""
    return "[::]" if ":" in os.environ.get("POD_IP", "") else "0.0.0.0"  # noqa: S104 - in a pod


def _listener(text: str) -> tuple[str, int] | None:
    if not text:
        return None
    with contextlib.suppress(ValueError):
        parts = urlsplit(f"//{text}")
        if parts.hostname and parts.port is not None and parts.netloc == text:
            return parts.hostname, parts.port
    raise argparse.ArgumentTypeError(f"{text!r} is not like 0.0.0.0:8081 or [::]:8081")


def _endpoints(text: str) -> str:
    try:
        parse_guard(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _count(text: str) -> int:
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")


def _namespace(text: str) -> str:
    if re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", text):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is no name of a namespace")


def _operate(options: argparse.Namespace) -> int:
    # Imported here: what is wrong with the options is said at once.
    from multipartcopy.handlers import Options, run
    from multipartcopy.kube import KubeError
    from multipartcopy.metrics import ListenError

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("multipartcopy").setLevel(logging.DEBUG if options.verbose else logging.INFO)
    chosen = Options(
        worker_image=options.worker_image,
        namespaces=tuple(dict.fromkeys(options.namespaces)),
        liveness=options.liveness,
        metrics=options.metrics,
        denied_grace_seconds=options.denied_grace,
        abort_grace_seconds=options.abort_grace,
        max_active_copies=options.max_active_copies,
        max_pods=options.max_pods,
        allow_endpoints=options.allow_endpoints,
        require_secret_opt_in=options.require_secret_opt_in,
    )
    try:
        code = run(chosen)
    except (KubeError, ListenError) as error:
        print(f"multipartcopy: {error}", file=sys.stderr)
        code = 1
    logging.shutdown()
    # A thread may be inside a Complete of many minutes: its outcome is for the next operator to settle.
    sys.stderr.flush()
    os._exit(code)
