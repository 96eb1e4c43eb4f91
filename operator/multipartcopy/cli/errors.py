"""How a command ends: its exit status, and the one sentence that says why."""

from enum import IntEnum


class Exit(IntEnum):
    """``docs/cli.md`` has them in words."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNREACHABLE = 4
    TIMEOUT = 5
    REFUSED = 6
    INTERRUPTED = 130


MEANINGS = {
    Exit.DONE: "done; what was followed is complete",
    Exit.FAILED: "a copy that was followed has failed",
    Exit.USAGE: "the command line is wrong",
    Exit.NOT_FOUND: "there is no such resource",
    Exit.UNREACHABLE: "the cluster or the store does not answer",
    Exit.TIMEOUT: "the time is over",
    Exit.REFUSED: "the cluster, the store or the state of the copy does not allow it",
    Exit.INTERRUPTED: "interrupted",
}


class CliError(Exception):
    """Ends the command; the message is one sentence for people."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


class UnreachableError(CliError):
    """The API server gave no answer, or none that counts: it may the next time."""

    def __init__(self, message: str) -> None:
        super().__init__(Exit.UNREACHABLE, message)
