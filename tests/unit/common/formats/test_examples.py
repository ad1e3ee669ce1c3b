"""The examples are what people copy: they load without a word, and say the same in both languages."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from kuber_cron.common.formats import crontab, yaml_jobs
from kuber_cron.common.jobs.job import Parsed

EXAMPLES = Path(__file__).parents[4] / "examples"
OWN = sorted(path for path in EXAMPLES.iterdir() if path.is_file())
COMPOSE = sorted((EXAMPLES / "compose" / "jobs").iterdir())
FILES = [*OWN, *COMPOSE]


def parse(path: Path) -> Parsed:
    language = yaml_jobs if path.suffix == ".yaml" else crontab
    return language.parse(path.read_text(encoding="utf-8"), source=path.name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_example_loads_with_nothing_to_complain_about(path: Path):
    parsed = parse(path)
    assert [str(found) for found in parsed.diagnostics] == []
    assert parsed.jobs


def test_the_crontab_and_the_yaml_file_are_the_same_jobs():
    nowhere = {"source": "", "line": 0}
    classic, yaml = (parse(EXAMPLES / name).jobs for name in ("classic.crontab", "jobs.yaml"))
    assert [replace(job, **nowhere) for job in classic] == [replace(job, **nowhere) for job in yaml]


def test_an_example_shows_life_within_ten_seconds():
    schedules = [job.schedule for job in parse(EXAMPLES / "classic.crontab").jobs]
    assert "@every 10s" in schedules


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_an_example_writes_only_below_its_data_folder(path: Path):
    for job in parse(path).jobs:
        assert job.env["DATA"] == ".kuber-cron/example", job.id
        assert ".." not in job.command, job.id


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_what_compose_runs_writes_only_to_the_volume_that_its_workers_share(path: Path):
    for job in parse(path).jobs:
        assert isinstance(job.command, str)
        for named in re.findall(r"(?<![\w/])/[a-z][\w/.-]*", job.command):
            assert named.startswith("/work"), job.id
