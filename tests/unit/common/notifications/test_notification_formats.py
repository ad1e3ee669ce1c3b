"""What is told, to whom, and in which form."""

import hashlib
import hmac
import json
import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.notifications import events, json_format, slack_format, webhook
from kuber_cron.common.notifications.channels import CHANNELS
from kuber_cron.common.notifications.events import Missed, RunEnded, is_wanted
from kuber_cron.common.notifications.healthchecks import Ping, signal_of
from kuber_cron.common.runs.run_id import run_id

AT = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)
FAILED = RunEnded(
    job="backup",
    team="storage",
    description="nightly dump",
    run=run_id("backup", AT),
    attempt=3,
    outcome="failed",
    exit_code=2,
    scheduled_at=AT,
    started_at=AT + timedelta(seconds=1, milliseconds=250),
    ended_at=AT + timedelta(seconds=9),
    duration_seconds=7.75,
    worker="worker-1",
    output="no space left on device\n",
)
MISSED = Missed(
    job="report",
    reason="overlap",
    first_at=AT,
    last_at=AT + timedelta(minutes=2),
    count=3,
    leader="scheduler-0",
)


def ended(outcome, **more):
    return replace(FAILED, outcome=outcome, **more)


@pytest.mark.parametrize(
    ("outcome", "recovered", "kind"),
    [
        ("success", False, "success"),
        ("success", True, "recovery"),
        ("failed", False, "failure"),
        ("timed_out", False, "failure"),
        ("signalled", False, "failure"),
        ("lost", False, "failure"),
        ("stopped", False, "failure"),
        ("interrupted", False, "failure"),
        ("replaced", False, "ended"),
    ],
)
def test_every_end_is_of_one_kind(outcome, recovered, kind):
    assert ended(outcome, recovered=recovered).kind == kind


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("failure,recovery", {"failure", "recovery"}),
        ("failure", {"failure"}),
        ("missed", {"missed"}),
        ("always", {"failure", "recovery", "success", "ended"}),
        ("always,missed", {"failure", "recovery", "success", "ended", "missed"}),
        ("never", set()),
    ],
)
def test_each_word_wants_its_kinds(words, told):
    kinds = ("failure", "recovery", "success", "ended", "missed")
    assert {kind for kind in kinds if is_wanted(words, kind)} == told


def test_a_failure_as_json():
    assert json_format.document(FAILED, "kuber-cron") == {
        "version": 1,
        "id": "3132cb90-ddc3-5f07-a7e4-11103b7cf2fc",
        "kind": "failure",
        "instance": "kuber-cron",
        "job": "backup",
        "team": "storage",
        "description": "nightly dump",
        "run": "backup-20260301T023000Z",
        "attempt": 3,
        "outcome": "failed",
        "exit_code": 2,
        "signal": None,
        "scheduled_at": "2026-03-01T02:30:00Z",
        "started_at": "2026-03-01T02:30:01.250Z",
        "ended_at": "2026-03-01T02:30:09Z",
        "duration_seconds": 7.75,
        "worker": "worker-1",
        "leader": None,
        "output": "no space left on device\n",
    }


def test_missed_instants_as_json():
    document = json_format.document(MISSED, "kuber-cron")
    assert (document["kind"], document["reason"], document["count"]) == ("missed", "overlap", 3)
    assert (document["first_at"], document["last_at"]) == ("2026-03-01T02:30:00Z", "2026-03-01T02:32:00Z")
    assert document["leader"] == "scheduler-0"
    assert "run" not in document


def test_the_id_is_that_of_the_event_and_not_of_the_try():
    first, again = (json_format.document(FAILED, "a") for _ in range(2))
    assert first["id"] == again["id"]
    others = [
        json_format.document(FAILED, "b"),
        json_format.document(replace(FAILED, attempt=4), "a"),
        json_format.document(ended("success"), "a"),
        json_format.document(MISSED, "a"),
    ]
    assert len({first["id"], *(other["id"] for other in others)}) == 5


def test_a_failure_in_slacks_form():
    document = slack_format.document(FAILED, "kuber-cron")
    assert document["text"] == "backup failed with exit code 2"
    (attachment,) = document["attachments"]
    assert attachment["color"] == "danger"
    assert attachment["fallback"] == document["text"]
    assert attachment["text"] == "```\nno space left on device\n```"
    told = {field["title"]: field["value"] for field in attachment["fields"]}
    assert told == {
        "Run": "backup-20260301T023000Z",
        "Attempt": "3",
        "Duration": "7.8 s",
        "Worker": "worker-1",
        "Team": "storage",
        "Instance": "kuber-cron",
        "Description": "nightly dump",
    }


@pytest.mark.parametrize(
    ("notice", "sentence"),
    [
        (ended("timed_out", exit_code=None, signal=15), "backup ran into its time limit"),
        (ended("signalled", exit_code=None, signal=9), "backup was ended by signal 9"),
        (ended("lost", exit_code=None), "backup was lost with its worker"),
        (ended("failed", exit_code=None), "backup failed"),
        (ended("success", recovered=True), "backup works again"),
        (ended("success"), "backup succeeded"),
        (ended("replaced"), "backup was replaced by a newer run"),
        (MISSED, "report missed 3 runs: overlap"),
        (replace(MISSED, count=1, reason="predecessor"), "report missed a run: predecessor"),
    ],
)
def test_each_notice_is_a_sentence(notice, sentence):
    assert events.summary(notice) == sentence


@given(output=st.text(max_size=6000))
def test_no_output_can_make_a_link_or_leave_its_block_in_slack(output):
    document = slack_format.document(ended("failed", output=output), "kuber-cron")
    shown = document["attachments"][0].get("text", "```\n```")
    assert shown.startswith("```\n")
    assert shown.endswith("\n```")
    assert "```" not in shown[3:-3]
    assert not set("<>") & set(shown)


@given(output=st.text(max_size=6000), channel=st.sampled_from(sorted(CHANNELS)))
def test_every_body_is_small_ascii_json(output, channel):
    body = webhook.body(ended("failed", output=output), channel, instance="kuber-cron")
    assert isinstance(json.loads(body), dict)
    assert body.isascii()
    assert len(body) < 60_000


@given(text=st.text(), limit=st.integers(2, 50))
def test_the_end_of_an_output_is_its_end(text, limit):
    shown = events.end_of(text, limit)
    assert len(shown) <= limit
    assert text.endswith(shown.removeprefix("…")) or shown == text


@given(content=st.binary(), timestamp=st.integers(0, 2**33), keys=st.lists(st.binary(min_size=1), max_size=3))
def test_every_key_signs_timestamp_and_body(content, timestamp, keys):
    first, *signatures = webhook.signature(content, timestamp, keys).split(",")
    assert first == f"t={timestamp}"
    signed = b"%d.%s" % (timestamp, content)
    assert signatures == [f"v1={hmac.new(key, signed, hashlib.sha256).hexdigest()}" for key in keys]


# --- pings ------------------------------------------------------------------------------------------


def ping(url="https://hc.example/uuid", signal="success", run="backup-20260301T023000Z", **more):
    return Ping(url=url, job="backup", run=run, signal=signal, **more)


@pytest.mark.parametrize(
    ("sign", "path"), [("start", "/uuid/start"), ("success", "/uuid"), ("fail", "/uuid/fail"), (3, "/uuid/3")]
)
def test_the_sign_is_the_paths_last_part(sign, path):
    assert ping(signal=sign).target.partition("?")[0] == f"https://hc.example{path}"


def test_all_pings_of_a_run_have_one_uuid_and_another_run_another():
    queries = [ping(signal=sign).target.partition("?")[2] for sign in ("start", "success", 3)]
    assert len(set(queries)) == 1
    assert queries[0].startswith("rid=")
    assert ping(run="backup-20260301T033000Z").target.partition("?")[2] != queries[0]


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://hc.example/uuid?create=1", "https://hc.example/uuid/start?create=1&rid="),
        ("https://hc.example/uuid/", "https://hc.example/uuid/start?rid="),
        ("https://hc.example/uuid?", "https://hc.example/uuid/start?rid="),
        ("https://hc.example/key/slug#top", "https://hc.example/key/slug/start?rid="),
        ("https://hc.example", "https://hc.example/start?rid="),
    ],
)
def test_a_query_stays_behind_the_path(url, target):
    assert ping(url, "start").target.startswith(target)


@given(
    run=st.text(string.ascii_letters), sign=st.one_of(st.sampled_from(["start", "fail"]), st.integers(1, 255))
)
def test_a_target_is_one_line_of_ascii(run, sign):
    assert ping(signal=sign, run=run).target.isascii()


@pytest.mark.parametrize(
    ("outcome", "exit_code", "sign"),
    [
        ("success", 0, "success"),
        ("success", 75, "success"),
        ("failed", 3, 3),
        ("failed", None, "fail"),
        ("timed_out", 0, "fail"),
        ("stopped", 143, "fail"),
        ("lost", None, "fail"),
        ("replaced", 1, None),
    ],
)
def test_an_end_is_told_as_success_or_by_its_exit_code(outcome, exit_code, sign):
    assert signal_of(ended(outcome, exit_code=exit_code)) == sign


def test_a_pings_body_is_the_end_of_the_output():
    assert ping(output="x" * 5000 + "\udcff").content.endswith(b"xxx?")
    assert len(ping(output="x" * 5000).content) < 4100
