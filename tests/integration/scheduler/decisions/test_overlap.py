"""A job's runs beside each other: allow, forbid, queue, replace (spec: reliability.md §4, Overlap)."""

import json

import pytest
from rq.job import Job as RQJob
from rq.serializers import JSONSerializer
from tests.support.leader import job, minute


def begun(desk, **policy):
    """A desk whose job has been seen at T0, and is queued at minute 1."""
    made = desk(job(**policy))
    made.minutes(0, 1)
    assert made.queued() == [made.run(1)]
    return made


def let_it(state, desk, hand):
    """The first run gets into this state."""
    if state == "queued":
        return
    run = hand.claim()
    if state == "claimed":
        return
    hand.start(run)
    if state == "waiting for a retry":
        hand.end(run, "retry", delay=60)
    elif state == "queued again":
        hand.end(run, "requeue")


STATES = ["queued", "claimed", "started", "waiting for a retry", "queued again"]


def test_allowed_runs_are_queued_beside_each_other(desk, hand):
    made = begun(desk)
    hand.take()
    made.minutes(2, 3)
    assert made.queued() == [made.run(2), made.run(3)]
    assert made.words() == ["moved first seen", "queued", "queued", "queued"]


@pytest.mark.parametrize("state", STATES)
def test_forbid_skips_while_a_run_is_active_in_whatever_way(desk, hand, state):
    made = begun(desk, concurrency="forbid")
    let_it(state, made, hand)
    made.minutes(2, 3)
    assert made.words()[2:] == ["skipped overlap"] * 2
    assert made.missed() == {"job|overlap": 2}


@pytest.mark.parametrize(
    ("action", "outcome"), [("finish", "success"), ("fail", "failed"), ("stop", "stopped")]
)
def test_forbid_queues_again_once_the_run_has_ended_however(desk, hand, action, outcome):
    made = begun(desk, concurrency="forbid")
    hand.end(hand.take(), action, outcome)
    made.decide(minute(2))
    assert made.queued() == [made.run(2)]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_queue_lets_as_many_wait_as_it_says_and_skips_the_rest(desk, most):
    made = begun(desk, concurrency="queue", max_running=most)
    made.minutes(2, 6)
    waiting = ["held"] * most + ["skipped overlap"] * (5 - most)
    assert made.words()[2:] == waiting
    assert made.queued() == [made.run(1)]


def test_queued_runs_follow_each_other_in_order_one_at_a_time(desk, hand):
    made = begun(desk, concurrency="queue", max_running=3)
    made.minutes(2, 4)
    for number in (1, 2, 3, 4):
        run = hand.take()
        assert run == made.run(number)
        assert made.queued() == []
        hand.end(run, "fail")
    assert made.words()[5:] == ["released"] * 3


def test_a_run_in_the_middle_of_the_line_may_go_without_letting_the_last_overtake(desk, hand):
    made = begun(desk, concurrency="queue", max_running=3)
    made.minutes(2, 4)
    RQJob.fetch(made.run(3), connection=made.client, serializer=JSONSerializer).delete()
    made.tidy(rounds=2)
    assert (made.status(2), made.status(4)) == ("deferred", "deferred")
    assert [hand.work(), made.words()[-2:]] == [[made.run(n) for n in (1, 2, 4)], ["released"] * 2]


@pytest.mark.parametrize("state", ["queued", "claimed", "waiting for a retry", "queued again"])
def test_replace_ends_an_older_run_that_does_not_run(desk, hand, state):
    made = begun(desk, concurrency="replace")
    let_it(state, made, hand)
    made.decide(minute(2))
    assert made.status(1) == "canceled"
    assert made.words()[2:] == ["ended replaced", "queued"]
    assert made.queued() == [made.run(2)]
    assert made.missed() == {}
    if state == "claimed":
        assert hand.start(made.run(1)) == "status is canceled"


def test_replace_stops_a_started_run_durably_and_tells_its_worker_at_once(desk, hand, redis_client):
    made = begun(desk, concurrency="replace")
    run = hand.take()
    with redis_client.pubsub() as channel:
        channel.subscribe("rq:pubsub:hand")
        channel.get_message(timeout=5)
        made.decide(minute(2))
        message = channel.get_message(timeout=5)
    assert json.loads(message["data"]) == {"command": "stop-job", "job_id": run}
    assert hand.ledger.beat([(run, hand.running[run])], minute(2)) == ["STOP"]
    assert made.status(2) == "deferred"
    assert made.queued() == []


def test_the_replacing_run_is_queued_once_when_the_replaced_one_has_ended(desk, hand):
    made = begun(desk, concurrency="replace")
    run = hand.take()
    made.decide(minute(2))
    hand.end(run, "stop")
    assert hand.end(run, "stop") == "REPEATED"
    assert made.client.hget(made.keys.run(run), "outcome") == b"replaced"
    made.tidy(rounds=3)
    assert made.queued() == [made.run(2)]
    assert made.words()[2:] == ["held", "released"]


@pytest.mark.parametrize("action", ["retry", "requeue", "fail"])
def test_a_replaced_run_is_not_attempted_again_whatever_ends_it(desk, hand, action):
    made = begun(desk, concurrency="replace")
    run = hand.take()
    made.decide(minute(2))
    hand.end(run, action)
    made.tidy(seconds_ahead=3600)
    assert made.status(1) == "stopped"
    assert made.queued() == [made.run(2)]


def test_of_many_replacing_runs_only_the_newest_is_left(desk, hand):
    made = begun(desk, concurrency="replace")
    run = hand.take()
    made.minutes(2, 4)
    assert [made.status(n) for n in (2, 3, 4)] == ["canceled", "canceled", "deferred"]
    hand.end(run, "stop")
    assert made.queued() == [made.run(4)]


def test_a_replaced_run_that_ends_well_has_succeeded(desk, hand):
    made = begun(desk, concurrency="replace")
    run = hand.take()
    made.decide(minute(2))
    hand.end(run)
    assert made.client.hget(made.keys.stats("job"), "last_outcome") == b"success"
    assert made.queued() == [made.run(2)]


@pytest.mark.parametrize("policy", ["forbid", "queue", "replace"])
@pytest.mark.parametrize("state", ["queued", "started", "waiting for a retry"])
def test_a_run_whose_hash_somebody_deleted_holds_nothing_up(desk, hand, policy, state):
    made = begun(desk, concurrency=policy)
    let_it(state, made, hand)
    made.client.delete(made.keys.run(made.run(1)))
    made.decide(minute(2))
    assert made.status(2) == "queued"


@pytest.mark.parametrize("policy", ["forbid", "queue", "replace"])
def test_a_run_that_rq_itself_canceled_holds_nothing_up(desk, policy):
    made = begun(desk, concurrency=policy)
    RQJob.fetch(made.run(1), connection=made.client, serializer=JSONSerializer).cancel()
    made.decide(minute(2))
    assert made.status(2) == "queued"


def test_a_deleted_run_before_which_another_waits_opens_its_way(desk, hand):
    made = begun(desk, concurrency="queue")
    hand.take()
    made.decide(minute(2))
    made.client.delete(made.keys.run(made.run(1)))
    made.tidy()
    assert made.queued() == [made.run(2)]


@pytest.mark.parametrize("most_lost", [0, 3])
def test_a_lost_workers_run_that_was_to_be_replaced_is_not_attempted_again(desk, hand, most_lost):
    made = begun(desk, concurrency="replace", max_lost=most_lost)
    hand.take()
    made.decide(minute(2))
    hand.die()
    made.tidy(rounds=2)
    assert made.status(1) == "stopped"
    assert made.client.hget(made.keys.run(made.run(1)), "outcome") == b"replaced"
    assert made.client.hget(made.keys.stats("job"), "last_outcome") == b"replaced"
    assert made.queued() == [made.run(2)]


def test_nothing_stays_running_after_a_worker_was_killed(desk, hand):
    made = begun(desk, concurrency="forbid", max_lost=0)
    hand.take()
    made.decide(minute(2))
    hand.die()
    made.tidy()
    assert made.client.zcard(made.keys.active("job")) == 0
    made.decide(minute(3))
    assert made.words()[2:] == ["skipped overlap", "queued"]


def test_a_lost_run_that_is_tried_again_still_forbids(desk, hand):
    made = begun(desk, concurrency="forbid")
    hand.take()
    hand.die()
    made.tidy()
    assert made.queued() == [made.run(1)]
    made.decide(minute(2))
    assert made.words()[2:] == ["skipped overlap"]


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("forbid", ["queued", *["skipped overlap"] * 4]),
        ("queue", ["queued", "held", *["skipped overlap"] * 3]),
        ("replace", ["queued", *["ended replaced", "queued"] * 4]),
    ],
)
def test_caught_up_instants_pass_through_the_same_rules_in_order(desk, policy, words):
    made = desk(job(concurrency=policy))
    made.decide(minute(0))
    made.decide(minute(5))
    assert made.words()[1:] == words
    firsts = [entry.first for entry in made.log() if entry.decision != "ended"]
    assert firsts == sorted(firsts)


def test_a_policy_changed_from_allow_to_replace_waits_for_every_run_that_runs(desk, hand):
    made = begun(desk)
    first = hand.take()
    made.decide(minute(2))
    second = hand.take()
    made.edit(job(concurrency="replace"))
    made.decide(minute(3))
    hand.end(second, "stop")
    assert made.queued() == []
    hand.end(first, "stop")
    assert made.queued() == [made.run(3)]
