"""The command line: commands, flags and their help. Nothing but argparse and the spec's dataclasses is imported."""

import argparse
import math
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from multipartcopy.api.quantity import parse_bytes
from multipartcopy.cli import manifest
from multipartcopy.cli.errors import MEANINGS, Exit

PROGRAM = "kubectl multipartcopy"
_STRUCTURED = ("json", "yaml")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = 24855 * _UNITS["d"]
"""Of the whole days that fit into a ``ttlSecondsAfterFinished``."""
_EXITS = "exit status:\n" + "\n".join(
    f"  {code:<4} {meaning}" for code, meaning in MEANINGS.items()
)


def duration(text: str) -> float:
    """Seconds: ``90``, ``90s``, ``15m``, ``24h``, ``1h30m``, ``7d``."""
    pieces = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if not pieces or "".join(n + u for n, u in pieces) != text:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: write for example 90s or 24h")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in pieces)
    if seconds > _LONGEST:
        raise argparse.ArgumentTypeError(f"write at most {_LONGEST // _UNITS['d']}d")
    return seconds


def size(text: str) -> int:
    """Bytes: ``5Ti``, ``100G``, ``0``."""
    try:
        return parse_bytes(text) if text != "0" else 0
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}") from None


def parser() -> argparse.ArgumentParser:
    top = _parser(
        _Parser,
        prog=PROGRAM,
        description="Copy one S3 object of any size by many small pods, and look after the copies.",
        epilog=_EXITS,
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND", title="commands")

    def command(name: str, module: str, help: str, epilog: str = "") -> argparse.ArgumentParser:
        made = _parser(
            commands.add_parser,
            name,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            epilog=epilog,
        )
        made.set_defaults(module=module, command=name)
        return made

    _copy(command("copy", "copy", "copy one object to another", _COPY))
    _get(command("get", "get", "list copies"))
    _describe(command("describe", "describe", "a page about a copy: timeline, batches, proof"))
    _watch(command("watch", "watch", "follow copies to their end", _WATCH))
    _logs(command("logs", "logs", "show what the worker pods of a copy say"))
    _names(command("suspend", "change", "stop the workers and keep every part that has arrived"))
    _names(command("resume", "change", "go on from there"))
    _retry(command("retry", "change", "try again what has failed", _RETRY))
    _cancel(command("cancel", "change", "delete a copy under way and abort its upload", _CANCEL))
    _uploads(command("uploads", "uploads", "list multipart uploads that no copy owns", _UPLOADS))
    _estimate(command("estimate", "estimate", "what a copy of a size would take", _ESTIMATE))
    shells = command("completion", "completion", "print the script that completes for a shell")
    shells.add_argument("shell", choices=["bash", "zsh", "fish"])
    return top


_COPY = """\
SRC and DST are s3://BUCKET/KEY, the key as it is; a DST that ends with / takes the last segment of
the source's key. Credentials are named, never given: each side needs the name of a Secret with
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or its --...-anonymous.

example:
  kubectl mpc copy s3://climate/era5.grib s3://mirror/ --source-secret=from \\
    --destination-endpoint=http://minio.storage.svc:9000 --destination-secret=to --wait
"""
_WATCH = """\
Without names: all that are under way when it starts. Ctrl-C stops the looking, never a copy."""
_RETRY = """\
With spec.onFailure: Keep it goes on with the parts that have arrived, if source and upload are still as
they were; else every byte is sent again. Only for what has failed: anything else goes on by itself."""
_CANCEL = """\
The operator stops the workers and aborts the upload, and the resource goes when that is done. What had
arrived is lost; to keep it, use suspend. A copy that has ended is not touched."""
_UPLOADS = """\
An upload of another program, or of a copy in another cluster, is owned by no resource here either:
look at the list before you abort it."""
_ESTIMATE = """\
It asks nobody: neither the cluster nor a store. Prices are list prices that change, of requests alone."""


def _copy(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s SRC DST [flags]"
    parser.add_argument("source", metavar="SRC")
    parser.add_argument("destination", metavar="DST")
    parser.add_argument("--name", help="of the resource; default: made from DST, always the same")
    _cluster(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the manifest, create nothing")
    parser.add_argument("-o", "--output", choices=_STRUCTURED, help="print the resource")
    parser.add_argument("--wait", action="store_true", help="follow it to its end, as watch does")
    _timeout(parser, "of --wait")
    for side in ("source", "destination"):
        _location(parser.add_argument_group(f"the {side}"), f"{side}-", side)
    group = parser.add_argument_group(
        "how", "as in the resource: `kubectl explain mpc.spec`; what is not given has its default"
    )
    _spec(group, manifest.flags())


def _get(parser: argparse.ArgumentParser) -> None:
    _names(parser, "*")
    _everywhere(parser)
    parser.add_argument("-l", "--selector", help="only copies with these labels")
    _output(parser, "table", "wide", *_STRUCTURED)


def _describe(parser: argparse.ArgumentParser) -> None:
    _name(parser)
    _cluster(parser)
    _output(parser, "table", *_STRUCTURED)


def _watch(parser: argparse.ArgumentParser) -> None:
    _names(parser, "*")
    _everywhere(parser)
    _timeout(parser)


def _logs(parser: argparse.ArgumentParser) -> None:
    _name(parser)
    _cluster(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on as long as a pod runs")
    parser.add_argument("--tail", type=int, default=-1, metavar="LINES", help="of each pod")


def _retry(parser: argparse.ArgumentParser) -> None:
    _name(parser)
    _cluster(parser)
    parser.add_argument("--wait", action="store_true", help="follow it to its end, as watch does")
    _timeout(parser, "of --wait")


def _cancel(parser: argparse.ArgumentParser) -> None:
    _names(parser)
    _yes(parser)
    _timeout(parser, "until it is gone", 300.0)


def _uploads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bucket", metavar="s3://BUCKET[/PREFIX]")
    _cluster(parser)
    _location(parser.add_argument_group("the store"), "", "bucket")
    _output(parser, "table", *_STRUCTURED)
    parser.add_argument(
        "--older-than",
        type=duration,
        default=86400.0,
        metavar="DURATION",
        help="only uploads that began before, by the store's clock; default: 24h",
    )
    parser.add_argument("--sizes", action="store_true", help="ask for the parts of each as well")
    parser.add_argument(
        "--namespace-only",
        action="store_true",
        help="look for owners in this namespace alone: for those who may not list the others",
    )
    parser.add_argument("--abort", action="store_true", help="abort the listed ones")
    _yes(parser)


def _estimate(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s SIZE [flags]"
    # Without one only the providers can be listed.
    parser.add_argument("size", type=size, nargs="?", metavar="SIZE", help="for example 5Ti")
    parser.add_argument(
        "--provider",
        metavar="NAME",
        help="whose prices and limits, for both sides; --provider=list names them",
    )
    parser.add_argument("--source-provider", metavar="NAME", help="for the source alone")
    parser.add_argument("--destination-provider", metavar="NAME", help="for the destination alone")
    parser.add_argument(
        "--source-part-size", type=size, metavar="SIZE", help="of a source uploaded in equal parts"
    )
    _output(parser, "table", *_STRUCTURED)
    _spec(parser.add_argument_group("how"), [f for f in manifest.flags() if f.planned])


def _spec(group: argparse._ArgumentGroup, flags: Sequence[manifest.Flag]) -> None:
    for flag in flags:
        more: dict[str, Any] = {"dest": flag.dest, "help": flag.help}
        if flag.is_switch:
            more |= {"action": "store_true", "default": None}
        elif flag.choices:
            more |= {"choices": flag.choices}
        else:
            more |= {"type": _seconds if flag.in_seconds else flag.read, "metavar": flag.metavar}
        group.add_argument(flag.name, **more)


def _seconds(text: str) -> int:
    return math.ceil(duration(text))


def _location(group: argparse._ArgumentGroup, prefix: str, side: str) -> None:
    for flag in manifest.location_flags(side):
        more: dict[str, Any] = {"dest": f"{side}_{flag.dest}", "help": flag.help}
        if flag.is_switch:
            more |= {"action": "store_true", "default": None}
        elif flag.choices:
            more |= {"choices": flag.choices}
        else:
            more |= {"metavar": flag.metavar}
        group.add_argument(f"--{prefix}{flag.name}", **more)


def _cluster(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--namespace", help="default: that of the current context")
    parser.add_argument("--context", help="of the kubeconfig; default: the current one")


def _everywhere(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-A", "--all-namespaces", action="store_true")


def _name(parser: argparse.ArgumentParser) -> None:
    _complete(parser.add_argument("name", metavar="NAME"))


def _names(parser: argparse.ArgumentParser, count: str = "+") -> None:
    _complete(parser.add_argument("names", nargs=count, metavar="NAME"))
    _cluster(parser)


def _complete(argument: argparse.Action) -> None:
    """argcomplete asks it for what may stand there."""

    def names(**words: Any) -> list[str]:
        from multipartcopy.cli.completion import names

        return names(**words)

    argument.completer = names  # type: ignore[attr-defined]


def _output(parser: argparse.ArgumentParser, *choices: str) -> None:
    parser.add_argument(
        "-o", "--output", choices=choices, default=choices[0], help=f"default: {choices[0]}"
    )


def _timeout(parser: argparse.ArgumentParser, of: str = "", default: float = math.inf) -> None:
    words = f"{default:.0f}s" if default < math.inf else "none"
    parser.add_argument(
        "--timeout",
        type=duration,
        default=default,
        metavar="DURATION",
        help=f"{of + '; ' if of else ''}default: {words}",
    )


def _yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


class _Parser(argparse.ArgumentParser):
    """What is wrong is said in one sentence, which a page of flags would hide."""

    def error(self, message: str) -> NoReturn:
        self.exit(Exit.USAGE, f"{self.prog}: {message} ({self.prog} --help tells more)\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Of the words that a command does not know, it is the one to speak."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unknown: {' '.join(unknown)}")
        return found, unknown


def _parser(make: Callable[..., Any], *args: Any, **more: Any) -> argparse.ArgumentParser:
    """Whose help keeps the lines of its epilog; flags are never abbreviated, so that new ones break nothing."""
    if sys.version_info >= (3, 14):
        more["color"] = False
    made: argparse.ArgumentParser = make(
        *args, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **more
    )
    return made
