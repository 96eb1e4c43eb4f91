"""`watch`: follow copies to their end, as bars on a terminal and as lines elsewhere."""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TextIO

from multipartcopy.cli import show
from multipartcopy.cli.cluster import Cluster
from multipartcopy.cli.errors import CliError, Exit, UnreachableError

_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0
"""How long the API server may be away, once it has answered."""
_BAR = 24

Key = tuple[str, str]
"""Namespace and name."""


def run(options: argparse.Namespace) -> int:
    if options.names and options.all_namespaces:
        raise CliError(Exit.USAGE, "a name is of one namespace: leave out --all-namespaces")
    cluster = Cluster(options.context, options.namespace)
    if options.names:
        wanted = [(cluster.namespace, name) for name in options.names]
    else:
        everywhere = None if options.all_namespaces else cluster.namespace
        wanted = [
            key(r) for r in cluster.copies(everywhere) if not show.outcome(r.get("status", {}))
        ]
        if not wanted:
            print("there is no MultipartCopy under way")
            return Exit.DONE
    return follow(cluster, wanted, options.timeout)


def key(resource: Mapping[str, Any]) -> Key:
    return resource["metadata"]["namespace"], resource["metadata"]["name"]


def follow(cluster: Cluster, wanted: Sequence[Key], timeout: float) -> int:
    """Until all have ended: the exit status of the worst."""
    wanted = list(dict.fromkeys(wanted))
    titles = names(wanted)
    with view(sys.stdout, titles) as shown:
        try:
            return _follow(cluster, wanted, titles, timeout, shown)
        except KeyboardInterrupt:
            shown.say(farewell([titles[item] for item in wanted]))
            return Exit.INTERRUPTED


def names(wanted: Sequence[Key]) -> dict[Key, str]:
    """What each is called: with its namespace where there are several."""
    several = len({namespace for namespace, _ in wanted}) > 1
    return {item: "/".join(item) if several else item[1] for item in wanted}


def farewell(titles: Sequence[str]) -> str:
    if len(titles) == 1:
        return f"{titles[0]} goes on without you; to stop it, suspend or cancel it"
    return f"{len(titles)} copies go on without you; to stop one, suspend or cancel it"


def _follow(
    cluster: Cluster,
    wanted: Sequence[Key],
    titles: Mapping[Key, str],
    timeout: float,
    shown: "View",
) -> int:
    end = time.monotonic() + timeout
    answered = float("-inf")
    under_way, seen, codes = list(wanted), dict[Key, Mapping[str, Any]](), set[Exit]()
    while True:
        try:
            for item in list(under_way):
                resource = cluster.find(item[1], item[0])
                answered = time.monotonic()
                code = _look(item, resource, titles[item], seen, shown)
                if code is not None:
                    codes.add(code)
                    under_way.remove(item)
        except UnreachableError:
            if time.monotonic() - answered > _PATIENCE_SECONDS:
                raise
        if not under_way:
            return worst(codes)
        if time.monotonic() > end:
            left = [titles[item] for item in under_way]
            words = f"{left[0]} has" if len(left) == 1 else f"{len(left)} copies have"
            goes = "it goes on" if len(left) == 1 else "they go on"
            if all(seen.get(item, {}).get("phase") == "Suspended" for item in under_way):
                goes = "it is suspended" if len(left) == 1 else "they are suspended"
            if not any(seen.get(item, {}).get("conditions") for item in under_way):
                goes = show.UNSEEN
            shown.say(f"{words} not ended within {timeout:.0f} s; {goes}")
            return Exit.TIMEOUT
        time.sleep(_POLL_SECONDS)


def _look(
    item: Key,
    resource: Mapping[str, Any] | None,
    title: str,
    seen: dict[Key, Mapping[str, Any]],
    shown: "View",
) -> Exit | None:
    """Show it; how it has ended, if it has. ``seen`` is each status as it was."""
    if resource is None:
        gone = f"{title} was deleted" if item in seen else f"there is no MultipartCopy {title}"
        shown.end(title, f"{gone}" + ("" if item in seen else f" in namespace {item[0]}"))
        return Exit.NOT_FOUND
    status = resource.get("status", {})
    shown.show(title, status)
    if (trouble := show.trouble(status)) and trouble != show.trouble(seen.get(item, {})):
        shown.end(title, trouble)
    seen[item] = status
    if ended := show.outcome(status):
        code, words = ended
        shown.end(title, words)
        return code
    return None


def worst(codes: set[Exit]) -> Exit:
    """A failure tells more than a name that is not there."""
    for code in (Exit.FAILED, Exit.NOT_FOUND):
        if code in codes:
            return code
    return Exit.DONE


def render(status: Mapping[str, Any]) -> str:
    """One line: bar, percent, parts, rate, time left, phase, and the reason where it says more."""
    percent = int((status.get("progress") or {}).get("percent", 0))
    filled = percent * _BAR // 100
    bar = f"[{'#' * filled}{'.' * (_BAR - filled)}] {percent:3d}%"
    return "  ".join([bar, *words(status)])


def words(status: Mapping[str, Any]) -> list[str]:
    """All but the bar."""
    progress = status.get("progress") or {}
    parts = f"{progress.get('parts', '')} parts of {progress.get('size', '')}" if progress else ""
    left = show.left(status)
    said = [parts, show.rate(status), f"{left} left" if left else "", show.phase(status)]
    return [word for word in said if word]


class View(Protocol):
    """Where what is followed is shown."""

    def __enter__(self) -> "View": ...
    def __exit__(self, *error: object) -> None: ...
    def show(self, title: str, status: Mapping[str, Any]) -> None: ...
    def end(self, title: str, words: str) -> None:
        """``title`` has ended, or waits, with these words."""

    def say(self, words: str) -> None: ...


def view(out: TextIO, titles: Mapping[Key, str]) -> View:
    if out.isatty():
        return Bars(list(titles.values()))
    return Lines(out, several=len(titles) > 1)


class Lines:
    """A line for each change."""

    def __init__(self, out: TextIO, *, several: bool) -> None:
        self._out = out
        self._several = several
        self._before: dict[str, str] = {}

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def show(self, title: str, status: Mapping[str, Any]) -> None:
        line = render(status)
        if line != self._before.get(title):
            self._before[title] = line
            self.end(title, line)

    def end(self, title: str, words: str) -> None:
        self.say(f"{title}: {words}" if self._several else words)

    def say(self, words: str) -> None:
        print(words, file=self._out, flush=True)


class Bars:
    """A bar for each copy, redrawn; last words above them."""

    def __init__(self, titles: Sequence[str]) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self._several = len(titles) > 1
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(_BAR),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[words]}", markup=False),
        )
        self._tasks = {
            title: self._progress.add_task(title, total=100, words="") for title in titles
        }

    def __enter__(self) -> "Bars":
        self._progress.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.__exit__(None, None, None)

    def show(self, title: str, status: Mapping[str, Any]) -> None:
        percent = int((status.get("progress") or {}).get("percent", 0))
        said = "  ".join(words(status))
        self._progress.update(self._tasks[title], completed=percent, words=said)

    def end(self, title: str, words: str) -> None:
        self.say(f"{title}: {words}" if self._several else words)

    def say(self, words: str) -> None:
        self._progress.console.print(words, markup=False, highlight=False, soft_wrap=True)
