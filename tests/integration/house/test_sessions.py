"""docs/sessions.md is a recording of what docs/sessions.py does: recorded again, it asks the same and is answered."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"


def skeleton(page):
    """The questions and the commands, without the instants in them."""
    lines = [line for line in page.splitlines() if line.startswith(("#", "$ ", "[exit"))]
    return [re.sub(r"\d{8}T\d{6}Z|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<instant>", line) for line in lines]


def test_the_recorded_page_answers_the_five_questions():
    page = (DOCS / "sessions.md").read_text()
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == [
        "What is running?",
        "What failed?",
        "Why did this not run?",
        "Run it again",
        "Stop it",
    ]
    assert "no space left on device" in page
    assert "it was not queued: an earlier run had not ended" in page


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_session_can_be_recorded_again(tmp_path):
    page = tmp_path / "sessions.md"
    subprocess.run([sys.executable, DOCS / "sessions.py", page], check=True, timeout=380)
    assert skeleton(page.read_text()) == skeleton((DOCS / "sessions.md").read_text())
