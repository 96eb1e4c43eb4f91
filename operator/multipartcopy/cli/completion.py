"""Completion of words in shells, by argcomplete: scripts for our own name, and kubectl's protocol for plugins."""

import argparse
import io
import os
import shlex
import sys
from typing import Any, NoReturn

import argcomplete
from argcomplete.completers import SuppressCompleter
from argcomplete.shell_integration import shellcode

from multipartcopy.cli.errors import CliError, Exit

_PROGRAMS = ["kubectl-multipartcopy", "kubectl-mpc"]
_NO_FILES = ":4"
"""ShellCompDirectiveNoFileComp
(https://pkg.go.dev/github.com/spf13/cobra#ShellCompDirective)."""


def run(options: argparse.Namespace) -> int:
    print(shellcode(_PROGRAMS, shell=options.shell))
    return Exit.DONE


def answer(parser: argparse.ArgumentParser) -> None:
    """To the shell that has set ``_ARGCOMPLETE``; ends the process."""
    _complete(parser)


def kubectl() -> NoReturn:
    """`kubectl_complete-multipartcopy WORD ...`: kubectl runs it, the last word is the one to complete.

    https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/
    """
    print(*candidates(sys.argv[1:]), _NO_FILES, sep="\n")
    sys.exit(0)


def candidates(words: list[str]) -> list[str]:
    """What the last of the words may become."""
    from multipartcopy.cli.arguments import parser

    line = shlex.join([_PROGRAMS[0], *words[:-1]]) + " " + (words[-1] if words else "")
    asked = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE": "1"}
    asked |= {"_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_SUPPRESS_SPACE": "1"}
    os.environ.update(asked)
    said = io.StringIO()
    _complete(parser(), exit_method=lambda _=0: None, output_stream=said)
    return [word.rstrip() for word in said.getvalue().split("\n") if word.strip()]


def _complete(parser: argparse.ArgumentParser, **more: Any) -> None:
    """Where nothing of ours fits, no file does either."""
    nothing = SuppressCompleter()
    argcomplete.autocomplete(
        parser, always_complete_options=False, default_completer=nothing, **more
    )


def names(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Of the copies in the namespace; none where the cluster does not say so soon."""
    from multipartcopy.cli.cluster import Cluster

    try:
        where = getattr(parsed_args, "namespace", None)
        cluster = Cluster(getattr(parsed_args, "context", None), where)
        return [item["metadata"]["name"] for item in cluster.copies(cluster.namespace)]
    except CliError:
        return []
