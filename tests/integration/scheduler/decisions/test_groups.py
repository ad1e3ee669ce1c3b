"""At most N runs of a group at once, counted when they start (spec: reliability.md §4, Overlap)."""

import pytest
from rq.job import Job as RQJob
from rq.serializers import JSONSerializer
from tests.support.leader import Hand, job, minute

from kuber_cron.worker.coordination.run_store import HELD


def crowd(desk, *names, group="disk", minutes=1, **policy):
    """A desk whose jobs, all of one group, are queued at minute 1 (and further ones)."""
    made = desk(*(job(name, group=group, **policy) for name in names))
    made.minutes(0, minutes)
    return made


def delete(desk, run):
    RQJob.fetch(run, connection=desk.client, serializer=JSONSerializer).delete()


@pytest.mark.parametrize(("group", "most"), [("disk", 1), ("disk:2", 2), ("disk:3", 3)])
def test_so_many_runs_of_a_group_start_and_the_next_is_held(desk, hand, group, most):
    made = crowd(desk, "a", "b", "c", "d", group=group)
    for _ in range(most):
        assert hand.take()
    run = hand.claim()
    assert hand.start(run).startswith(HELD)
    assert made.client.hget(made.keys.run(run), "status") == b"deferred"
    assert hand.take() == ""


def test_being_decided_or_queued_takes_no_room(desk, hand):
    made = crowd(desk, "a", "b", "c")
    assert len(made.queued()) == 3
    assert made.client.keys(made.keys.group("*")) == []


@pytest.mark.parametrize("action", ["finish", "fail", "stop", "retry", "requeue"])
def test_whatever_ends_an_attempt_makes_room(desk, hand, action):
    made = crowd(desk, "a", "b")
    first = hand.take()
    assert hand.take() == ""
    hand.end(first, action, delay=3600)
    following = made.run(1, "b")
    if action == "requeue":
        assert made.queued() == [following, first] or made.queued() == [first, following]
    else:
        assert made.queued() == [following]


def test_a_requeued_run_and_the_one_that_waited_do_not_run_together(desk, hand):
    crowd(desk, "a", "b")
    hand.end(hand.take(), "requeue")
    assert hand.take()
    assert hand.take() == ""


@pytest.mark.parametrize("most_lost", [0, 3])
def test_a_lost_worker_makes_room(desk, hand, most_lost):
    made = crowd(desk, "a", "b", max_lost=most_lost)
    hand.take()
    assert hand.take() == ""
    hand.die()
    made.tidy()
    other = Hand(made.client, "other")
    assert other.take()
    assert other.take() == ""


def test_a_deleted_run_makes_room_and_wakes_the_next(desk, hand):
    made = crowd(desk, "a", "b")
    first = hand.take()
    assert hand.take() == ""
    delete(made, first)
    made.tidy()
    assert made.queued() == [made.run(1, "b")]


def test_held_runs_go_in_the_order_of_their_decisions(desk, hand):
    made = crowd(desk, "a", "b", "c", minutes=2)
    ordered = made.queued()
    first = hand.take()
    claimed = [hand.claim() for _ in ordered[1:]]
    for run in reversed(claimed):
        assert hand.start(run).startswith(HELD)
    hand.end(first)
    done = [first]
    while run := hand.take():
        hand.end(run)
        done.append(run)
    assert done == ordered


def test_the_smallest_limit_of_a_groups_jobs_holds_for_all(desk, hand):
    made = desk(job("a", group="disk:3"), job("b", group="disk:2"), job("c", group="disk:5"))
    made.minutes(0, 1)
    assert hand.take()
    assert hand.take()
    assert hand.take() == ""


def test_two_groups_do_not_hold_each_other(desk, hand):
    made = desk(job("a", group="disk"), job("b", group="net"))
    made.minutes(0, 1)
    assert hand.take()
    assert hand.take()


def test_a_released_run_that_is_deleted_before_it_starts_costs_nobody_the_wake_up(desk, hand):
    made = crowd(desk, "a", "b", "c")
    first = hand.take()
    assert hand.take() == ""
    hand.end(first)
    (released,) = made.queued()
    delete(made, released)
    made.tidy(rounds=2)
    assert made.queued() == [made.run(1, "c")]


def test_a_deleted_run_at_the_head_of_the_line_does_not_swallow_the_wake_up(desk, hand):
    made = crowd(desk, "a", "b", "c")
    first = hand.take()
    assert hand.take() == ""
    delete(made, made.run(1, "b"))
    hand.end(first)
    assert made.queued() == [made.run(1, "c")]


def test_a_released_run_that_is_replaced_before_it_starts_costs_nobody_the_wake_up(desk, hand):
    made = desk(job("a", group="disk"), job("b", group="disk", concurrency="replace"), job("c", group="disk"))
    made.minutes(0, 1)
    first = hand.take()
    assert hand.take() == ""
    hand.end(first)
    assert made.queued() == [made.run(1, "b")]
    made.edit(job("b", group="disk", concurrency="replace"))
    made.decide(minute(2))
    assert made.status(1, "b") == "canceled"
    made.tidy(rounds=2)
    assert set(made.queued()) >= {made.run(2, "b"), made.run(1, "c")}


def test_a_held_run_that_stands_in_no_line_is_served_all_the_same(desk, hand):
    made = crowd(desk, "a", "b")
    first = hand.take()
    assert hand.take() == ""
    made.client.delete(made.keys.waiting("disk"))  # as an error between two writes of a script leaves it
    hand.end(first)
    made.tidy()
    assert made.queued() == [made.run(1, "b")]


def test_a_member_that_does_not_run_is_found_out(desk, hand):
    made = crowd(desk, "a", "b")
    made.client.sadd(made.keys.group("disk"), "gone-20260301T000000Z")
    assert hand.take() == ""
    made.tidy()
    assert len(made.queued()) == 1


def test_a_group_that_grew_lets_more_start_at_its_next_decision(desk, hand):
    made = crowd(desk, "a", "b")
    assert hand.take()
    assert hand.take() == ""
    made.edit(job("a", group="disk:2"), job("b", group="disk:2"))
    made.decide(minute(2))
    made.tidy()
    assert hand.take()


def test_a_replaced_run_of_a_group_gives_its_room_to_who_waited_first(desk, hand):
    made = desk(job("a", group="disk", concurrency="replace"), job("b", group="disk"))
    made.minutes(0, 1)
    first = hand.take()
    assert first == made.run(1, "a")
    assert hand.take() == ""
    made.edit(job("a", group="disk", concurrency="replace"))
    made.decide(minute(2))
    hand.end(first, "stop")
    assert hand.take() == made.run(1, "b")
    assert hand.take() == ""
    hand.end(made.run(1, "b"))
    assert hand.take() == made.run(2, "a")


def test_a_run_released_by_its_predecessor_still_waits_for_room(desk, hand):
    made = desk(job("a", group="disk"), job("b"), job("c", after=["b"], group="disk"))
    made.minutes(0, 1)
    first = hand.take()
    assert first == made.run(1, "a")
    hand.end(hand.take())
    assert hand.take() == ""
    hand.end(first)
    assert hand.take() == made.run(1, "c")


def test_the_limit_holds_whatever_the_hands_do_at_once(desk, redis_client):
    made = crowd(desk, "a", "b", "c", group="disk:2", minutes=4)
    hands = [Hand(redis_client, f"hand{n}") for n in range(3)]
    done = []
    for step in range(100):
        one = hands[step % 3]
        if one.running and step % 2:
            run = next(iter(one.running))
            one.end(run)
            del one.running[run]
            done.append(run)
        else:
            one.take()
        assert sum(len(each.running) for each in hands) <= 2
    assert sorted(done) == sorted({entry.run for name in "abc" for entry in made.log(name) if entry.run})
