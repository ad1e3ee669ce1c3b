"""A dependent is decided after its predecessors: in catch-up, jitter, edits, trouble, and from leader to leader."""

from rq.job import Job as RQJob
from rq.serializers import JSONSerializer
from tests.support.stepped import T0, chain, job, minute

from kuber_cron.common.jobs.job import delay_of


def delete(leader, run):
    RQJob.fetch(run, connection=leader.client, serializer=JSONSerializer).delete()


def test_an_hour_of_both_is_caught_up_in_pairs_and_in_order(make_leader, worker):
    made = make_leader(*reversed(chain("a", "b")))
    made.decide(T0)
    made.decide(minute(60))
    assert made.words("a")[1:] == ["queued"] * 60
    assert made.words("b")[1:] == ["held"] * 60
    for number in range(1, 61):
        (other,) = made.client.hkeys(made.keys.gates(made.run(number, "b")))
        assert other.decode() == made.run(number, "a")


def test_an_hour_caught_up_by_the_last_only_is_one_pair(make_leader):
    made = make_leader(*chain("a", "b", catchup="last"))
    made.decide(T0)
    made.decide(minute(60.5))
    assert made.words("a")[1:] == ["skipped catchup", "queued", "queued"]
    assert made.words("b")[1:] == ["skipped catchup", "held", "held"]


def test_a_dependent_caught_up_where_its_predecessor_was_not_is_told_so(make_leader):
    made = make_leader(job("a", catchup="none"), job("b", "*/10 * * * *", after=["a"]))
    made.decide(T0)
    made.decide(minute(30))
    assert [e.decision for e in made.log("b")[1:]] == ["skipped", "skipped", "held"]
    assert made.missed()["b|predecessor"] == 2


def test_more_than_one_batch_of_both_keeps_the_order(make_leader):
    made = make_leader(*chain("a", "b", max_catchup=1000))
    made.decide(T0)
    made.decide(minute(250))
    assert made.words("b")[1:] == ["held"] * 250


def test_a_predecessors_longer_jitter_delays_its_dependent_too(make_leader):
    waits = next(
        name for name in (f"a{n}" for n in range(100)) if delay_of(job(name, jitter=59.0)).seconds >= 30
    )
    made = make_leader(job(waits, jitter=59.0), job("b", after=[waits]))
    made.decide(T0)
    made.decide(minute(1))
    assert made.words("b") == ["moved first seen"]
    made.decide(minute(2))
    assert made.log("b")[1].decision == "held"
    (other,) = made.client.hkeys(made.keys.gates(made.run(1, "b")))
    assert other.decode() == made.run(1, waits)


def test_an_edit_within_the_predecessors_jitter_does_not_overtake_it(make_leader):
    waits = next(
        name for name in (f"a{n}" for n in range(100)) if delay_of(job(name, jitter=59.0)).seconds >= 30
    )
    first = job(waits, jitter=59.0)
    made = make_leader(first, job("b", after=[waits]))
    made.decide(T0)
    # The minute has turned, the predecessor is not due yet, and the dependent gets another schedule.
    made.clock.at = minute(1.1)
    made.edit(first, job("b", "*/2 * * * *", after=[waits]))
    for number in (1.1, 1.2, 2, 3):
        made.decide(minute(number))
    for number in (1, 2):
        gates = made.client.hkeys(made.keys.gates(made.run(number, "b")))
        assert gates == [made.run(number, waits).encode()]


def test_a_dependent_that_replaces_waits_for_both(make_leader, worker):
    made = make_leader(job("a"), job("b", after=["a"], concurrency="replace"))
    made.minutes(0, 1)
    worker.end(worker.take())
    running = worker.take()
    assert running == made.run(1, "b")
    made.decide(minute(2))
    worker.end(worker.take())
    assert made.status(2, "b") == "deferred"
    worker.end(running, "stop")
    assert made.queued() == [made.run(2, "b")]


def test_a_line_of_dependents_closes_up_where_one_of_them_ends_by_its_predecessor(make_leader, worker):
    made = make_leader(job("a"), job("b", after=["a"], concurrency="queue", max_running=3))
    made.minutes(0, 1)
    worker.end(worker.take())
    running = worker.take()
    made.minutes(2, 3)
    second, third = worker.take(), worker.take()
    worker.end(third)
    worker.end(second, "fail")
    assert (made.status(2, "b"), made.status(3, "b")) == ("canceled", "deferred")
    worker.end(running)
    assert made.queued() == [made.run(3, "b")]


def test_a_released_run_of_high_priority_goes_to_the_head(make_leader, worker):
    made = make_leader(job("a"), job("b", after=["a"], priority="high"), job("c"))
    made.minutes(0, 1)
    worker.end(worker.take())
    assert made.queued() == [made.run(1, "b"), made.run(1, "c")]


def test_a_leader_change_between_the_two_decisions_makes_no_difference(make_leader, worker):
    jobs = chain("a", "b")
    old = make_leader(*jobs, epoch=1, holder="old")
    old.minutes(0, 1)
    worker.work()
    # The old leader decides the predecessor only, and is gone.
    assert old.send(*old.plan("a", minute(2))) == ["QUEUED"]
    new = make_leader(*jobs, holder="new")
    new.lead(2)
    new.decide(minute(2))
    new.decide(minute(3))
    assert new.words("b")[-2:] == ["held", "held"]
    assert worker.work() == [new.run(2, "a"), new.run(3, "a"), new.run(2, "b"), new.run(3, "b")]


def test_held_runs_survive_any_number_of_leaders(make_leader, worker):
    jobs = chain("a", "b", "c")
    made = make_leader(*jobs)
    made.minutes(0, 1)
    for epoch in (2, 3, 4):
        other = make_leader(*jobs, epoch=epoch, holder=f"leader{epoch}")
        other.lead(epoch)
        other.decide(minute(1))
        other.tidy(rounds=2)
    assert worker.work() == [made.run(1, name) for name in "abc"]
    assert made.words("c") == ["moved first seen", "held", "released"]


def test_an_unapplied_predecessor_that_another_leader_decided_holds_nobody_up(make_leader, worker):
    jobs = [job("a", "0 0 * * *"), job("b", "0 0 * * *", after=["a"])]
    one, other = make_leader(*jobs), make_leader(*jobs, holder="other")
    one.decide(T0)
    other.decide(T0)
    other.decide(minute(1440))
    one.decide(minute(1440))
    one.decide(minute(1440.01))
    worker.work()
    # Now the other is gone, and the first has to go on by itself.
    one.decide(minute(2880))
    assert (one.status(2880, "a"), one.status(2880, "b")) == ("queued", "deferred")
    assert one.decider._pending.is_settled


def test_a_moved_cursor_of_a_predecessor_is_read_again_when_its_dependent_has_to_wait(make_leader):
    made = make_leader(job("a", "0 0 * * *"), job("b", after=["a"]))
    made.minutes(0, 1)
    # Another leader of this very epoch, with newer files, has moved the predecessor's cursor.
    made.client.hset(made.keys.cursors, "a", f"{int(minute(1).timestamp())}|UTC|30 0 * * *")
    made.decide(minute(2))
    made.decide(minute(2.02))
    assert made.words("b") == ["moved first seen", "queued", "queued"]
