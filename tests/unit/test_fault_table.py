"""The table of faults in the docs is the one that the tests try."""

import re
from pathlib import Path

from tests.s3 import fault_table

ROOT = Path(__file__).parents[2]


def test_the_docs_say_what_is_tried():
    told = {line for page in (ROOT / "docs").glob("*.md") for line in page.read_text().splitlines()}
    assert set(fault_table.markdown().splitlines()) <= told


def test_every_row_is_shown_by_rules_or_by_a_test():
    tests = (ROOT / "tests/s3/test_faults_copies.py").read_text()
    shown = set(re.findall(r"^def (test_\w+)", tests, re.MULTILINE))
    names = [row.name for row in fault_table.ROWS]
    assert len(names) == len(set(names))
    for row in fault_table.ROWS:
        assert row.by in shown if row.by else row.source or row.destination
