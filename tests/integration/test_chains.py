"""Runs that wait for other jobs' runs (spec: cron.md §3 ``after``, reliability.md §4, Chains)."""

import pytest
from rq.job import Job as RQJob
from rq.serializers import JSONSerializer
from tests.deciding import T0, Hand, desks, job, minute

from kuber_cron.common import runs
from kuber_cron.scheduler.planner import delay_of


@pytest.fixture
def desk(redis_client):
    with desks(redis_client) as make:
        yield make


@pytest.fixture
def hand(redis_client):
    return Hand(redis_client)


def chain(*names, schedule="* * * * *", **policy):
    """Jobs of one schedule, each after the one before it."""
    return [job(name, schedule, after=[names[n - 1]] if n else [], **policy) for n, name in enumerate(names)]


def delete(desk, run):
    RQJob.fetch(run, connection=desk.client, serializer=JSONSerializer).delete()


def test_a_chain_at_one_instant_is_decided_in_one_batch_and_held_behind_its_first(desk, hand):
    made = desk(*reversed(chain("a", "b", "c")))
    made.minutes(0, 1)
    assert made.queued() == [made.run(1, "a")]
    assert [made.status(1, name) for name in "bc"] == ["deferred", "deferred"]
    assert hand.work() == [made.run(1, name) for name in "abc"]


def test_a_job_whose_predecessor_has_no_occurrence_yet_is_not_held(desk):
    made = desk(job("backup", "30 2 * * *"), job("report", after=["backup"]))
    made.minutes(0, 1)
    assert made.words("report") == ["moved first seen", "queued"]


def test_the_success_of_the_predecessor_queues_the_dependent_once(desk, hand):
    made = desk(*chain("a", "b"))
    made.minutes(0, 1)
    run = hand.take()
    hand.end(run)
    assert hand.end(run) == "REPEATED"
    made.tidy(rounds=3)
    assert made.queued() == [made.run(1, "b")]
    assert made.words("b") == ["moved first seen", "held", "released"]


def test_a_dependent_of_what_has_already_succeeded_is_queued_at_once(desk, hand):
    made = desk(job("a", "*/5 * * * *"), job("b", after=["a"]))
    made.minutes(0, 5)
    hand.work()
    made.decide(minute(6))
    assert made.queued() == [made.run(6, "b")]


def fails(desk, hand):
    hand.end(hand.take(), "fail")


def is_stopped(desk, hand):
    hand.end(hand.take(), "stop")


def is_lost_for_good(desk, hand):
    hand.take()
    hand.die()
    desk.tidy()


def is_deleted_while_queued(desk, hand):
    delete(desk, desk.run(1, "a"))
    desk.tidy()


def is_deleted_while_started(desk, hand):
    run = hand.take()
    delete(desk, run)
    assert hand.ledger.beat([(run, hand.running[run])], minute(2)) == ["GONE"]
    desk.tidy(rounds=2)


def is_canceled_by_rq(desk, hand):
    RQJob.fetch(desk.run(1, "a"), connection=desk.client, serializer=JSONSerializer).cancel()
    desk.tidy()


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
def test_however_a_predecessor_fails_for_good_all_that_waits_for_it_ends_with_a_reason(desk, hand, ending):
    made = desk(*chain("a", "b", "c", "d", max_lost=0))
    made.minutes(0, 1)
    made.edit()
    ending(made, hand)
    assert made.queued() == []
    for name in "bcd":
        assert made.status(1, name) == "canceled"
        assert made.words(name) == ["moved first seen", "held", "ended predecessor"]
        assert made.missed()[f"{name}|predecessor"] == 1


def test_a_replaced_predecessor_ends_its_dependents(desk, hand):
    _first, second, third = chain("a", "b", "c")
    made = desk(job("a", concurrency="replace"), second, third)
    made.minutes(0, 1)
    made.decide(minute(2))
    assert made.words("b") == ["moved first seen", "held", "ended predecessor", "held"]
    assert made.words("c") == ["moved first seen", "held", "ended predecessor", "held"]
    assert hand.work() == [made.run(2, name) for name in "abc"]


def test_a_predecessor_that_is_stopped_to_be_replaced_ends_its_dependents(desk, hand):
    made = desk(job("a", concurrency="replace"), job("b", after=["a"]))
    made.minutes(0, 1)
    run = hand.take()
    made.decide(minute(2))
    hand.end(run, "stop")
    assert (made.status(1, "b"), made.status(2, "b")) == ("canceled", "deferred")
    assert hand.work() == [made.run(2, "a"), made.run(2, "b")]


@pytest.mark.parametrize(
    ("policy", "paused"),
    [({"suspend": True}, False), ({"concurrency": "forbid"}, False), ({}, True)],
)
def test_a_skipped_predecessor_skips_its_dependents(desk, hand, policy, paused):
    made = desk(job("a", **policy), *chain("a", "b", "c")[1:])
    made.minutes(0, 1)
    if paused:
        made.client.hset(made.keys.own("paused"), "a", "0")
    made.decide(minute(2))
    assert made.words("b")[-1] == "skipped predecessor"
    assert made.words("c")[-1] == "skipped predecessor"


def test_a_retry_keeps_its_dependents_held_and_its_success_releases_them(desk, hand):
    made = desk(*chain("a", "b", retries=2))
    made.minutes(0, 1)
    hand.end(hand.take(), "retry", delay=1)
    made.tidy()
    assert made.status(1, "b") == "deferred"
    made.tidy(seconds_ahead=60)
    hand.end(hand.take(), "requeue")
    assert made.status(1, "b") == "deferred"
    hand.end(hand.take())
    assert made.queued() == [made.run(1, "b")]


def test_a_slow_predecessor_holds_its_own_instant_only(desk, hand):
    made = desk(*chain("a", "b"))
    made.minutes(0, 2)
    slow = hand.take()
    quick = hand.take()
    hand.end(quick)
    assert made.queued() == [made.run(2, "b")]
    hand.end(slow)
    assert made.queued() == [made.run(2, "b"), made.run(1, "b")]


def test_a_six_oclock_report_waits_for_the_half_past_two_backup(desk, hand):
    made = desk(job("backup", "30 2 * * *"), job("report", "0 6 * * *", after=["backup"]))
    made.decide(T0)
    made.decide(minute(150))
    backup = hand.take()
    assert backup == made.run(150, "backup")
    made.decide(minute(360))
    assert made.status(360, "report") == "deferred"
    hand.end(backup)
    assert made.queued() == [made.run(360, "report")]
    hand.work()
    # The next day's backup has failed before six.
    made.decide(minute(1440 + 150))
    hand.end(hand.take(), "fail")
    made.decide(minute(1440 + 360))
    assert made.words("report")[-1] == "skipped predecessor"


def test_a_run_waits_for_all_of_its_predecessors(desk, hand):
    made = desk(job("a"), job("b"), job("c", after=["a", "b"]))
    made.minutes(0, 1)
    hand.end(hand.take())
    assert made.status(1, "c") == "deferred"
    hand.end(hand.take())
    assert made.queued() == [made.run(1, "c")]


def test_the_first_failure_of_two_predecessors_ends_the_wait(desk, hand):
    made = desk(job("a"), job("b"), job("c", after=["a", "b"]))
    made.minutes(0, 1)
    first, second = hand.take(), hand.take()
    hand.end(first, "fail")
    assert made.status(1, "c") == "canceled"
    hand.end(second)
    assert made.queued() == []
    assert made.words("c") == ["moved first seen", "held", "ended predecessor"]


def test_an_hour_of_both_is_caught_up_in_pairs_and_in_order(desk, hand):
    made = desk(*reversed(chain("a", "b")))
    made.decide(T0)
    made.decide(minute(60))
    assert made.words("a")[1:] == ["queued"] * 60
    assert made.words("b")[1:] == ["held"] * 60
    for number in range(1, 61):
        (other,) = made.client.hkeys(made.keys.own(f"gates:{made.run(number, 'b')}"))
        assert other.decode() == made.run(number, "a")


def test_an_hour_caught_up_by_the_last_only_is_one_pair(desk):
    made = desk(*chain("a", "b", catchup="last"))
    made.decide(T0)
    made.decide(minute(60.5))
    assert made.words("a")[1:] == ["skipped catchup", "queued", "queued"]
    assert made.words("b")[1:] == ["skipped catchup", "held", "held"]


def test_a_dependent_caught_up_where_its_predecessor_was_not_is_told_so(desk):
    made = desk(job("a", catchup="none"), job("b", "*/10 * * * *", after=["a"]))
    made.decide(T0)
    made.decide(minute(30))
    assert [e.decision for e in made.log("b")[1:]] == ["skipped", "skipped", "held"]
    assert made.missed()["b|predecessor"] == 2


def test_more_than_one_batch_of_both_keeps_the_order(desk):
    made = desk(*chain("a", "b", max_catchup=1000))
    made.decide(T0)
    made.decide(minute(250))
    assert made.words("b")[1:] == ["held"] * 250


def test_a_predecessors_longer_jitter_delays_its_dependent_too(desk):
    waits = next(
        name for name in (f"a{n}" for n in range(100)) if delay_of(job(name, jitter=59.0)).seconds >= 30
    )
    made = desk(job(waits, jitter=59.0), job("b", after=[waits]))
    made.decide(T0)
    made.decide(minute(1))
    assert made.words("b") == ["moved first seen"]
    made.decide(minute(2))
    assert made.log("b")[1].decision == "held"
    (other,) = made.client.hkeys(made.keys.own(f"gates:{made.run(1, 'b')}"))
    assert other.decode() == made.run(1, waits)


def test_an_edit_within_the_predecessors_jitter_does_not_overtake_it(desk):
    waits = next(
        name for name in (f"a{n}" for n in range(100)) if delay_of(job(name, jitter=59.0)).seconds >= 30
    )
    first = job(waits, jitter=59.0)
    made = desk(first, job("b", after=[waits]))
    made.decide(T0)
    # The minute has turned, the predecessor is not due yet, and the dependent gets another schedule.
    made.clock.at = minute(1.1)
    made.edit(first, job("b", "*/2 * * * *", after=[waits]))
    for number in (1.1, 1.2, 2, 3):
        made.decide(minute(number))
    for number in (1, 2):
        gates = made.client.hkeys(made.keys.own(f"gates:{made.run(number, 'b')}"))
        assert gates == [made.run(number, waits).encode()]


def test_a_dependent_that_replaces_waits_for_both(desk, hand):
    made = desk(job("a"), job("b", after=["a"], concurrency="replace"))
    made.minutes(0, 1)
    hand.end(hand.take())
    running = hand.take()
    assert running == made.run(1, "b")
    made.decide(minute(2))
    hand.end(hand.take())
    assert made.status(2, "b") == "deferred"
    hand.end(running, "stop")
    assert made.queued() == [made.run(2, "b")]


def test_a_line_of_dependents_closes_up_where_one_of_them_ends_by_its_predecessor(desk, hand):
    made = desk(job("a"), job("b", after=["a"], concurrency="queue", max_running=3))
    made.minutes(0, 1)
    hand.end(hand.take())
    running = hand.take()
    made.minutes(2, 3)
    second, third = hand.take(), hand.take()
    hand.end(third)
    hand.end(second, "fail")
    assert (made.status(2, "b"), made.status(3, "b")) == ("canceled", "deferred")
    hand.end(running)
    assert made.queued() == [made.run(3, "b")]


def test_a_released_run_of_high_priority_goes_to_the_head(desk, hand):
    made = desk(job("a"), job("b", after=["a"], priority="high"), job("c"))
    made.minutes(0, 1)
    hand.end(hand.take())
    assert made.queued() == [made.run(1, "b"), made.run(1, "c")]


def test_a_leader_change_between_the_two_decisions_makes_no_difference(desk, hand):
    jobs = chain("a", "b")
    old = desk(*jobs, epoch=1, holder="old")
    old.minutes(0, 1)
    hand.work()
    # The old leader decides the predecessor only, and is gone.
    assert old.send(*old.plan("a", minute(2))) == ["QUEUED"]
    new = desk(*jobs, holder="new")
    new.lead(2)
    new.decide(minute(2))
    new.decide(minute(3))
    assert new.words("b")[-2:] == ["held", "held"]
    assert hand.work() == [new.run(2, "a"), new.run(3, "a"), new.run(2, "b"), new.run(3, "b")]


def test_held_runs_survive_any_number_of_leaders(desk, hand):
    jobs = chain("a", "b", "c")
    made = desk(*jobs)
    made.minutes(0, 1)
    for epoch in (2, 3, 4):
        other = desk(*jobs, epoch=epoch, holder=f"leader{epoch}")
        other.lead(epoch)
        other.decide(minute(1))
        other.tidy(rounds=2)
    assert hand.work() == [made.run(1, name) for name in "abc"]
    assert made.words("c") == ["moved first seen", "held", "released"]


def test_a_later_manual_success_releases_nothing(desk, hand):
    made = desk(*chain("a", "b"))
    made.minutes(0, 1)
    run = hand.take()
    # By hand and meanwhile: another run of the predecessor, which succeeds.
    manual = runs.manual_run_id("a", minute(1), "0123456789")
    fields = made.client.hgetall(made.keys.run(run))
    made.client.hset(
        made.keys.run(manual), mapping={**fields, "status": "queued", "execution": "", "attempt": 0}
    )
    made.client.rpush(made.keys.queue("default"), manual)
    assert hand.take() == manual
    hand.end(manual)
    assert made.status(1, "b") == "deferred"
    hand.end(run, "fail")
    assert made.status(1, "b") == "canceled"
    made.decide(minute(2))
    assert made.words("b")[-1] == "held"


def test_a_failed_run_that_a_person_queues_again_revives_no_dependent(desk, hand):
    made = desk(*chain("a", "b"))
    made.minutes(0, 1)
    run = hand.take()
    hand.end(run, "fail")
    RQJob.fetch(run, connection=made.client, serializer=JSONSerializer).requeue()
    assert hand.work() == [run]
    assert made.words("b") == ["moved first seen", "held", "ended predecessor"]


def test_after_as_schedule_takes_the_predecessors_instants(desk, hand):
    made = desk(job("a", "*/10 * * * *"), job("b", "@after", after=["a"]), job("c", "@after", after=["b"]))
    made.decide(T0)
    made.decide(minute(9))
    made.decide(minute(10))
    assert made.words("b") == made.words("c") == ["moved first seen", "held"]
    assert hand.work() == [made.run(10, name) for name in "abc"]


def test_a_run_whose_deadline_passes_while_it_is_held_ends_by_it(desk, hand):
    first, _second, third = chain("a", "b", "c")
    made = desk(first, job("b", after=["a"], deadline=120.0), third)
    made.minutes(0, 1)
    run = hand.take()
    hand.end(run, at=minute(4))
    assert made.words("b")[-1] == "ended deadline"
    assert made.words("c")[-1] == "ended predecessor"
    assert made.missed() == {"b|deadline": 1, "c|predecessor": 1}
    assert made.queued() == []


def test_a_held_run_within_its_deadline_is_queued(desk, hand):
    made = desk(job("a"), job("b", after=["a"], deadline=120.0))
    made.minutes(0, 1)
    hand.end(hand.take(), at=minute(2))
    assert made.queued() == [made.run(1, "b")]


def test_a_dependent_that_was_added_later_finds_its_predecessor_in_the_log(desk, hand):
    made = desk(job("a", "0 0 * * *"))
    made.decide(T0)
    made.decide(minute(1440))
    made.edit(job("a", "0 0 * * *"), job("b", after=["a"]))
    made.minutes(1441, 1442)
    assert made.words("b")[-1] == "held"
    hand.end(hand.take())
    assert made.queued() == [made.run(1442, "b")]


@pytest.mark.parametrize(("action", "word"), [("finish", "queued"), ("fail", "skipped predecessor")])
def test_what_the_log_tells_of_a_run_that_has_ended_counts_too(desk, hand, action, word):
    made = desk(job("a", "0 0 * * *"))
    made.decide(T0)
    made.decide(minute(1440))
    hand.end(hand.take(), action)
    made.edit(job("a", "0 0 * * *"), job("b", after=["a"]))
    made.minutes(1441, 1442)
    assert made.words("b")[-1] == word


def test_a_dependent_that_was_away_for_a_while_is_not_judged_by_old_failures(desk, hand):
    first, second = chain("a", "b")
    made = desk(first, second)
    made.minutes(0, 1)
    hand.end(hand.take(), "fail")
    made.edit(job("a", "*/10 * * * *"))
    made.decide(minute(2))
    made.decide(minute(10))
    hand.work()
    made.edit(job("a", "*/10 * * * *"), second)
    made.decide(minute(11))
    made.decide(minute(12))
    assert made.words("b")[-1] == "queued"


def test_a_predecessor_that_could_not_be_written_ends_its_dependents_by_the_log_as_well(desk, hand):
    made = desk(job("a", "0 0 * * *"))
    made.decide(T0)
    made.client.set("rq:job:" + made.run(1440, "a"), "not a hash")
    made.decide(minute(1440))
    made.edit(job("a", "0 0 * * *"), job("b", after=["a"]))
    made.client.delete("rq:job:" + made.run(1440, "a"))
    made.minutes(1441, 1442)
    assert made.words("b")[-1] == "skipped predecessor"


def test_a_troubled_predecessor_that_another_leader_decided_holds_nobody_up(desk, hand):
    jobs = [job("a", "0 0 * * *"), job("b", "0 0 * * *", after=["a"])]
    one, other = desk(*jobs), desk(*jobs, holder="other")
    one.decide(T0)
    other.decide(T0)
    other.decide(minute(1440))
    one.decide(minute(1440))
    one.decide(minute(1440.01))
    hand.work()
    # Now the other is gone, and the first has to go on by itself.
    one.decide(minute(2880))
    assert (one.status(2880, "a"), one.status(2880, "b")) == ("queued", "deferred")
    assert not one.decider._troubled


def test_a_moved_cursor_of_a_predecessor_is_read_again_when_its_dependent_has_to_wait(desk):
    made = desk(job("a", "0 0 * * *"), job("b", after=["a"]))
    made.minutes(0, 1)
    # Another leader of this very epoch, with newer files, has moved the predecessor's cursor.
    made.client.hset(made.keys.own("cursor"), "a", f"{int(minute(1).timestamp())}|UTC|30 0 * * *")
    made.decide(minute(2))
    made.decide(minute(2.02))
    assert made.words("b") == ["moved first seen", "queued", "queued"]
