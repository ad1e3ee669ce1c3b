"""At most N runs of a group at once, counted when they start (spec: reliability.md §4, Overlap)."""

import random

import pytest
from rq.job import Job as RQJob
from rq.serializers import JSONSerializer
from tests.support.stepped import SteppedWorker, job, minute

HELD = "held: its group"


def crowd(make_leader, *names, group="disk", minutes=1, **policy):
    """A leader whose jobs, all of one group, are queued at minute 1 (and further ones)."""
    made = make_leader(*(job(name, group=group, **policy) for name in names))
    made.minutes(0, minutes)
    return made


def delete(leader, run):
    RQJob.fetch(run, connection=leader.client, serializer=JSONSerializer).delete()


@pytest.mark.parametrize(("group", "most"), [("disk", 1), ("disk:2", 2), ("disk:3", 3)])
def test_so_many_runs_of_a_group_start_and_the_next_is_held(make_leader, worker, group, most):
    made = crowd(make_leader, "a", "b", "c", "d", group=group)
    for _ in range(most):
        assert worker.take()
    run = worker.claim()
    assert worker.start(run).startswith(HELD)
    assert made.client.hget(made.keys.run(run), "status") == b"deferred"
    assert worker.take() == ""


def test_being_decided_or_queued_takes_no_room(make_leader, worker):
    made = crowd(make_leader, "a", "b", "c")
    assert len(made.queued()) == 3
    assert made.client.keys(made.keys.group("*")) == []


@pytest.mark.parametrize("action", ["finish", "fail", "stop", "retry", "requeue"])
def test_whatever_ends_an_attempt_makes_room(make_leader, worker, action):
    made = crowd(make_leader, "a", "b")
    first = worker.take()
    assert worker.take() == ""
    worker.end(first, action, delay=3600)
    following = made.run(1, "b")
    if action == "requeue":
        assert made.queued() == [following, first] or made.queued() == [first, following]
    else:
        assert made.queued() == [following]


def test_a_requeued_run_and_the_one_that_waited_do_not_run_together(make_leader, worker):
    crowd(make_leader, "a", "b")
    worker.end(worker.take(), "requeue")
    assert worker.take()
    assert worker.take() == ""


@pytest.mark.parametrize("most_lost", [0, 3])
def test_a_lost_worker_makes_room(make_leader, worker, most_lost):
    made = crowd(make_leader, "a", "b", max_lost=most_lost)
    worker.take()
    assert worker.take() == ""
    worker.die()
    made.tidy()
    other = SteppedWorker(made.client, "other")
    assert other.take()
    assert other.take() == ""


def test_a_deleted_run_makes_room_and_wakes_the_next(make_leader, worker):
    made = crowd(make_leader, "a", "b")
    first = worker.take()
    assert worker.take() == ""
    delete(made, first)
    made.tidy()
    assert made.queued() == [made.run(1, "b")]


def test_held_runs_go_in_the_order_of_their_decisions(make_leader, worker):
    made = crowd(make_leader, "a", "b", "c", minutes=2)
    ordered = made.queued()
    first = worker.take()
    claimed = [worker.claim() for _ in ordered[1:]]
    for run in reversed(claimed):
        assert worker.start(run).startswith(HELD)
    worker.end(first)
    done = [first]
    while run := worker.take():
        worker.end(run)
        done.append(run)
    assert done == ordered


def test_the_smallest_limit_of_a_groups_jobs_holds_for_all(make_leader, worker):
    made = make_leader(job("a", group="disk:3"), job("b", group="disk:2"), job("c", group="disk:5"))
    made.minutes(0, 1)
    assert worker.take()
    assert worker.take()
    assert worker.take() == ""


def test_two_groups_do_not_hold_each_other(make_leader, worker):
    made = make_leader(job("a", group="disk"), job("b", group="net"))
    made.minutes(0, 1)
    assert worker.take()
    assert worker.take()


def test_a_released_run_that_is_deleted_before_it_starts_costs_nobody_the_wake_up(make_leader, worker):
    made = crowd(make_leader, "a", "b", "c")
    first = worker.take()
    assert worker.take() == ""
    worker.end(first)
    (released,) = made.queued()
    delete(made, released)
    made.tidy(rounds=2)
    assert made.queued() == [made.run(1, "c")]


def test_a_deleted_run_at_the_head_of_the_line_does_not_swallow_the_wake_up(make_leader, worker):
    made = crowd(make_leader, "a", "b", "c")
    first = worker.take()
    assert worker.take() == ""
    delete(made, made.run(1, "b"))
    worker.end(first)
    assert made.queued() == [made.run(1, "c")]


def test_a_released_run_that_is_replaced_before_it_starts_costs_nobody_the_wake_up(make_leader, worker):
    made = make_leader(
        job("a", group="disk"), job("b", group="disk", concurrency="replace"), job("c", group="disk")
    )
    made.minutes(0, 1)
    first = worker.take()
    assert worker.take() == ""
    worker.end(first)
    assert made.queued() == [made.run(1, "b")]
    made.edit(job("b", group="disk", concurrency="replace"))
    made.decide(minute(2))
    assert made.status(1, "b") == "canceled"
    made.tidy(rounds=2)
    assert set(made.queued()) >= {made.run(2, "b"), made.run(1, "c")}


def test_a_held_run_that_stands_in_no_line_is_served_all_the_same(make_leader, worker):
    made = crowd(make_leader, "a", "b")
    first = worker.take()
    assert worker.take() == ""
    made.client.delete(made.keys.waiting("disk"))  # as an error between two writes of a script leaves it
    worker.end(first)
    made.tidy()
    assert made.queued() == [made.run(1, "b")]


def test_a_member_that_does_not_run_is_found_out(make_leader, worker):
    made = crowd(make_leader, "a", "b")
    made.client.sadd(made.keys.group("disk"), "gone-20260301T000000Z")
    assert worker.take() == ""
    made.tidy()
    assert len(made.queued()) == 1


def test_a_group_that_grew_lets_more_start_at_its_next_decision(make_leader, worker):
    made = crowd(make_leader, "a", "b")
    assert worker.take()
    assert worker.take() == ""
    made.edit(job("a", group="disk:2"), job("b", group="disk:2"))
    made.decide(minute(2))
    made.tidy()
    assert worker.take()


def test_a_replaced_run_of_a_group_gives_its_room_to_who_waited_first(make_leader, worker):
    made = make_leader(job("a", group="disk", concurrency="replace"), job("b", group="disk"))
    made.minutes(0, 1)
    first = worker.take()
    assert first == made.run(1, "a")
    assert worker.take() == ""
    made.edit(job("a", group="disk", concurrency="replace"))
    made.decide(minute(2))
    worker.end(first, "stop")
    assert worker.take() == made.run(1, "b")
    assert worker.take() == ""
    worker.end(made.run(1, "b"))
    assert worker.take() == made.run(2, "a")


def test_a_run_released_by_its_predecessor_still_waits_for_room(make_leader, worker):
    made = make_leader(job("a", group="disk"), job("b"), job("c", after=["b"], group="disk"))
    made.minutes(0, 1)
    first = worker.take()
    assert first == made.run(1, "a")
    worker.end(worker.take())
    assert worker.take() == ""
    worker.end(first)
    assert worker.take() == made.run(1, "c")


def test_the_limit_holds_whatever_the_hands_do_at_once(make_leader, redis_client):
    made = crowd(make_leader, "a", "b", "c", group="disk:2", minutes=4)
    workers = [SteppedWorker(redis_client, f"worker{n}") for n in range(3)]
    done = []
    for step in range(100):
        one = workers[step % 3]
        if one.running and step % 2:
            run = next(iter(one.running))
            one.end(run)
            del one.running[run]
            done.append(run)
        else:
            one.take()
        assert sum(len(each.running) for each in workers) <= 2
    assert sorted(done) == sorted({entry.run for name in "abc" for entry in made.log(name) if entry.run})


def test_a_raised_limit_releases_held_runs_within_one_round_and_without_any_decision(make_leader, worker):
    made = crowd(make_leader, "a", "b", "c", "d")
    assert worker.take()
    assert worker.take() == ""
    made.edit(*(job(name, group="disk:3") for name in "abcd"))
    assert [(one.what, one.job) for one in made.tidy()] == [("served", "b"), ("served", "c")]
    assert worker.take() == made.run(1, "b")
    assert worker.take() == made.run(1, "c")
    assert worker.take() == ""


def test_a_new_leader_sets_the_limits_of_its_files(make_leader, worker):
    made = crowd(make_leader, "a", "b")
    assert worker.take()
    assert worker.take() == ""
    other = make_leader(job("a", group="disk:2"), job("b", group="disk:2"), holder="other")
    other.lead(2)
    other.tidy()
    assert worker.take() == made.run(1, "b")


@pytest.mark.parametrize("action", ["finish", "fail", "stop", "retry"])
def test_who_waited_longest_goes_before_what_was_queued_meanwhile(make_leader, worker, action):
    made = crowd(make_leader, "a")
    first = worker.take()
    made.decide(minute(2))
    assert worker.take() == ""
    made.minutes(3, 5)
    worker.end(first, action, delay=3600)
    assert worker.work()[0] == made.run(2, "a")


def test_a_run_claimed_before_a_place_was_free_does_not_overtake_the_line(make_leader, worker):
    made = crowd(make_leader, "a", minutes=3)
    first = worker.take()
    assert worker.start(worker.claim()).startswith(HELD)
    late = worker.claim()
    worker.end(first)
    assert worker.start(late).startswith(HELD)
    assert worker.take() == made.run(2, "a")
    assert worker.take() == ""


def test_a_run_that_finds_room_lets_those_go_first_that_were_decided_before_it(make_leader, worker):
    made = crowd(make_leader, "a", minutes=3)
    first = worker.take()
    assert worker.start(worker.claim()).startswith(HELD)
    late = worker.claim()
    made.client.hset(made.keys.groups, "disk", 2)
    assert worker.start(late).startswith(HELD)
    assert worker.take() == made.run(2, "a")
    worker.end(first)
    assert worker.take() == late


def test_a_retry_keeps_the_place_of_its_decision(make_leader, worker):
    made = crowd(make_leader, "a", retries=1)
    retried = worker.take()
    worker.end(retried, "retry", delay=1)
    made.minutes(2, 4)
    running = worker.take()
    assert running == made.run(2, "a")
    assert worker.take() == ""
    made.tidy(seconds_ahead=60)
    assert worker.take() == ""
    worker.end(running)
    assert worker.take() == retried


def test_a_run_that_is_called_up_and_that_no_worker_takes_gives_its_place_to_the_next(make_leader, worker):
    made = make_leader(
        job("a", group="disk"), job("b", group="disk", queue="deserted"), job("c", group="disk")
    )
    made.minutes(0, 1)
    first = worker.take()
    assert worker.start(worker.claim("deserted")).startswith(HELD)
    assert worker.take() == ""
    worker.end(first)
    assert made.tidy() == []
    assert worker.take() == ""
    made.client.hset(made.keys.run(made.run(1, "b")), "place_at", 1)  # ten seconds later
    assert [one.run for one in made.tidy()] == [made.run(1, "c")]
    assert worker.take() == made.run(1, "c")
    assert worker.start(worker.claim("deserted")).startswith(HELD)


def test_a_lowered_limit_calls_nobody_up_until_there_is_room(make_leader, worker):
    made = crowd(make_leader, "a", "b", "c", group="disk:2")
    first, second = worker.take(), worker.take()
    assert worker.take() == ""
    made.edit(*(job(name, group="disk:1") for name in "abc"))
    made.tidy()
    worker.end(first)
    assert made.queued() == []
    worker.end(second)
    assert made.queued() == [made.run(1, "c")]


@pytest.mark.parametrize("order", range(4))
def test_a_groups_runs_start_in_the_order_of_their_decisions_whoever_takes_them(
    make_leader, redis_client, order
):
    made = crowd(make_leader, "a", "b", group="disk:2", minutes=6)
    ordered = made.queued()
    workers = [SteppedWorker(redis_client, f"worker{n}") for n in range(3)]
    started, rng = [], random.Random(order)
    for _ in range(500):
        one = rng.choice(workers)
        if one.running and rng.random() < 0.4:
            run = rng.choice(sorted(one.running))
            one.end(run)
            del one.running[run]
        elif (run := one.claim()) and not isinstance(one.start(run), str):
            started.append(run)
        assert sum(len(each.running) for each in workers) <= 2
    assert started == ordered
