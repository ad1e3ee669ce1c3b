"""What the guides show is what happens: the examples of each page are run, one after another, in one directory.

A block ```LANGUAGE file=NAME is a file, a block ```console is what a shell says. A line of `…` stands for any lines.
"""

import os
import re
import sys
from pathlib import Path

import pytest
from tests.support.cli_process import COMMAND, environment
from tests.support.transcripts import said, transcript

DOCS = Path(__file__).parents[3] / "docs"
PAGES = sorted([*(DOCS / "moving").glob("*.md"), DOCS / "getting-started.md"])
_BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def is_shown(found, shown):
    """Whether the lines are those that are shown, where `…` may be any."""
    pattern = "".join(r"(?:.*\n)*" if line == "…" else re.escape(line) + r"\n" for line in shown)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in found)) is not None


@pytest.fixture
def program(tmp_path_factory):
    """A folder for PATH with kuber-cron in it, and the Python that has what the examples import."""
    folder = tmp_path_factory.mktemp("bin")
    for name, words in {"kuber-cron": COMMAND, "python": [sys.executable]}.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_say_what_it_shows(page, program, tmp_path):
    count = 0
    for language, name, text in _BLOCK.findall(page.read_text()):
        if name:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif language == "console":
            for example in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, shown = example.partition("\n")
                assert_says(command, shown, tmp_path, program)
                count += 1
    assert count, "the page has no example that a test could run"


def assert_says(command, shown, directory, program):
    env = environment(PATH=f"{program}{os.pathsep}{os.environ['PATH']}")
    found = transcript(["/bin/sh", "-c", command], cwd=directory, env=env)
    assert is_shown(said(found), said(shown)), f"$ {command}\n{found}"
