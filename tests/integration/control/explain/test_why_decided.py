"""``why`` on what real scripts have decided: for each instant it says what the decider was told."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.support.operators import Operator
from tests.support.stepped import KEYS, T0, SteppedLeader, job, minute

from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.control.queries import decision
from kuber_cron.scheduler.status.job_summaries import JobSummaries

WORDS = {"QUEUED": "queued", "HELD": "held", "SKIPPED": "skipped", "KNOWN": "queued"}


@pytest.fixture
def ask(redis_client):
    """What is answered about a minute of a job."""
    store = Store(redis_client, KEYS)

    def answer(number, name="job"):
        (found,) = decision.why(store, name, [minute(number)]).answers
        return found

    return answer


def decided(leader, name="job"):
    """What each minute was decided as, by the answers that the decider got."""
    told = {}
    for verdict in leader.verdicts:
        decision = verdict.decision
        if decision.job != name or verdict.word not in WORDS:
            continue
        at = decision.first
        while at <= decision.last:
            told[int((at - T0) / timedelta(minutes=1))] = (
                WORDS[verdict.word],
                verdict.detail if verdict.word == "SKIPPED" else None,
            )
            at += timedelta(minutes=1)
    return told


def agrees(make_leader, ask, name="job", least=3):
    told = decided(make_leader, name)
    assert len(told) >= least
    for number, (verdict, reason) in told.items():
        found = ask(number, name)
        assert (found.verdict, found.reason) == (verdict, reason), number
        assert found.by == "leader"


def test_overlap_is_told_with_who_stood_in_the_way(make_leader, worker, ask):
    leader = make_leader(job(concurrency="forbid"))
    leader.minutes(0, 1)
    run = worker.take()
    leader.minutes(2, 4)
    worker.end(run, at=datetime.now(UTC) + timedelta(minutes=1))  # the log's own time is Redis'
    leader.minutes(5, 6)
    agrees(leader, ask, least=6)
    assert any(run in sentence for sentence in ask(3).details)
    assert ask(1).run.outcome == "success"


def test_a_gap_is_told_minute_by_minute(make_leader, ask):
    leader = make_leader(job(catchup="last"))
    leader.minutes(0, 2)
    leader.decide(minute(30))
    agrees(leader, ask, least=25)
    assert ask(10).reason == "catchup"
    assert ask(0).verdict == "before_first_seen"


def test_a_pause_is_told_with_who_has_made_it(make_leader, ask, redis_client):
    leader = make_leader(job())
    leader.minutes(0, 2)
    acts = Operator(Store(redis_client, KEYS), "ann@desk")
    acts.pause("job", None)
    leader.minutes(3, 5)
    agrees(leader, ask, least=5)
    assert ask(4).reason == "suspended"
    assert any("ann@desk had paused it" in sentence for sentence in ask(4).details)


def test_an_edit_a_removal_and_a_return_are_told(make_leader, ask):
    leader = make_leader(job(schedule="*/2 * * * *"))
    leader.minutes(0, 4)
    leader.edit(job(schedule="*/5 * * * *"))
    leader.minutes(5, 11)
    assert [ask(number).verdict for number in (2, 3, 4, 5, 10)] == [
        "queued",
        "no_instant",
        "queued",
        "no_instant",
        "queued",
    ]
    assert "no instant of the schedule in force then" in ask(3).sentence
    leader.edit()
    leader.decide(minute(16))  # the removal does not count yet, and nobody decides 15 any more
    leader.settled_seconds = 999.0
    leader.decide(minute(17))
    assert ask(15).verdict == "not_in_files"
    assert "it had been removed by 2026-03-01 00:11:00 UTC" in ask(15).sentence
    assert ask(18).verdict == "not_in_files"
    assert ask(10).verdict == "queued"
    leader.edit(job(schedule="*/5 * * * *"))
    leader.minutes(20, 26)
    assert [ask(number).verdict for number in (15, 20, 25)] == ["not_in_files", "not_in_files", "queued"]


def test_a_chain_is_told_by_what_each_run_waits_for(make_leader, worker, ask, redis_client):
    leader = make_leader(job("extract"), job("report", "@after", after=["extract"]))
    register = JobSummaries(Store(redis_client, KEYS))
    while not register.publish_some(leader.term, leader.catalog):
        pass
    leader.minutes(0, 1)
    found = ask(1, "report")
    assert found.verdict == "held"
    assert found.details[0] == f"it waits for the success of {leader.run(1, 'extract')}, which is queued"
    run = worker.take()
    worker.end(run, "fail")
    leader.minutes(2, 2)
    found = ask(1, "report")
    assert found.run.outcome == "predecessor"
    assert [each.decision for each in found.decisions] == ["held", "ended"]
    agrees(leader, ask, "report", least=2)


def test_a_group_is_told_by_who_runs_in_it(make_leader, worker, ask):
    leader = make_leader(job("a", group="db"), job("b", group="db"))
    leader.minutes(0, 1)
    first = worker.take()
    assert worker.take() == ""
    other = "b" if first.startswith("a-") else "a"
    assert ask(1, other).details[-1] == (
        f"it waits for room in group db, place 1: 1 may run at once ({first})"
    )


def test_a_run_that_somebody_deleted_is_told(make_leader, ask, redis_client):
    leader = make_leader(job())
    leader.minutes(0, 1)
    redis_client.delete(KEYS.run(leader.run(1)))
    leader.tidy(rounds=3)
    found = ask(1)
    assert found.verdict == "queued"
    assert found.details == ("it ended as removed; its record is gone",)


def test_a_log_that_was_cut_no_longer_reaches_so_far(ask, redis_client):
    leader = SteppedLeader(redis_client, job())  # none whose log is held to what was decided
    leader.minutes(0, 9)
    redis_client.xtrim(KEYS.log("job"), maxlen=3, approximate=False)
    assert ask(2).verdict == "queued", "its record is there"
    redis_client.delete(KEYS.run(leader.run(2)))
    assert ask(2).verdict == "too_old"
    assert ask(8).verdict == "queued"


def test_without_an_instant_the_last_one_is_meant(make_leader, ask, redis_client):
    leader = make_leader(job())
    leader.minutes(0, 4)
    store = Store(redis_client, KEYS)
    (found,) = decision.why(store, "job").answers
    assert found.verdict == "due", "Redis' own clock is far ahead of the leader's"
    leader.edit(job(schedule="0 0 1 1 *"))
    (found,) = decision.why(store, "job", [minute(4)]).answers
    assert found.verdict == "queued"
