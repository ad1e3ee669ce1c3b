"""Longest gaps are worked out a slice at a time, and anew after an edit."""

from datetime import UTC, datetime

from tests.support.workers import job

from kuber_cron.scheduler.decisions.catalog import compile_entries
from kuber_cron.scheduler.maintenance.schedule_gaps import ScheduleGaps

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_call_works_out_a_hundred_schedules_and_the_next_call_the_rest():
    entries = compile_entries([job(f"j{i}", schedule=f"@every {i + 1}s") for i in range(150)])
    gaps = ScheduleGaps()
    assert len(gaps.update_some(entries, NOW)) == 100
    assert gaps.update_some(entries, NOW) == {f"j{i}": i + 1.0 for i in range(150)}


def test_jobs_of_one_schedule_are_worked_out_together_and_those_spread_by_their_names_are_not():
    same = compile_entries([job(f"j{i}", schedule="@daily") for i in range(1000)])
    assert len(ScheduleGaps().update_some(same, NOW)) == 1000
    spread = compile_entries([job(f"j{i}", schedule="H H * * *") for i in range(101)])
    assert len(ScheduleGaps().update_some(spread, NOW)) == 100


def test_an_edited_schedule_is_worked_out_anew_and_a_removed_job_is_forgotten():
    gaps = ScheduleGaps()
    gaps.update_some(compile_entries([job("a"), job("b")]), NOW)
    edited = compile_entries([job("a", schedule="@every 1h")])
    assert gaps.update_some(edited, NOW) == {"a": 3600.0}
