"""The table of stores in the docs: ``python -m tests.provider_table`` prints it."""

from multipartcopy.s3.profiles import Store, stores

_HEADER = (
    "`profile`",
    "known by its host",
    "parts",
    "of size",
    "object up to",
    "CRC64NVME with the parts",
    "conditional writes",
    "copies by itself",
    "a part's ETag is its MD5",
    "`addressingStyle: Auto`",
    "sources",
)
_WORDS = {True: "yes", False: "no", None: "tried"}


def markdown() -> str:
    rows = [_HEADER, ("---",) * len(_HEADER)]
    rows += [_row(profile, store) for profile, store in stores().items()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _row(profile: str, store: Store) -> tuple[str, ...]:
    limits = store.limits
    sizes = f"{_size(limits.min_part)} to {_size(limits.max_part)}"
    links = ", ".join(f"[{n}]({url})" for n, url in enumerate(store.sources, 1))
    return (
        f"`{profile}`: {store.title}",
        ", ".join(f"`{host}`" for host in store.hosts) or "none",
        f"{limits.max_parts:,}" + (", all equal" if store.equal_parts else ""),
        sizes,
        _size(limits.largest),
        _WORDS[store.checksums],
        _WORDS[store.conditional_writes],
        _WORDS[store.part_copy],
        _WORDS[store.part_md5],
        "Virtual" if store.virtual else "Path",
        links + ("; tried by our tests" if store.measured else ""),
    )


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} TiB"


if __name__ == "__main__":
    print(markdown())
