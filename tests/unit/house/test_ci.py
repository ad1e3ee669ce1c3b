"""`.ci/run` tells how long each part took and what did not run, also when a part fails."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run(folder: Path, make: str) -> "subprocess.CompletedProcess[str]":
    """The script in a folder of its own, where no program is what it is called."""
    programs = folder / "programs"
    programs.mkdir()
    stubs = {
        "make": make,
        "docker": "exit 1",
        "apt-get": "exit 0",
        "redis-server": "echo Redis server v=7.0.15",
    }
    for name, body in stubs.items():
        (programs / name).write_text(f"#!/bin/sh\n{body}\n")
        (programs / name).chmod(0o755)
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", folder / ".ci" / "run")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KUBE")}
    return subprocess.run(
        ["bash", ".ci/run"],
        cwd=folder,
        env={**environment, "PATH": f"{programs}:{os.environ['PATH']}", "KUBER_CRON_CI_TOOLS": "nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )


def table(output: str) -> list[str]:
    _, _, last = output.partition("--- minutes of each part\n")
    return re.findall(r"^ +\d+:\d\d  (.*)$", last, re.MULTILINE)


def test_the_minutes_of_each_part_are_told_at_the_end(tmp_path: Path):
    done = run(tmp_path, "exit 0")
    assert done.returncode == 0, done.stderr
    told = table(done.stdout)
    assert sorted(told) == [
        "all of it",
        "make check",
        "make test-redis, Redis server v=7.0.15",
        "make test-rest",
        "programs-and-images (beside the others)",
    ]
    assert told[-1] == "all of it"


def test_what_did_not_run_is_told(tmp_path: Path):
    said = run(tmp_path, "exit 0").stderr
    assert "did not run: no Docker engine with Compose" in said
    assert "did not run: no Kubernetes API server" in said


@pytest.mark.parametrize("failing", ["check", "test-rest"])
def test_a_part_that_fails_ends_the_run_and_is_named_in_the_table(tmp_path: Path, failing: str):
    done = run(tmp_path, f'[ "$1" != {failing} ] || exit 3')
    assert done.returncode != 0
    assert f"make {failing} (failed)" in table(done.stdout)
    assert table(done.stdout)[-1] == "all of it"
