"""docs/architecture.md and CONTRIBUTING.md name files that exist, and the way of one occurrence stays short."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = ("docs/architecture.md", "CONTRIBUTING.md")
FILE = re.compile(r"`((?:common|control|scheduler|worker|cli|tests)/[\w/]+\.(?:py|lua))`")

MOST_MODULES = 42
"""The aim is 35; the house before had 66."""
MOST_HAND_OVERS = 20


@pytest.mark.parametrize("page", PAGES)
def test_the_files_that_a_page_names_exist(page):
    named = set(FILE.findall((ROOT / page).read_text()))
    assert named
    assert {name for name in named if not (ROOT / name).is_file()} == set()


def test_one_occurrence_passes_few_modules():
    text = (ROOT / "docs" / "architecture.md").read_text()
    way = text.partition("## The way of one occurrence")[2].partition("\n## ")[0]
    assert 20 < len(set(FILE.findall(way))) <= MOST_MODULES
    assert len(re.findall(r"^\| \d+ \|", way, re.MULTILINE)) <= MOST_HAND_OVERS
