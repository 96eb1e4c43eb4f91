"""The documentation as its tests read it: blocks of code, words between backticks, links, headings, commands."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from multipartcopy.api.names import KIND

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]

_FENCE = re.compile(r"^( *)(```+) *(\S*)")
_LINK = re.compile(r"\[[^\[\]]*\]\(([^()\s]+)\)")
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*$", re.MULTILINE)
_ASSIGNMENT = re.compile(r"\w+=")


@dataclass(frozen=True)
class Block:
    """What stands between two fences; ``line`` is that of the first."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """Of all pages, in these languages."""
    return [block for page in PAGES for block in _blocks(page) if block.language in languages]


def _blocks(page: Path) -> Iterator[Block]:
    """Raises ValueError for a fence that does not end."""
    begun, start, inside = None, 0, []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = _FENCE.match(line)
        if begun is None:
            begun, start, inside = fence, number, []
        elif fence and fence[2] == begun[2] and not fence[3]:
            yield Block(page, start, begun[3], "".join(f"{text}\n" for text in inside))
            begun = None
        else:
            inside.append(line.removeprefix(begun[1]))
    if begun:
        raise ValueError(f"{page}:{start}: a block without an end")


def prose(page: Path) -> str:
    """What stands outside of the blocks."""
    text, inside = [], False
    for line in page.read_text().splitlines():
        fence = _FENCE.match(line)
        if not fence and not inside:
            text.append(line)
        inside ^= fence is not None
    return "\n".join(text)


def spans(page: Path) -> list[str]:
    """What stands between backticks, a line break being a blank."""
    return [" ".join(text.split()) for text in re.findall(r"`([^`]+)`", prose(page))]


def links(page: Path) -> list[str]:
    return _LINK.findall(re.sub(r"`[^`]*`", "code", prose(page)))


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of the headings; of several alike the second is `-1`."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#+ +(.*)$", prose(page), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        count = found.setdefault(slug, 0)
        names.add(f"{slug}-{count}" if count else slug)
        found[slug] += 1
    return names


def manifests(block: Block) -> list[Any]:
    """The documents of a block of YAML, and those that its ConfigMaps hold. Raises yaml.YAMLError."""
    found = [document for document in yaml.safe_load_all(block.text) if document is not None]
    for document in list(found):
        if isinstance(document, dict) and document.get("kind") == "ConfigMap":
            for text in document["data"].values():
                found += yaml.safe_load_all(text)
    return found


def copies() -> list[tuple[Block, dict[str, Any]]]:
    """Every MultipartCopy that the pages show."""
    return [
        (block, document)
        for block in blocks("yaml", "console")
        for document in (manifests(block) if block.language == "yaml" else _printed(block))
        if isinstance(document, dict) and document.get("kind") == KIND
    ]


def _printed(block: Block) -> list[Any]:
    """The manifests that a command has printed, if it has."""
    shown = re.sub(r"^\$ .*\n", "", block.text, flags=re.MULTILINE)
    return list(yaml.safe_load_all(shown)) if shown.startswith("apiVersion:") else []


def shell(block: Block) -> str:
    """The commands of a block: all of `sh`, of `console` the lines after a prompt."""
    if block.language == "sh":
        return block.text
    typed = re.findall(r"^\$ ((?:.*\\\n)*.*)$", block.text, re.MULTILINE)
    return "".join(f"{command}\n" for command in typed)


def commands(text: str) -> list[list[str]]:
    """The simple commands of a shell text, each as its words; without assignments before it and redirections."""
    text = _COMMENT.sub("", text.replace("\\\n", " "))
    lexer = shlex.shlex(text, posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    found: list[list[str]] = [[]]
    redirected = False
    for word in lexer:
        if set(word) & set("();|&\n") and set(word) <= set("();<>|&\n"):
            found.append([])
            redirected = False
        elif set(word) <= set("<>"):
            redirected = True
        elif redirected:
            redirected = False
        elif found[-1] or not _ASSIGNMENT.match(word):
            found[-1].append(word)
    return [words for words in found if words]
