"""Each page that is made from the code is what the code makes. If one is not: make docs."""

from pathlib import Path

import pytest

from kuber_cron.cli.reference import __main__ as reference

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize(("path", "text"), reference.texts(ROOT).items(), ids=lambda value: str(value)[-40:])
def test_a_page_is_the_one_that_the_code_makes(path, text):
    assert path.read_text() == text


def test_a_table_is_replaced_within_its_page_and_nothing_else():
    page = "# A\n\n| a |\n| - |\n| old |\n\nrest\n\n| b |\n"
    assert reference._with_table(page, "| a |\n| - |\n| new |") == page.replace("old", "new")


def test_a_table_may_be_the_end_of_its_page():
    assert reference._with_table("| a |\n| old |\n", "| a |\n| new |") == "| a |\n| new |\n"


def test_a_page_without_the_table_is_refused():
    with pytest.raises(ValueError, match="no table"):
        reference._with_table("# A\n", "| a |")
