"""docs/cli-reference.md is what the commands say of themselves."""

from pathlib import Path

from kuber_cron.cli import reference

PAGE = Path(__file__).parents[2] / "docs" / "cli-reference.md"


def test_the_page_is_the_one_that_the_code_makes():
    """python -m kuber_cron.cli.reference > docs/cli-reference.md"""
    assert PAGE.read_text() == reference.document()
