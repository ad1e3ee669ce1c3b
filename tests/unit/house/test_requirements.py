"""The lock files name every dependency, by version and hash, and no index that they came from."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import kuber_cron

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "requirements").glob("*.txt")}
PIN = re.compile(
    r"^([a-z0-9-]+)(?:\[[a-z0-9,-]+\])?==([^ ;]+).*?((?: \\\n    --hash=sha256:[0-9a-f]{64})*)$", re.MULTILINE
)


def group(name: str) -> list[str]:
    """A dependency group with its includes resolved (PEP 735)."""
    found = []
    for entry in PROJECT["dependency-groups"][name]:
        found += [entry] if isinstance(entry, str) else group(entry["include-group"])
    return found


RUNTIME = PROJECT["project"]["dependencies"]
EMBEDDED = PROJECT["project"]["optional-dependencies"]["embedded"]
WANTED = {
    "browser": group("browser"),
    "build": PROJECT["build-system"]["requires"],
    "dashboard": group("dashboard"),
    "dev": RUNTIME + EMBEDDED + group("dev"),
    "packaging": group("packaging"),
    "runtime": RUNTIME,
}


def test_there_is_a_lock_file_for_each_use():
    assert sorted(LOCKS) == sorted(WANTED)


@pytest.mark.parametrize("name", sorted(WANTED))
def test_every_dependency_is_pinned_to_a_version_it_allows(name: str):
    pinned = {match[1]: match[2] for match in PIN.finditer(LOCKS[name])}
    for line in WANTED[name]:
        wanted = Requirement(line)
        version = pinned.get(canonicalize_name(wanted.name), "none")
        assert version != "none", f"{wanted.name} is not in requirements/{name}.txt: run `make lock`"
        assert wanted.specifier.contains(version, prereleases=True), f"{line}, but {version} is locked"


@pytest.mark.parametrize("name", sorted(LOCKS))
def test_every_pin_has_a_hash(name: str):
    lines = [line for line in LOCKS[name].splitlines() if line and not line.startswith((" ", "#"))]
    pins = list(PIN.finditer(LOCKS[name]))
    assert len(pins) == len(lines)
    assert [pin[1] for pin in pins if "--hash" not in pin[3]] == []


@pytest.mark.parametrize("name", sorted(LOCKS))
def test_no_lock_file_names_an_address_or_an_index(name: str):
    assert re.findall(r".*(?:://|index-url|find-links|@ file).*", LOCKS[name]) == []


def test_the_version_is_the_same_in_the_project_file_and_in_the_package():
    assert PROJECT["project"]["version"] == kuber_cron.__version__
