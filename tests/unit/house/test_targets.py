"""Nobody is told to type a `make` target that does not exist, and `make` alone lists them all."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z0-9-]*):", MAKEFILE, re.MULTILINE))
WRITTEN = [
    ROOT / ".ci" / "run",
    *ROOT.glob("*.md"),
    *ROOT.glob(".github/workflows/*"),
    *ROOT.glob("docs/**/*.md"),
]


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_target_that_is_written_about_exists(path: Path):
    text = path.read_text(encoding="utf-8")
    said = re.findall(r"(?:`|^ *|run: )make ([a-z][a-z0-9-]*)\b", text, re.MULTILINE)
    assert sorted(set(said) - TARGETS) == []


def test_make_alone_lists_every_target():
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make ([a-z0-9-]+) ", listed, re.MULTILINE)) == TARGETS


def test_a_machine_without_a_recent_python_is_told_what_to_do(tmp_path: Path):
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")  # what `python3 -c` says of a version below 3.11
    old.chmod(0o755)
    ended = subprocess.run(
        [ROOT / "requirements" / "venv", tmp_path / "venv", "nothing.txt"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "no Python of at least 3.11" in ended.stderr
    assert "make test PYTHON=" in ended.stderr
