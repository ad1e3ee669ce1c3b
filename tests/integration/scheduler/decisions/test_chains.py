"""Runs that wait for other jobs' runs (spec: cron.md §3 ``after``, reliability.md §4, Chains)."""

import pytest
from rq.job import Job as RQJob
from rq.serializers import JSONSerializer
from tests.support.stepped import KEYS, T0, chain, job, minute

from kuber_cron.common.runs.run_id import manual_run_id


def delete(leader, run):
    RQJob.fetch(run, connection=leader.client, serializer=JSONSerializer).delete()


def test_a_chain_at_one_instant_is_decided_in_one_batch_and_held_behind_its_first(make_leader, worker):
    made = make_leader(*reversed(chain("a", "b", "c")))
    made.minutes(0, 1)
    assert made.queued() == [made.run(1, "a")]
    assert [made.status(1, name) for name in "bc"] == ["deferred", "deferred"]
    assert worker.work() == [made.run(1, name) for name in "abc"]


def test_a_job_whose_predecessor_has_no_occurrence_yet_is_not_held(make_leader):
    made = make_leader(job("backup", "30 2 * * *"), job("report", after=["backup"]))
    made.minutes(0, 1)
    assert made.words("report") == ["moved first seen", "queued"]


def test_the_success_of_the_predecessor_queues_the_dependent_once(make_leader, worker):
    made = make_leader(*chain("a", "b"))
    made.minutes(0, 1)
    run = worker.take()
    worker.end(run)
    assert worker.end(run) == "REPEATED"
    made.tidy(rounds=3)
    assert made.queued() == [made.run(1, "b")]
    assert made.words("b") == ["moved first seen", "held", "released"]


def test_a_dependent_of_what_has_already_succeeded_is_queued_at_once(make_leader, worker):
    made = make_leader(job("a", "*/5 * * * *"), job("b", after=["a"]))
    made.minutes(0, 5)
    worker.work()
    made.decide(minute(6))
    assert made.queued() == [made.run(6, "b")]


def fails(leader, worker):
    worker.end(worker.take(), "fail")


def is_stopped(leader, worker):
    worker.end(worker.take(), "stop")


def is_lost_for_good(leader, worker):
    worker.take()
    worker.die()
    leader.tidy()


def is_deleted_while_queued(leader, worker):
    delete(leader, leader.run(1, "a"))
    leader.tidy()


def is_deleted_while_started(leader, worker):
    run = worker.take()
    delete(leader, run)
    assert worker.ledger.heartbeat([(run, worker.running[run])], minute(2))[1] == ["ABSENT"]
    leader.tidy(rounds=2)


def is_canceled_by_rq(leader, worker):
    RQJob.fetch(leader.run(1, "a"), connection=leader.client, serializer=JSONSerializer).cancel()
    leader.tidy()


@pytest.mark.parametrize(
    "ending",
    [
        fails,
        is_stopped,
        is_lost_for_good,
        is_deleted_while_queued,
        is_deleted_while_started,
        is_canceled_by_rq,
    ],
)
def test_however_a_predecessor_fails_for_good_all_that_waits_for_it_ends_with_a_reason(
    make_leader, worker, ending
):
    made = make_leader(*chain("a", "b", "c", "d", max_lost=0))
    made.minutes(0, 1)
    made.edit()
    ending(made, worker)
    assert made.queued() == []
    for name in "bcd":
        assert made.status(1, name) == "canceled"
        assert made.words(name) == ["moved first seen", "held", "ended predecessor"]
        assert made.missed()[f"{name}|predecessor"] == 1


def test_a_replaced_predecessor_ends_its_dependents(make_leader, worker):
    _first, second, third = chain("a", "b", "c")
    made = make_leader(job("a", concurrency="replace"), second, third)
    made.minutes(0, 1)
    made.decide(minute(2))
    assert made.words("b") == ["moved first seen", "held", "ended predecessor", "held"]
    assert made.words("c") == ["moved first seen", "held", "ended predecessor", "held"]
    assert worker.work() == [made.run(2, name) for name in "abc"]


def test_a_predecessor_that_is_stopped_to_be_replaced_ends_its_dependents(make_leader, worker):
    made = make_leader(job("a", concurrency="replace"), job("b", after=["a"]))
    made.minutes(0, 1)
    run = worker.take()
    made.decide(minute(2))
    worker.end(run, "stop")
    assert (made.status(1, "b"), made.status(2, "b")) == ("canceled", "deferred")
    assert worker.work() == [made.run(2, "a"), made.run(2, "b")]


@pytest.mark.parametrize(
    ("policy", "paused"),
    [({"suspend": True}, False), ({"concurrency": "forbid"}, False), ({}, True)],
)
def test_a_skipped_predecessor_skips_its_dependents(make_leader, worker, policy, paused):
    made = make_leader(job("a", **policy), *chain("a", "b", "c")[1:])
    made.minutes(0, 1)
    if paused:
        made.client.hset(made.keys.paused, "a", "0")
    made.decide(minute(2))
    assert made.words("b")[-1] == "skipped predecessor"
    assert made.words("c")[-1] == "skipped predecessor"


def test_a_retry_keeps_its_dependents_held_and_its_success_releases_them(make_leader, worker):
    made = make_leader(*chain("a", "b", retries=2))
    made.minutes(0, 1)
    worker.end(worker.take(), "retry", delay=1)
    made.tidy()
    assert made.status(1, "b") == "deferred"
    made.tidy(seconds_ahead=60)
    worker.end(worker.take(), "requeue")
    assert made.status(1, "b") == "deferred"
    worker.end(worker.take())
    assert made.queued() == [made.run(1, "b")]


def test_a_slow_predecessor_holds_its_own_instant_only(make_leader, worker):
    made = make_leader(*chain("a", "b"))
    made.minutes(0, 2)
    slow = worker.take()
    quick = worker.take()
    worker.end(quick)
    assert made.queued() == [made.run(2, "b")]
    worker.end(slow)
    assert made.queued() == [made.run(2, "b"), made.run(1, "b")]


def test_a_six_oclock_report_waits_for_the_half_past_two_backup(make_leader, worker):
    made = make_leader(job("backup", "30 2 * * *"), job("report", "0 6 * * *", after=["backup"]))
    made.decide(T0)
    made.decide(minute(150))
    backup = worker.take()
    assert backup == made.run(150, "backup")
    made.decide(minute(360))
    assert made.status(360, "report") == "deferred"
    worker.end(backup)
    assert made.queued() == [made.run(360, "report")]
    worker.work()
    # The next day's backup has failed before six.
    made.decide(minute(1440 + 150))
    worker.end(worker.take(), "fail")
    made.decide(minute(1440 + 360))
    assert made.words("report")[-1] == "skipped predecessor"


def test_a_run_waits_for_all_of_its_predecessors(make_leader, worker):
    made = make_leader(job("a"), job("b"), job("c", after=["a", "b"]))
    made.minutes(0, 1)
    worker.end(worker.take())
    assert made.status(1, "c") == "deferred"
    worker.end(worker.take())
    assert made.queued() == [made.run(1, "c")]


def test_the_first_failure_of_two_predecessors_ends_the_wait(make_leader, worker):
    made = make_leader(job("a"), job("b"), job("c", after=["a", "b"]))
    made.minutes(0, 1)
    first, second = worker.take(), worker.take()
    worker.end(first, "fail")
    assert made.status(1, "c") == "canceled"
    worker.end(second)
    assert made.queued() == []
    assert made.words("c") == ["moved first seen", "held", "ended predecessor"]


def test_a_later_manual_success_releases_nothing(make_leader, worker):
    made = make_leader(*chain("a", "b"))
    made.minutes(0, 1)
    run = worker.take()
    # By hand and meanwhile: another run of the predecessor, which succeeds.
    manual = manual_run_id("a", minute(1), "0123456789")
    fields = made.client.hgetall(made.keys.run(run))
    made.client.hset(
        made.keys.run(manual), mapping={**fields, "status": "queued", "execution": "", "attempt": 0}
    )
    made.client.rpush(made.keys.queue("default"), manual)
    assert worker.take() == manual
    worker.end(manual)
    assert made.status(1, "b") == "deferred"
    worker.end(run, "fail")
    assert made.status(1, "b") == "canceled"
    made.decide(minute(2))
    assert made.words("b")[-1] == "held"


def test_a_failed_run_that_a_person_queues_again_revives_no_dependent(make_leader, worker):
    made = make_leader(*chain("a", "b"))
    made.minutes(0, 1)
    run = worker.take()
    worker.end(run, "fail")
    RQJob.fetch(run, connection=made.client, serializer=JSONSerializer).requeue()
    assert worker.work() == [run]
    assert made.words("b") == ["moved first seen", "held", "ended predecessor"]


def test_after_as_schedule_takes_the_predecessors_instants(make_leader, worker):
    made = make_leader(
        job("a", "*/10 * * * *"), job("b", "@after", after=["a"]), job("c", "@after", after=["b"])
    )
    made.decide(T0)
    made.decide(minute(9))
    made.decide(minute(10))
    assert made.words("b") == made.words("c") == ["moved first seen", "held"]
    assert worker.work() == [made.run(10, name) for name in "abc"]


def test_a_run_whose_deadline_passes_while_it_is_held_ends_by_it(make_leader, worker):
    first, _second, third = chain("a", "b", "c")
    made = make_leader(first, job("b", after=["a"], deadline=120.0), third)
    made.minutes(0, 1)
    run = worker.take()
    worker.end(run, at=minute(4))
    assert made.words("b")[-1] == "ended deadline"
    assert made.words("c")[-1] == "ended predecessor"
    assert made.missed() == {"b|deadline": 1, "c|predecessor": 1}
    assert made.queued() == []


def test_a_held_run_within_its_deadline_is_queued(make_leader, worker):
    # Redis' own clock is asked, and the instants of these tests have long passed.
    made = make_leader(job("a"), job("b", after=["a"], deadline=100 * 365 * 86400.0))
    made.minutes(0, 1)
    worker.end(worker.take(), at=minute(2))
    assert made.queued() == [made.run(1, "b")]


def test_a_dependent_that_was_added_later_finds_its_predecessor_in_the_log(make_leader, worker):
    made = make_leader(job("a", "0 0 * * *"))
    made.decide(T0)
    made.decide(minute(1440))
    made.edit(job("a", "0 0 * * *"), job("b", after=["a"]))
    made.minutes(1441, 1442)
    assert made.words("b")[-1] == "held"
    worker.end(worker.take())
    assert made.queued() == [made.run(1442, "b")]


@pytest.mark.parametrize(("action", "word"), [("finish", "queued"), ("fail", "skipped predecessor")])
def test_what_the_log_tells_of_a_run_that_has_ended_counts_too(make_leader, worker, action, word):
    made = make_leader(job("a", "0 0 * * *"))
    made.decide(T0)
    made.decide(minute(1440))
    worker.end(worker.take(), action)
    made.edit(job("a", "0 0 * * *"), job("b", after=["a"]))
    made.minutes(1441, 1442)
    assert made.words("b")[-1] == word


def test_a_dependent_that_was_away_for_a_while_is_not_judged_by_old_failures(make_leader, worker):
    first, second = chain("a", "b")
    made = make_leader(first, second)
    made.minutes(0, 1)
    worker.end(worker.take(), "fail")
    made.edit(job("a", "*/10 * * * *"))
    made.decide(minute(2))
    made.decide(minute(10))
    worker.work()
    made.edit(job("a", "*/10 * * * *"), second)
    made.decide(minute(11))
    made.decide(minute(12))
    assert made.words("b")[-1] == "queued"


def test_a_predecessor_that_could_not_be_judged_ends_its_dependents_too(make_leader, worker):
    made = make_leader(job("a"), job("b", after=["a"]))
    made.minutes(0, 1)
    worker.work()
    made.client.set(KEYS.run(made.run(2, "a")), "not a hash")
    made.decide(minute(2))
    assert made.words("a")[-1].startswith("error")
    assert made.words("b")[-1] == "skipped predecessor"
    made.client.delete(KEYS.run(made.run(2, "a")))


def test_a_predecessor_that_could_not_be_written_ends_its_dependents_by_the_log_as_well(make_leader, worker):
    made = make_leader(job("a", "0 0 * * *"))
    made.decide(T0)
    made.client.set("rq:job:" + made.run(1440, "a"), "not a hash")
    made.decide(minute(1440))
    made.edit(job("a", "0 0 * * *"), job("b", after=["a"]))
    made.client.delete("rq:job:" + made.run(1440, "a"))
    made.minutes(1441, 1442)
    assert made.words("b")[-1] == "skipped predecessor"
