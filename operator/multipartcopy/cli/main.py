"""`kubectl multipartcopy watch NAME`: follow a copy to its end.

On pykube-ng, which is small and starts quickly; an installed `kubectl-multipartcopy` is a plugin
of kubectl (https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/).
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import pykube
import requests

from multipartcopy.api.names import GROUP, KIND, PLURAL, VERSION
from multipartcopy.api.quantity import format_bytes

EXIT_FAILED, EXIT_USAGE, EXIT_TIMEOUT, EXIT_INTERRUPTED = 1, 2, 3, 130
_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0
"""How long the API server may be away, once it has answered."""
_BAR = 24


class MultipartCopy(pykube.objects.NamespacedAPIObject):  # type: ignore[misc]
    version = f"{GROUP}/{VERSION}"
    endpoint = PLURAL
    kind = KIND


def render(status: Mapping[str, Any]) -> str:
    """One line: bar, percent, parts, rate, time left, phase, and the reason where it says more."""
    progress = status.get("progress") or {}
    percent = int(progress.get("percent", 0))
    filled = percent * _BAR // 100
    words = [f"[{'#' * filled}{'.' * (_BAR - filled)}] {percent:3d}%"]
    if progress:
        words.append(f"{progress.get('parts', '')} parts of {progress.get('size', '')}")
    rate = int(progress.get("bytesPerSecond", 0))
    left = int(progress.get("bytesTotal", 0)) - int(progress.get("bytesDone", 0))
    if rate and not status.get("completionTime"):
        words += [f"{format_bytes(rate)}/s", f"{_duration(left / rate)} left"]
    phase = status.get("phase", "Pending")
    condition = (status.get("conditions") or [{}])[0]
    reason = condition.get("reason", "")
    words.append(phase if reason in ("", phase) else f"{phase} ({reason})")
    return "  ".join(words)


def outcome(status: Mapping[str, Any]) -> tuple[int, str] | None:
    """Exit status and last words of a copy that has ended."""
    for condition in status.get("conditions") or []:
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            words = f"{condition['reason']}: {condition['message']}"
            return (0 if condition["type"] == "Complete" else EXIT_FAILED), words
    return None


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return _watch(options)
    except KeyboardInterrupt:
        print(f"{_end_line()}{options.name} goes on without you; to stop it, suspend or delete it")
        return EXIT_INTERRUPTED


def _watch(options: argparse.Namespace) -> int:
    try:
        api = pykube.HTTPClient(_kubeconfig(), timeout=10)
    except (pykube.exceptions.PyKubeError, OSError, KeyError, subprocess.SubprocessError) as error:
        words = getattr(error, "stderr", "") or str(error)
        return _complain(f"no cluster to ask: {words.strip()}")
    namespace = options.namespace or api.config.namespace
    end = time.monotonic() + options.timeout
    answered, shown = float("-inf"), ""
    while True:
        try:
            query = MultipartCopy.objects(api).filter(namespace=namespace)
            status = query.get_by_name(options.name).obj.get("status", {})
            answered = time.monotonic()
        except pykube.exceptions.ObjectDoesNotExist:
            return _complain(f"there is no MultipartCopy {options.name} in namespace {namespace}")
        except (requests.RequestException, pykube.exceptions.PyKubeError) as error:
            if time.monotonic() - answered > _PATIENCE_SECONDS:
                return _complain(f"the cluster does not answer: {error}")
        else:
            shown = _show(render(status), shown)
            if ended := outcome(status):
                code, words = ended
                print(_end_line() + words)
                return code
        if time.monotonic() > end:
            print(
                f"{_end_line()}{options.name} has not ended within {options.timeout:.0f} s; it goes on"
            )
            return EXIT_TIMEOUT
        time.sleep(_POLL_SECONDS)


def _kubeconfig() -> Any:
    """As kubectl sees it: pykube does not merge the files that KUBECONFIG may list."""
    command = ["kubectl", "config", "view", "--raw", "--minify", "--flatten", "--output=json"]
    view = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    return pykube.KubeConfig(json.loads(view.stdout))


def _show(line: str, before: str) -> str:
    """Redrawn on a terminal; elsewhere a line for each change."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1  # a line that wraps cannot be redrawn
        print(f"\r\x1b[2K{line[:width]}", end="", flush=True)
    elif line != before:
        print(line, flush=True)
    return line


def _end_line() -> str:
    """What a line that was being redrawn needs before the next one."""
    return "\n" if sys.stdout.isatty() else ""


def _complain(message: str) -> int:
    print(f"kubectl multipartcopy: {message}", file=sys.stderr)
    return EXIT_USAGE


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{seconds:02d}s"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubectl multipartcopy",
        description="Look after MultipartCopy resources.",
        epilog="exit status: 0 the copy is complete, 1 it failed, 2 it could not be looked at, "
        "3 the time is over, 130 interrupted",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    watch = commands.add_parser("watch", help="follow a copy to its end")
    watch.add_argument("name")
    watch.add_argument("-n", "--namespace", help="default: that of the current context")
    watch.add_argument(
        "--timeout", type=float, default=float("inf"), metavar="SECONDS", help="default: none"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
