"""The JSON Schema that editors are given takes every file that loads, and marks the mistakes that it can know of."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from tests.support.any_jobs import job_lists
from tests.support.json_schema import faults

from kuber_cron.cli.reference import options_page
from kuber_cron.common.formats import yaml_jobs, yaml_writer

SCHEMA = json.loads(options_page.schema_text())
ROOT = Path(__file__).parents[4]


@given(job_lists())
def test_every_file_that_is_written_fits(jobs):
    assert faults(yaml.safe_load(yaml_writer.write(jobs).text), SCHEMA) == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/**/*.yaml")), ids=lambda path: path.name)
def test_every_example_fits(path):
    document = yaml.safe_load(path.read_text())
    if "jobs" in document:
        assert faults(document, SCHEMA) == []


@pytest.mark.parametrize(
    "job",
    [
        "retires: 3",
        "retries: -1",
        "retries: three",
        "timeout: 1x",
        "concurrency: forbidden",
        "suspend: 'yes please'",
        "env: {A: [1]}",
        "memory: 1XB",
        "umask: '9'",
        "ping: example.com",
        "group: a b",
        "retry_jitter: 2",
    ],
)
def test_a_mistake_that_costs_a_job_is_marked(job):
    text = f"version: 1\njobs:\n- {{schedule: '@daily', command: x, {job}}}\n"
    assert yaml_jobs.parse(text).jobs == []
    assert faults(yaml.safe_load(text), SCHEMA) != []


@pytest.mark.parametrize(
    "text", ["jobs: []", "version: 2\njobs: []", "version: 1", "version: 1\njobs: [{command: x}]"]
)
def test_what_is_missing_is_marked(text):
    assert faults(yaml.safe_load(text), SCHEMA) != []
