"""The table of job options: complete, in order, and the one place of defaults."""

import dataclasses

import pytest

from kuber_cron.common.jobs import Job, options
from kuber_cron.common.jobs.options import OPTIONS, AttemptOptions, JobOptions
from kuber_cron.common.runs.payload import Payload
from kuber_cron.worker.execution.launch import Launch

JOB = Job(id="a", schedule="@daily", command="true")


def test_every_attribute_of_the_options_is_a_row():
    assert {option.attribute for option in OPTIONS.values()} == {
        each.name for each in dataclasses.fields(JobOptions)
    }


def test_the_manuals_order_names_every_option():
    assert tuple(OPTIONS) == options._ORDER


@pytest.mark.parametrize(
    "option", [each for each in OPTIONS.values() if each.key != "name"], ids=lambda each: each.key
)
def test_a_job_that_sets_nothing_has_the_tables_defaults(option):
    assert getattr(JOB, option.attribute) == option.default


@pytest.mark.parametrize(
    "option", [each for each in OPTIONS.values() if each.default not in (None, [])], ids=lambda each: each.key
)
def test_a_default_is_of_its_options_type(option):
    assert option.type.parse(option.type.write(option.default)) == option.default


def test_two_jobs_share_no_list_of_their_defaults():
    other = Job(id="b", schedule="@daily", command="true")
    assert other.success_codes is not JOB.success_codes
    assert other.after is not JOB.after


def test_a_payload_carries_the_options_of_attempts_and_no_others():
    carried = {each.name for each in dataclasses.fields(Payload)} & {
        each.name for each in dataclasses.fields(JobOptions)
    }
    assert carried == {each.name for each in dataclasses.fields(AttemptOptions)}


def test_what_a_worker_starts_has_the_tables_defaults():
    launch = Launch(run_id="r", job="a", execution_id="e", argv=("true",), env={})
    assert launch.kill_grace_seconds == OPTIONS["kill_grace"].default
    assert launch.log_limit_bytes == OPTIONS["log_limit"].default
    assert launch.success_codes == frozenset(OPTIONS["success_codes"].default)
