"""docs/cli-reference.md is what the commands say of themselves."""

from pathlib import Path

from kuber_cron.cli.reference import commands_page

PAGE = Path(__file__).parents[4] / "docs" / "cli-reference.md"


def test_the_page_is_the_one_that_the_code_makes():
    """python -m kuber_cron.cli.reference.commands_page > docs/cli-reference.md"""
    assert PAGE.read_text() == commands_page.document()
