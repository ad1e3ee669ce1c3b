"""Payloads: what is written is what is read, signed or not, and nothing else is executed."""

import json
from dataclasses import fields
from datetime import UTC, datetime

import pytest

from kuber_cron.common.jobs.job import Job
from kuber_cron.common.runs.payload import (
    Payload,
    PayloadError,
    arguments_in,
    decode,
    decode_unverified,
    encode,
    payload_for,
)

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
JOB = Job(id="job", schedule="@daily", command="true", retries=3, not_after=datetime(2027, 1, 1, tzinfo=UTC))


def test_what_is_written_is_what_is_read():
    payload = payload_for(JOB, AT)
    assert decode(list(encode(payload, b"key")), [b"key"]) == payload


def test_a_field_that_an_older_release_did_not_write_has_the_jobs_default():
    values = json.loads(payload_for(JOB, AT).to_bytes())
    for name in ("team", "no_retry_on", "kill_grace", "retries"):
        del values[name]
    read = Payload.from_bytes(json.dumps(values).encode())
    assert (read.team, read.no_retry_on, read.kill_grace, read.retries) == (None, [], 10.0, 0)


def test_what_a_payload_takes_of_a_job_is_of_one_name_and_default():
    of_job = {each.name for each in fields(Job)}
    own = {each.name for each in fields(Payload)} - of_job
    assert own == {"version", "run", "job", "scheduled_at", "origin", "manual"}


def test_at_most_once_leaves_no_second_attempt_in_the_payload():
    payload = payload_for(
        Job(id="a", schedule="@daily", command="x", retries=5, execution="at_most_once"), AT
    )
    assert (payload.retries, payload.max_lost, payload.on_interrupt) == (0, 0, "fail")


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"version": 2}, "version"), ({"newer": 1}, "version"), ({"scheduled_at": "soon"}, "malformed")],
)
def test_a_newer_payload_is_put_back_and_a_malformed_one_is_not(change, reason):
    values = json.loads(payload_for(JOB, AT).to_bytes()) | change
    with pytest.raises(PayloadError) as error:
        Payload.from_bytes(json.dumps(values).encode())
    assert error.value.reason == reason
    assert json.loads(error.value.to_note()) == {"reason": reason, "message": error.value.message}


@pytest.mark.parametrize("data", [b"", b"pickle", b"x\x9c"])
def test_data_that_rq_did_not_write_as_json_are_malformed(data):
    with pytest.raises(PayloadError, match="JSON serializer") as error:
        arguments_in(data)
    assert error.value.reason == "malformed"
    assert decode_unverified(data) is None
