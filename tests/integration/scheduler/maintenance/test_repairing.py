"""Housekeeping: what somebody deleted, what a worker left, what an error left half done (reliability.md §4, §6)."""

import random

import pytest
import redis
from rq.job import Job as RQJob
from rq.queue import Queue
from rq.serializers import JSONSerializer
from tests.support.stepped import KEYS, T0, SteppedLeader, SteppedWorker, job, minute

from kuber_cron.common.errors import FencedError, StateLostError


def fetched(made, run):
    return RQJob.fetch(run, connection=made.client, serializer=JSONSerializer)


def test_a_run_deleted_by_rq_ends_as_removed_within_one_look(make_leader, worker):
    made = make_leader(job(concurrency="forbid"))
    made.minutes(0, 1)
    fetched(made, made.run(1)).delete()
    (tidied,) = made.tidy()
    assert (tidied.what, tidied.run, tidied.job) == ("removed", made.run(1), "job")
    assert made.words()[2:] == ["ended removed"]
    assert made.missed() == {"job|removed": 1}
    assert made.client.hlen(KEYS.open_runs) == 0
    made.decide(minute(2))
    assert made.words()[-1] == "queued"


def test_a_whole_queue_emptied_by_rq_is_noticed_at_one_look(make_leader):
    made = make_leader(job("a"), job("b", "*/10 * * * *", after=["a"]), job("c", concurrency="queue"))
    made.minutes(0, 10)
    assert made.status(10, "b") == "deferred"
    Queue("default", connection=made.client, serializer=JSONSerializer).empty()
    made.tidy()
    assert made.words("b")[-1] == "ended predecessor"
    assert made.words("a")[-1] == "ended removed"
    # What was held behind the deleted one goes on.
    assert made.queued() == [made.run(2, "c")]


def test_a_run_canceled_by_rq_is_over(make_leader):
    made = make_leader(job(concurrency="queue"))
    made.minutes(0, 2)
    fetched(made, made.run(1)).cancel()
    made.tidy()
    assert made.queued() == [made.run(2)]
    assert made.words()[2:] == ["held", "ended removed", "released"] or made.words()[-1] == "released"


def test_a_started_run_that_rq_called_canceled_goes_on_and_still_counts(make_leader, worker):
    made = make_leader(job(concurrency="forbid"))
    made.minutes(0, 1)
    run = worker.take()
    made.client.hset(KEYS.run(run), "status", "canceled")
    assert made.tidy() == []
    made.decide(minute(2))
    assert made.words()[-1] == "skipped overlap"
    assert worker.end(run) == "DONE"
    made.decide(minute(3))
    assert made.words()[-1] == "queued"


def test_a_started_run_that_rq_canceled_is_over_when_its_worker_is(make_leader, worker):
    made = make_leader(job(concurrency="queue"))
    made.minutes(0, 2)
    run = worker.take()
    fetched(made, run).cancel()
    assert made.tidy() == []
    worker.die()
    assert {one.what for one in made.tidy(rounds=2)} >= {"removed"}
    assert made.queued() == [made.run(2)]


def test_a_deleted_run_is_dropped_by_the_worker_that_had_claimed_it(make_leader, worker):
    made = make_leader(job())
    made.minutes(0, 1)
    run = worker.claim()
    made.client.delete(KEYS.run(run))
    made.tidy()
    assert worker.start(run) == "removed"
    assert worker.take() == ""


def test_a_run_that_lives_is_left_alone_however_often_it_is_looked_at(make_leader, worker):
    made = make_leader(
        job("a", concurrency="queue"), job("b", after=["a"]), job("c", group="g"), job("d", group="g")
    )
    made.minutes(0, 2)
    for _ in range(3):
        worker.take()
    before = {key: made.client.hgetall(key) for key in made.client.scan_iter("rq:job:*")}
    assert made.tidy(rounds=12) == []
    assert {key: made.client.hgetall(key) for key in made.client.scan_iter("rq:job:*")} == before


def fill(client, count):
    """So many runs in one queue, all of them decided and none started."""
    ids = [
        f"bulk{n % 50}-2026{1 + n % 12:02}01T{n % 24:02}{n // 50 % 60:02}00Z-m{n:08x}" for n in range(count)
    ]
    with client.pipeline(transaction=False) as pipe:
        for run in ids:
            name = run.partition("-")[0]
            fields = {"status": "queued", "origin": "bulk", "job": name, "at": 1, "order": 1}
            pipe.hset(KEYS.run(run), mapping=fields)
            pipe.hset(KEYS.open_runs, run, "")
            pipe.zadd(KEYS.active(name), {run: 1})
            pipe.rpush(KEYS.queue("bulk"), run)
        pipe.execute()
    return ids


def test_twenty_thousand_open_runs_are_all_looked_at_within_ten_rounds(redis_client):
    made = SteppedLeader(redis_client, job())
    made.decide(T0)
    ids = fill(made.client, 20_000)
    deleted = random.Random(4).sample(ids, 300)
    for run in deleted:
        made.client.delete(KEYS.run(run))
        made.client.lrem(KEYS.queue("bulk"), 1, run)
    made.client.config_set("slowlog-log-slower-than", 0)
    made.client.config_set("slowlog-max-len", 1000)
    try:
        made.client.slowlog_reset()
        found = made.tidy(rounds=10)
        calls = [
            one["duration"] / 1000 for one in made.client.slowlog_get(1000) if b"EVALSHA" in one["command"]
        ]
    finally:
        made.client.config_set("slowlog-log-slower-than", 10_000)
    print(f"longest call of housekeeping: {max(calls):.1f} ms")  # noqa: T201 - measured, and asserted loosely
    assert sorted(one.run for one in found) == sorted(deleted)
    assert max(calls) < 250, "Redis was held for long"


def test_housekeeping_under_an_old_term_does_nothing(make_leader, worker):
    made = make_leader(job())
    made.minutes(0, 1)
    fetched(made, made.run(1)).delete()
    made.client.hset(KEYS.fence, "epoch", 2)
    with pytest.raises(FencedError):
        made.tidy()
    made.client.hset(KEYS.fence, "epoch", 0)
    with pytest.raises(StateLostError):
        made.tidy()
    assert made.words()[-1] == "queued"
    made.client.hset(KEYS.fence, "epoch", 1)


# --- workers that died --------------------------------------------------------------------------------


def test_a_dead_workers_claims_go_back_to_the_head_in_their_order_and_cost_nothing(make_leader, worker):
    made = make_leader(job())
    made.minutes(0, 4)
    for _ in range(3):
        worker.claim()
    worker.die()
    made.tidy()
    assert made.queued() == [made.run(n) for n in (1, 2, 3, 4)]
    assert SteppedWorker(made.client, "other").take() == made.run(1)
    assert made.client.hget(KEYS.run(made.run(1)), "attempt") == b"1"


def test_a_claim_that_arrives_after_its_worker_has_retired_is_returned_too(make_leader, worker):
    made = make_leader(job())
    made.minutes(0, 3)
    worker.claim()
    worker.claim()
    worker.ledger.deregister()
    assert made.queued() == [made.run(1), made.run(2), made.run(3)]
    assert worker.claim() == made.run(1)  # sent before, and held up on its way
    made.tidy()
    assert made.queued() == [made.run(1), made.run(2), made.run(3)]


def test_a_lost_run_is_queued_again_until_its_budget_is_spent(make_leader):
    made = make_leader(job(max_lost=2))
    made.minutes(0, 1)
    for number in range(3):
        worker = SteppedWorker(made.client, f"worker{number}")
        assert worker.take() == made.run(1)
        worker.die()
        made.tidy()
    assert made.status(1) == "failed"
    assert made.client.hget(KEYS.lost, "job") == b"3"


def test_a_look_for_dead_workers_that_arrives_late_takes_no_run_away(make_leader, worker):
    made = make_leader(job())
    made.minutes(0, 1)
    worker.take()
    worker.die()
    # Sent before Redis stood still, executed after it: by then every execution's key has expired.
    assert made.tidy(seconds_ahead=-20) == []
    assert made.status(1) == "started"
    assert [one.what for one in made.tidy()] == ["lost_again"]


def test_a_late_end_of_a_run_that_was_given_to_another_changes_nothing(make_leader, worker):
    made = make_leader(job())
    made.minutes(0, 1)
    run, execution = worker.take(), dict(worker.running)
    worker.die()
    made.tidy()
    other = SteppedWorker(made.client, "other")
    assert other.take() == run
    worker.running = execution
    assert worker.end(run, "fail") == "LATE"
    assert made.status(1) == "started"
    assert other.end(run) == "DONE"


def test_a_due_retry_is_queued_once(make_leader, worker):
    made = make_leader(job(retries=1))
    made.minutes(0, 1)
    worker.end(worker.take(), "retry", delay=30)
    assert made.tidy() == []
    assert [one.what for one in made.tidy(rounds=3, seconds_ahead=60)] == ["retried"]
    assert made.queued() == [made.run(1)]


def test_a_due_retry_of_high_priority_goes_to_the_head(make_leader, worker):
    made = make_leader(job("a", priority="high", retries=1), job("b"))
    made.minutes(0, 1)
    worker.end(worker.take(), "retry", delay=30)
    made.tidy(seconds_ahead=60)
    assert made.queued() == [made.run(1, "a"), made.run(1, "b")]


# --- keys that are not ours ---------------------------------------------------------------------------


def test_a_queue_of_the_wrong_kind_does_not_keep_the_others_from_being_put_in_order(make_leader, worker):
    made = make_leader(job("a", queue="aa", retries=1), job("b", queue="bb", retries=1))
    made.minutes(0, 1)
    for queue in ("aa", "bb"):
        worker.end(worker.take(queue), "retry", delay=1)
    made.client.set("rq:queue:aa", "not a list")
    made.tidy(seconds_ahead=60)
    assert (made.status(1, "a"), made.status(1, "b")) == ("scheduled", "queued")
    made.client.delete("rq:queue:aa")
    made.tidy(seconds_ahead=60)
    assert made.queued("aa") == [made.run(1, "a")]


@pytest.mark.parametrize("broken", ["rq:queue:default", "rq:job:a-20260301T000200Z"])
def test_a_claim_whose_queue_or_run_is_of_the_wrong_kind_stays_claimed(make_leader, worker, broken):
    made = make_leader(job("a"), job("b", queue="bb"))
    other = SteppedWorker(made.client, "other")
    made.minutes(0, 2)
    worker.claim()
    worker.claim()
    other.claim("bb")
    worker.die()
    other.die()
    if made.client.exists(broken):
        made.client.rename(broken, "aside")
    made.client.set(broken, "of the wrong kind")
    assert [one.run for one in made.tidy()] == [made.run(1, "b")]
    made.client.delete(broken)
    if made.client.exists("aside"):
        made.client.rename("aside", broken)
    made.tidy()
    assert made.queued() == [made.run(1, "a"), made.run(2, "a")]
    assert made.queued("bb") == [made.run(1, "b"), made.run(2, "b")]


def test_an_end_that_cannot_requeue_its_run_writes_nothing_and_may_be_repeated(make_leader, worker):
    made = make_leader(job("a"))
    made.minutes(0, 1)
    run = worker.take()
    made.client.set("rq:queue:default", "not a list")
    with pytest.raises(redis.ResponseError):
        worker.end(run, "requeue")
    assert made.status(1, "a") == "started"
    made.client.delete("rq:queue:default")
    assert worker.end(run, "requeue") == "DONE"
    assert made.queued() == [run]


def test_a_run_that_cannot_be_released_stays_held_until_its_queue_is_mended(make_leader, worker):
    made = make_leader(job("a"), job("b", after=["a"], queue="bb"), job("c", after=["a"], queue="cc"))
    made.minutes(0, 1)
    run = worker.take()
    made.client.set("rq:queue:bb", "not a list")
    assert worker.end(run) == "DONE"
    assert (made.status(1, "b"), made.status(1, "c")) == ("deferred", "queued")
    assert made.tidy() == []
    made.client.delete("rq:queue:bb")
    assert [one.what for one in made.tidy(rounds=2)] == ["opened"]
    assert made.queued("bb") == [made.run(1, "b")]


def test_a_held_run_whose_queue_is_no_list_ends_with_its_predecessor_all_the_same(make_leader, worker):
    made = make_leader(job("a"), job("b", after=["a"], queue="bb"), job("c", after=["a"]))
    made.minutes(0, 1)
    run = worker.take()
    made.client.set("rq:queue:bb", "not a list")
    assert worker.end(run, "fail") == "DONE"
    assert (made.status(1, "b"), made.status(1, "c")) == ("canceled", "canceled")
    made.client.delete("rq:queue:bb")
    made.tidy(rounds=2)
    assert made.queued("bb") == []
    assert made.words("b")[-1] == "ended predecessor"


def test_a_held_run_of_a_group_whose_queue_is_mended_is_served(make_leader, worker):
    made = make_leader(job("a", group="g"), job("b", group="g", queue="bb"))
    made.minutes(0, 1)
    first = worker.take()
    assert worker.take("bb") == ""
    made.client.set("rq:queue:bb", "not a list")
    worker.end(first)
    made.tidy()
    made.client.delete("rq:queue:bb")
    made.tidy()
    assert made.queued("bb") == [made.run(1, "b")]


def test_a_gate_that_a_failed_script_left_shut_is_opened(make_leader, worker):
    made = make_leader(job("a"), job("b", after=["a"]))
    made.minutes(0, 1)
    run = worker.take()
    made.client.delete(KEYS.gated(run))  # as if the end script had failed behind it
    worker.end(run)
    assert made.status(1, "b") == "deferred"
    made.tidy()
    assert made.queued() == [made.run(1, "b")]


def test_one_run_that_cannot_be_put_in_order_does_not_keep_the_others_from_it(make_leader):
    made = make_leader(job("a"), job("b"))
    made.minutes(0, 1)
    for name in "ab":
        made.client.delete(KEYS.run(made.run(1, name)))
    made.client.rename(KEYS.log("a"), "aside")
    made.client.set(KEYS.log("a"), "not a stream")
    assert [(one.what, one.job) for one in made.tidy()] == [("removed", "b")]
    made.client.rename("aside", KEYS.log("a"))
    made.tidy()
    assert made.words("a")[-1] == "ended removed"
    assert made.missed() == {"a|removed": 1, "b|removed": 1}


def test_history_is_bounded_and_what_falls_out_is_gone(make_leader, worker):
    made = make_leader(job(max_catchup=1000))
    made.decide(T0)
    made.decide(minute(130))
    worker.work()
    assert made.client.llen(KEYS.history("job")) == 100
    assert len(list(made.client.scan_iter("rq:job:*"))) == 100
