"""A job's runs beside each other: allow, forbid, queue, replace (spec: reliability.md §4, Overlap)."""

import json

import pytest
from rq.job import Job as RQJob
from rq.serializers import JSONSerializer
from tests.support.stepped import job, minute


def begun(make_leader, **policy):
    """A leader whose job has been seen at T0, and is queued at minute 1."""
    made = make_leader(job(**policy))
    made.minutes(0, 1)
    assert made.queued() == [made.run(1)]
    return made


def let_it(state, leader, worker):
    """The first run gets into this state."""
    if state == "queued":
        return
    run = worker.claim()
    if state == "claimed":
        return
    worker.start(run)
    if state == "waiting for a retry":
        worker.end(run, "retry", delay=60)
    elif state == "queued again":
        worker.end(run, "requeue")


STATES = ["queued", "claimed", "started", "waiting for a retry", "queued again"]


def test_allowed_runs_are_queued_beside_each_other(make_leader, worker):
    made = begun(make_leader)
    worker.take()
    made.minutes(2, 3)
    assert made.queued() == [made.run(2), made.run(3)]
    assert made.words() == ["moved first seen", "queued", "queued", "queued"]


@pytest.mark.parametrize("state", STATES)
def test_forbid_skips_while_a_run_is_active_in_whatever_way(make_leader, worker, state):
    made = begun(make_leader, concurrency="forbid")
    let_it(state, made, worker)
    made.minutes(2, 3)
    assert made.words()[2:] == ["skipped overlap"] * 2
    assert made.missed() == {"job|overlap": 2}


@pytest.mark.parametrize(
    ("action", "outcome"), [("finish", "success"), ("fail", "failed"), ("stop", "stopped")]
)
def test_forbid_queues_again_once_the_run_has_ended_however(make_leader, worker, action, outcome):
    made = begun(make_leader, concurrency="forbid")
    worker.end(worker.take(), action, outcome)
    made.decide(minute(2))
    assert made.queued() == [made.run(2)]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_queue_lets_as_many_wait_as_it_says_and_skips_the_rest(make_leader, most):
    made = begun(make_leader, concurrency="queue", max_running=most)
    made.minutes(2, 6)
    waiting = ["held"] * most + ["skipped overlap"] * (5 - most)
    assert made.words()[2:] == waiting
    assert made.queued() == [made.run(1)]


def test_queued_runs_follow_each_other_in_order_one_at_a_time(make_leader, worker):
    made = begun(make_leader, concurrency="queue", max_running=3)
    made.minutes(2, 4)
    for number in (1, 2, 3, 4):
        run = worker.take()
        assert run == made.run(number)
        assert made.queued() == []
        worker.end(run, "fail")
    assert made.words()[5:] == ["released"] * 3


def test_a_run_in_the_middle_of_the_line_may_go_without_letting_the_last_overtake(make_leader, worker):
    made = begun(make_leader, concurrency="queue", max_running=3)
    made.minutes(2, 4)
    RQJob.fetch(made.run(3), connection=made.client, serializer=JSONSerializer).delete()
    made.tidy(rounds=2)
    assert (made.status(2), made.status(4)) == ("deferred", "deferred")
    assert [worker.work(), made.words()[-2:]] == [[made.run(n) for n in (1, 2, 4)], ["released"] * 2]


@pytest.mark.parametrize("state", ["queued", "claimed", "waiting for a retry", "queued again"])
def test_replace_ends_an_older_run_that_does_not_run(make_leader, worker, state):
    made = begun(make_leader, concurrency="replace")
    let_it(state, made, worker)
    made.decide(minute(2))
    assert made.status(1) == "canceled"
    assert made.words()[2:] == ["ended replaced", "queued"]
    assert made.queued() == [made.run(2)]
    assert made.missed() == {}
    if state == "claimed":
        assert worker.start(made.run(1)) == "status is canceled"


def test_replace_stops_a_started_run_durably_and_tells_its_worker_at_once(make_leader, worker, redis_client):
    made = begun(make_leader, concurrency="replace")
    run = worker.take()
    with redis_client.pubsub() as channel:
        channel.subscribe("rq:pubsub:worker")
        channel.get_message(timeout=60)
        made.decide(minute(2))
        message = channel.get_message(timeout=60)
    assert json.loads(message["data"]) == {"command": "stop-job", "job_id": run}
    assert worker.ledger.heartbeat([(run, worker.running[run])], minute(2))[1] == ["STOP"]
    assert made.status(2) == "deferred"
    assert made.queued() == []


def test_the_replacing_run_is_queued_once_when_the_replaced_one_has_ended(make_leader, worker):
    made = begun(make_leader, concurrency="replace")
    run = worker.take()
    made.decide(minute(2))
    worker.end(run, "stop")
    assert worker.end(run, "stop") == "REPEATED"
    assert made.client.hget(made.keys.run(run), "outcome") == b"replaced"
    made.tidy(rounds=3)
    assert made.queued() == [made.run(2)]
    assert made.words()[2:] == ["held", "released"]


@pytest.mark.parametrize("action", ["retry", "requeue", "fail"])
def test_a_replaced_run_is_not_attempted_again_whatever_ends_it(make_leader, worker, action):
    made = begun(make_leader, concurrency="replace")
    run = worker.take()
    made.decide(minute(2))
    worker.end(run, action)
    made.tidy(seconds_ahead=3600)
    assert made.status(1) == "stopped"
    assert made.queued() == [made.run(2)]


def test_of_many_replacing_runs_only_the_newest_is_left(make_leader, worker):
    made = begun(make_leader, concurrency="replace")
    run = worker.take()
    made.minutes(2, 4)
    assert [made.status(n) for n in (2, 3, 4)] == ["canceled", "canceled", "deferred"]
    worker.end(run, "stop")
    assert made.queued() == [made.run(4)]


def test_a_replaced_run_that_ends_well_has_succeeded(make_leader, worker):
    made = begun(make_leader, concurrency="replace")
    run = worker.take()
    made.decide(minute(2))
    worker.end(run)
    assert made.client.hget(made.keys.stats("job"), "last_outcome") == b"success"
    assert made.queued() == [made.run(2)]


@pytest.mark.parametrize("policy", ["forbid", "queue", "replace"])
@pytest.mark.parametrize("state", ["queued", "started", "waiting for a retry"])
def test_a_run_whose_hash_somebody_deleted_holds_nothing_up(make_leader, worker, policy, state):
    made = begun(make_leader, concurrency=policy)
    let_it(state, made, worker)
    made.client.delete(made.keys.run(made.run(1)))
    made.decide(minute(2))
    assert made.status(2) == "queued"


@pytest.mark.parametrize("policy", ["forbid", "queue", "replace"])
def test_a_run_that_rq_itself_canceled_holds_nothing_up(make_leader, policy):
    made = begun(make_leader, concurrency=policy)
    RQJob.fetch(made.run(1), connection=made.client, serializer=JSONSerializer).cancel()
    made.decide(minute(2))
    assert made.status(2) == "queued"


def test_a_deleted_run_before_which_another_waits_opens_its_way(make_leader, worker):
    made = begun(make_leader, concurrency="queue")
    worker.take()
    made.decide(minute(2))
    made.client.delete(made.keys.run(made.run(1)))
    made.tidy()
    assert made.queued() == [made.run(2)]


@pytest.mark.parametrize("most_lost", [0, 3])
def test_a_lost_workers_run_that_was_to_be_replaced_is_not_attempted_again(make_leader, worker, most_lost):
    made = begun(make_leader, concurrency="replace", max_lost=most_lost)
    worker.take()
    made.decide(minute(2))
    worker.die()
    made.tidy(rounds=2)
    assert made.status(1) == "stopped"
    assert made.client.hget(made.keys.run(made.run(1)), "outcome") == b"replaced"
    assert made.client.hget(made.keys.stats("job"), "last_outcome") == b"replaced"
    assert made.queued() == [made.run(2)]


def test_nothing_stays_running_after_a_worker_was_killed(make_leader, worker):
    made = begun(make_leader, concurrency="forbid", max_lost=0)
    worker.take()
    made.decide(minute(2))
    worker.die()
    made.tidy()
    assert made.client.zcard(made.keys.active("job")) == 0
    made.decide(minute(3))
    assert made.words()[2:] == ["skipped overlap", "queued"]


def test_a_lost_run_that_is_tried_again_still_forbids(make_leader, worker):
    made = begun(make_leader, concurrency="forbid")
    worker.take()
    worker.die()
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
def test_caught_up_instants_pass_through_the_same_rules_in_order(make_leader, policy, words):
    made = make_leader(job(concurrency=policy))
    made.decide(minute(0))
    made.decide(minute(5))
    assert made.words()[1:] == words
    firsts = [entry.first for entry in made.log() if entry.decision != "ended"]
    assert firsts == sorted(firsts)


def test_a_policy_changed_from_allow_to_replace_waits_for_every_run_that_runs(make_leader, worker):
    made = begun(make_leader)
    first = worker.take()
    made.decide(minute(2))
    second = worker.take()
    made.edit(job(concurrency="replace"))
    made.decide(minute(3))
    worker.end(second, "stop")
    assert made.queued() == []
    worker.end(first, "stop")
    assert made.queued() == [made.run(3)]
