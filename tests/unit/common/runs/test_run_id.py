"""Run ids: they name the job, the instant, and whether an operator asked for the run."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.runs.run_id import (
    is_manual_run,
    job_of_run,
    manual_prefix,
    manual_run_id,
    run_id,
)

nonces = st.from_regex(r"[0-9a-f]{32}", fullmatch=True)
jobs = st.from_regex(r"[A-Za-z0-9_-]{1,62}", fullmatch=True)
NAIVE = datetime(2026, 3, 1, tzinfo=UTC).replace(tzinfo=None)  # hypothesis wants its bounds so
instants = st.datetimes(
    min_value=NAIVE.replace(year=1971), max_value=NAIVE.replace(year=2100), timezones=st.just(UTC)
)


@given(nonces, jobs, instants)
def test_the_id_of_a_manual_run_names_its_job_and_is_told_from_an_occurrences(nonce, job, at):
    run = manual_run_id(job, at, nonce)
    assert job_of_run(run) == job
    assert is_manual_run(run)
    assert run.startswith(manual_prefix(job, at))
    assert not is_manual_run(run_id(job, at))
    assert job_of_run(run_id(job, at)) == job


def test_the_instant_is_written_in_utc():
    at = datetime(2026, 3, 29, 3, 0, tzinfo=timezone(timedelta(hours=2)))
    assert run_id("backup", at) == "backup-20260329T010000Z"
    assert manual_run_id("backup", at, "0123456789ab") == "backup-20260329T010000Z-m01234567"


@pytest.mark.parametrize("text", ["", "backup", "backup-2026", "rq:job:7", "backup-20260329T010000Z-mXYZ"])
def test_what_is_no_run_id_is_its_own_job_and_no_manual_run(text):
    assert job_of_run(text) == text
    assert not is_manual_run(text)
