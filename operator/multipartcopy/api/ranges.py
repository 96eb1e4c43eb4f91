"""Sets of part numbers written as people write them: ``1-64,66,70-71``."""

from collections.abc import Iterable

MOST = 10_000
"""Parts of an object: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""


def format_ranges(numbers: Iterable[int]) -> str:
    """The shortest such text; the numbers in any order, each once."""
    runs: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def parse_ranges(text: str) -> list[int]:
    """The numbers of such a text, ascending as written. Raises ValueError for anything else, and for too many."""
    numbers: list[int] = []
    for run in text.split(",") if text else []:
        first, dash, last = run.partition("-")
        low, high = int(first), int(last if dash else first)
        if len(numbers) + high - low >= MOST:
            raise ValueError(f"more than {MOST} part numbers")
        numbers.extend(range(low, high + 1))
    return numbers
