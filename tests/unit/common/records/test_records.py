"""Runs, attempts and decisions as Redis holds them, however spoilt."""

import base64
import json
import zlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.jobs.job import Job
from kuber_cron.common.records import attempt
from kuber_cron.common.records.decision_log import LogEntry
from kuber_cron.common.records.job_state import state_of
from kuber_cron.common.records.job_summary import JobSummary
from kuber_cron.common.records.processes import WorkerInfo
from kuber_cron.common.records.run import RUN_FIELDS, RunRecord
from kuber_cron.common.runs import payload as runs
from kuber_cron.common.runs.payload import decode_unverified
from kuber_cron.common.schedule import Schedule
from kuber_cron.control import documents

AT = datetime(2026, 3, 1, tzinfo=UTC)
JUNK = st.dictionaries(st.sampled_from([*RUN_FIELDS, "other"]), st.text(max_size=9))


def encoded(value):
    return base64.b64encode(json.dumps(value).encode()).decode()


@given(JUNK)
def test_whatever_stands_in_a_runs_hash_is_read_or_left_out(fields):
    found = RunRecord.from_fields("job-1", fields)
    if fields.get("job") and fields.get("status"):
        assert json.dumps(documents.plain(found))
    else:
        assert found is None


@given(
    st.dictionaries(
        st.sampled_from(["return_value", "exc_string", "execution_ended_at", "x"]), st.text(max_size=9)
    )
)
def test_whatever_stands_in_a_result_is_read(fields):
    found = attempt.AttemptRecord.from_fields(fields, 7)
    assert (found.attempt, found.outcome) == (7, "lost")
    assert json.dumps(documents.plain(found))


@given(
    st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3))
)
def test_whatever_type_the_values_of_a_result_have_it_is_read(junk):
    names = (
        "outcome",
        "exit_code",
        "seconds",
        "streams",
        "warnings",
        "attempt",
        "head",
        "max_rss_bytes",
        "log",
    )
    found = attempt.AttemptRecord.from_fields({"return_value": encoded(dict.fromkeys(names, junk))}, 1)
    assert json.dumps(documents.plain(found))


def test_the_states_of_a_run_are_told_by_its_status():
    told = {"job": "job", "at": "1772323200", "outcome": "failed", "execution": "", "attempt": "2"}
    states = {
        status: RunRecord.from_fields("job-1", {**told, "status": status}).state
        for status in (
            "queued",
            "deferred",
            "started",
            "scheduled",
            "finished",
            "failed",
            "stopped",
            "canceled",
        )
    }
    assert list(states.values()) == [
        "queued",
        "held",
        "running",
        "waiting",
        "ended",
        "ended",
        "ended",
        "ended",
    ]


@pytest.mark.parametrize(
    ("status", "outcome"), [("finished", "success"), ("failed", "failed"), ("canceled", "removed")]
)
def test_an_end_by_another_tool_has_the_outcome_that_it_means(status, outcome):
    assert RunRecord.from_fields("job-1", {"job": "job", "status": status}).outcome == outcome


def test_an_attempt_has_all_that_its_worker_told():
    value = {
        "outcome": "failed",
        "exit_code": 2,
        "attempt": 3,
        "queued_at": "2026-03-01T00:00:00.000000Z",
        "seconds": 1.5,
        "cpu_seconds": 0.2,
        "max_rss_bytes": 70_000_000,
        "output_bytes": 5000,
        "dropped_bytes": 10,
        "head": "aé",
        "tail": "z",
        "omitted_bytes": 4000,
        "streams": [["stdout", 2], ["stderr", 1]],
        "log": "/logs/x",
        "warnings": ["no user"],
    }
    told = {
        "return_value": encoded(value),
        "worker_name": "w",
        "execution_id": "e",
        "execution_started_at": "1772323200.5",
        "execution_ended_at": "1772323202",
    }
    found = attempt.AttemptRecord.from_fields(told, 1)
    assert (found.attempt, found.exit_code, found.signal) == (3, 2, None)
    assert (found.queued_at, found.worker, found.execution) == (AT, "w", "e")
    assert found.streams == (("stdout", 2), ("stderr", 1))
    assert found.kept_bytes == 3 + 4000 + 1
    assert (found.ended_at - found.started_at).total_seconds() == 1.5
    assert (found.warnings, found.reason) == (("no user",), None)


def test_a_lost_attempt_is_told_as_the_leader_has_written_it():
    story = base64.b64encode(zlib.compress(b"the worker was lost: no heartbeat")).decode()
    found = attempt.AttemptRecord.from_fields({"exc_string": story, "worker_name": "w"}, 2)
    assert (found.outcome, found.attempt, found.reason) == ("lost", 2, "the worker was lost: no heartbeat")


def test_the_attempts_of_a_run_are_numbered_from_their_end():
    lost, told = {"worker_name": "w"}, {"return_value": encoded({"outcome": "failed", "attempt": 13})}
    assert [each.attempt for each in attempt.attempts([lost, told, lost], 14)] == [12, 13, 14]
    assert [each.attempt for each in attempt.attempts([lost, lost], 2)] == [1, 2]


def test_the_output_of_a_running_attempt_is_what_it_has_said_so_far():
    run = RunRecord.from_fields(
        "job-1", {"job": "job", "status": "started", "attempt": "2", "execution": "e", "worker_name": "w"}
    )
    said = {"head": "abc", "tail": "", "streams": [["stdout", 3]], "omitted_bytes": 0, "total_bytes": 3}
    found = attempt.AttemptRecord.running(run, json.dumps(said).encode())
    assert (found.attempt, found.outcome, found.head, found.output_bytes) == (2, None, "abc", 3)
    assert attempt.AttemptRecord.running(run, None).head == ""


@given(
    st.dictionaries(
        st.sampled_from(["decision", "first", "last", "count", "epoch", "run"]), st.text(max_size=9)
    )
)
def test_whatever_stands_in_a_log_is_read_or_left_out(fields):
    found = LogEntry.from_fields("1772323200000-0", fields)
    assert found is None or json.dumps(documents.plain(found))


def test_a_run_by_hand_decides_no_instant():
    told = {"decision": "queued", "first": "1772323200", "run": "job-20260301T000000Z"}
    assert LogEntry.from_fields("1-0", told).is_occurrence
    assert not LogEntry.from_fields("1-0", {**told, "run": told["run"] + "-m0123abcd"}).is_occurrence
    assert not LogEntry.from_fields("1-0", {**told, "decision": "ended"}).is_occurrence


def test_a_payload_is_shown_whoever_signed_it_and_junk_is_not():
    payload = runs.payload_for(Job(id="job", schedule="@daily", command="pg_dump"), AT)
    data = zlib.compress(
        json.dumps([runs.FUNCTION, None, [payload.to_bytes().decode(), "forged"], {}]).encode()
    )
    assert decode_unverified(data).command == "pg_dump"
    for junk in (
        b"",
        b"x",
        zlib.compress(b"[]"),
        zlib.compress(b'["f", null, ["{}", ""], {}]'),
        zlib.compress(b"\xff"),
    ):
        assert decode_unverified(junk) is None


@given(
    st.text(max_size=12),
    st.text(max_size=12),
    st.lists(st.none() | st.binary(max_size=6), min_size=5, max_size=5),
)
def test_whatever_redis_holds_of_a_job_its_state_is_told(cursor, card, stats):
    assert json.dumps(documents.plain(state_of("job", cursor, card, None, stats)))


@given(st.dictionaries(st.sampled_from(["pid", "slots", "birth", "queues", "draining"]), st.text(max_size=6)))
def test_whatever_stands_in_a_workers_hash_is_read(fields):
    found = WorkerInfo.from_fields("w", fields, is_alive=True, running=0, claimed=0)
    assert json.dumps(documents.plain(found))


def test_the_next_run_of_a_spread_schedule_is_the_jobs_own_or_its_predecessors():
    cursor = f"{int(AT.timestamp())}|UTC|H H * * *"
    cards = [JobSummary(schedule="H H * * *"), JobSummary(schedule="@after", timed_by="extract", delay=60.0)]
    one, other, after = (
        state_of(name, cursor, card.to_text(), None, None)
        for name, card in (("one", cards[0]), ("other", cards[0]), ("report", cards[1]))
    )
    found = {
        name: Schedule.parse("H H * * *", "UTC", name).next_after(AT) for name in ("one", "other", "extract")
    }
    assert [one.next_at, other.next_at, after.next_at] == list(found.values())
    assert len(set(found.values())) == 3
    assert (after.due_at - after.next_at).total_seconds() == 60
