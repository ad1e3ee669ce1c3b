"""Two of everything: instances, replicas that differ, leaders on purpose, clocks, and answers that never come."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.support.stepped import KEYS, T0, SteppedWorker, job, minute, seen
from tests.support.waiting import eventually

from kuber_cron.common.errors import FencedError, RedisUnreachableError
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.common.redis_store.scripts import Store

OTHER = Keys("other")


def test_two_instances_with_the_same_jobs_in_one_redis_do_not_touch_each_other(make_leader, redis_client):
    jobs = [job("a", concurrency="forbid"), job("b", after=["a"], group="g")]
    ours, theirs = make_leader(*jobs), make_leader(*jobs, keys=OTHER, epoch=5, holder="theirs")
    ours.minutes(0, 1)
    theirs.minutes(0, 2)
    assert ours.words("a") == ["moved first seen", "queued"]
    assert theirs.words("a") == ["moved first seen", "queued", "skipped overlap"]
    worker, other = SteppedWorker(redis_client), SteppedWorker(redis_client, keys=OTHER)
    assert worker.work() == [ours.run(1, "a"), ours.run(1, "b")]
    assert theirs.status(1, "b") == "deferred"
    assert other.work() == [theirs.run(1, "a"), theirs.run(1, "b")]
    assert {key.split(b":")[0] for key in redis_client.scan_iter("*")} == {b"rq", b"other"}


def test_replicas_that_see_an_edit_two_minutes_apart_lose_and_double_nothing(make_leader):
    old = [job("same", "* * * * *"), job("edited", "* * * * *"), job("leaves", "* * * * *")]
    new = [job("same", "* * * * *"), job("edited", "*/2 * * * *"), job("comes", "* * * * *")]
    one, other = make_leader(*old, holder="one"), make_leader(*old, holder="other")
    one.decide(T0)
    # The second replica has the new files two minutes before the first, and they take turns all the while.
    other.edit(*new)
    for number in range(1, 9):
        if number == 5:
            one.edit(*new)
        leader = (one, other)[number % 2]
        leader.lead(number + 1)
        leader.decide(minute(number - 0.5))
        leader.decide(minute(number))
    every = [minute(number) for number in range(1, 9)]
    assert [entry.first for entry in one.log("same")[1:]] == every
    # Nobody has dropped the job that one of the two knew, and what that one did not decide is caught up by it.
    assert [entry.first for entry in one.log("leaves")[1:]] == [minute(n) for n in range(1, 5)]
    assert [entry.first for entry in one.log("comes") if entry.decision == "queued"] == every
    decided = [entry.first for entry in one.log("edited") if entry.decision == "queued"]
    assert len(decided) == len(set(decided))
    assert set(decided) >= {minute(2), minute(4), minute(6), minute(8)}
    assert set(decided) <= set(every)


def test_a_clock_that_steps_back_decides_nothing_until_it_passes_the_cursors(make_leader):
    made = seen(make_leader)
    made.minutes(1, 60)
    decided = len(made.log())
    for number in (10, 30, 59.5):
        made.decide(minute(number))
        assert len(made.log()) == decided
        assert made.decider.ahead_seconds == (60 - number) * 60
    made.decide(minute(61))
    assert made.decider.ahead_seconds == 0
    assert made.log()[-1].first == minute(61)


def test_a_new_leader_whose_clock_is_behind_says_so_for_as_long_as_it_lasts(make_leader):
    made = seen(make_leader)
    made.minutes(1, 60)
    late = make_leader(job(), holder="late")
    late.lead(2)
    for number in (10, 30):
        late.decide(minute(number))
        assert late.decider.ahead_seconds == (60 - number) * 60
    late.decide(minute(61))
    assert (late.decider.ahead_seconds, late.log()[-1].first) == (0, minute(61))


def test_two_leaders_on_purpose_make_single_runs(make_leader, worker):
    jobs = [
        job("plain"),
        job("alone", concurrency="forbid"),
        job("newest", concurrency="replace"),
        job("line", concurrency="queue", max_running=3),
        job("after", after=["plain"]),
        job("grouped", group="g:2"),
    ]
    leaders = [make_leader(*jobs, holder="one"), make_leader(*jobs, holder="other")]
    for number in range(31):
        for leader in leaders if number % 3 else reversed(leaders):
            leader.decide(minute(number))
            leader.decide(minute(number + 0.01))
        if number % 5 == 4:
            worker.work()
    for one in jobs:
        firsts = [e.first for e in leaders[0].log(one.id) if e.decision in {"queued", "held", "skipped"}]
        assert firsts == [minute(number) for number in range(1, 31)], one.id
    worker.work()
    pushed = [entry.run for entry in leaders[0].log("plain")[1:]]
    assert len(pushed) == len(set(pushed)) == 30


def test_two_leaders_that_race_in_threads_make_single_runs(make_leader, redis_client, shared_redis):
    jobs = [job(f"j{n}", "@every 1s") for n in range(5)] + [job("after", "@every 1s", after=["j0"])]
    clients = [redis.Redis.from_url(shared_redis.url, protocol=2) for _ in range(2)]
    leaders = [make_leader(*jobs, client=clients[n], holder=f"leader{n}") for n in range(2)]
    for leader in leaders:
        leader.decide(T0)
    barrier = threading.Barrier(2)
    errors = []

    def race(leader):
        try:
            for second in range(1, 61):
                barrier.wait(60)
                leader.decide(T0 + timedelta(seconds=second))
                leader.decide(T0 + timedelta(seconds=second + 0.3))
                leader.decide(T0 + timedelta(seconds=second + 0.6))
        except BaseException as error:
            errors.append(error)
            barrier.abort()
            raise

    threads = [threading.Thread(target=race, args=(leader,)) for leader in leaders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    for one in jobs:
        firsts = [entry.first for entry in leaders[0].log(one.id)[1:]]
        assert firsts == [T0 + timedelta(seconds=n) for n in range(1, 61)], one.id
    assert len({entry.by for one in jobs for entry in leaders[0].log(one.id)}) == 2, (
        "one of them decided nothing"
    )
    assert len(leaders[0].queued()) == 5 * 60
    for client in clients:
        client.close()


def test_an_answer_that_never_comes_is_an_unreachable_redis(make_leader, redis_client):
    made = seen(make_leader)
    plan = made.plan("job", minute(1))

    def sent_and_never_answered(*arguments):
        Store.call_packed(made.store, *arguments)
        raise redis.TimeoutError("no answer")

    made.store.call_packed = sent_and_never_answered
    with pytest.raises(RedisUnreachableError):
        made.send(*plan)
    del made.store.call_packed
    made.decider.forget()
    made.decide(minute(1))
    assert made.queued() == [made.run(1)]
    assert made.state_lost == 0


def test_an_answer_that_comes_too_late_is_never_taken_for_another(shared_redis, make_leader, redis_client):
    impatient = redis.Redis.from_url(
        shared_redis.url, protocol=2, socket_timeout=0.1, retry=Retry(NoBackoff(), 0)
    )
    made = seen(make_leader, client=impatient)
    plan = made.plan("job", minute(2))
    redis_client.client_pause(500, all=True)
    for _ in range(2):
        with pytest.raises(RedisUnreachableError):
            made.send(*plan, cursors={})
    eventually(lambda: _answers(impatient))
    made.decider.forget()
    made.decide(minute(3))
    assert [entry.first for entry in made.log()[1:]] == [minute(1), minute(2), minute(3)]
    assert made.queued() == [made.run(n) for n in (1, 2, 3)]
    impatient.close()


def _answers(client):
    try:
        return client.ping()
    except redis.TimeoutError:
        return False


def test_scripts_that_the_server_has_forgotten_are_sent_again(make_leader):
    made = seen(make_leader)
    made.decide(minute(1))
    made.client.script_flush()
    made.decide(minute(2))
    assert made.queued() == [made.run(1), made.run(2)]


def test_an_unreadable_cursor_is_replaced_and_the_job_starts_anew(make_leader):
    made = make_leader(job())
    made.client.hset(KEYS.cursors, "job", "what is this")
    made.minutes(0, 1)
    assert made.words() == ["moved first seen", "queued"]


def test_a_reboot_job_runs_once_however_often_leaders_change(make_leader):
    made = make_leader(job("boot", "@reboot"), job("then", "@after", after=["boot"]))
    made.decide(T0)
    for epoch in (2, 3):
        other = make_leader(
            job("boot", "@reboot"), job("then", "@after", after=["boot"]), holder=f"leader{epoch}"
        )
        other.lead(epoch)
        other.decide(minute(epoch))
    assert made.words("boot") == ["queued"]
    assert made.words("then") == ["held"]


def test_a_boot_lasts_until_its_jobs_that_wait_for_a_predecessor_are_decided(make_leader):
    before = job("a", jitter=50)
    seen(make_leader, before)
    # The next boot, within the predecessor's jitter: its instant has come and is not due yet.
    made = make_leader(before, job("boot", "@reboot", after=["a"]), boot_token="second", holder="next")
    made.lead(2)
    due = minute(1) + made.catalog.entries["a"].delay
    made.decide(due - timedelta(seconds=1))
    assert made.words("boot") == []
    made.decide(due)
    assert made.words("boot") == ["held"]


def test_a_paused_job_is_skipped_also_where_its_decision_was_made_ahead(make_leader):
    made = seen(make_leader)
    made.decide(minute(1))
    made.clock.at = minute(2) - timedelta(seconds=5)
    made.turn()
    assert made.decider._pending.prepared._ready
    made.client.hset(KEYS.paused, "*", "0")
    made.decide(minute(2))
    assert made.words()[-1] == "skipped suspended"
    made.client.delete(KEYS.paused)
    made.decide(minute(3))
    assert made.words()[-1] == "queued"


def test_a_pause_with_an_end_is_over_then(make_leader, redis_client):
    made = seen(make_leader)
    milliseconds = int(redis_client.time()[0]) * 1000
    redis_client.hset(KEYS.paused, "job", str(milliseconds + 60_000))
    made.decide(minute(1))
    redis_client.hset(KEYS.paused, "job", str(milliseconds - 60_000))
    made.decide(minute(2))
    assert made.words()[1:] == ["skipped suspended", "queued"]


def test_the_lease_key_of_another_term_fences_too(make_leader):
    made = seen(make_leader)
    made.client.set(KEYS.lease, "somebody:1")
    made.term = replace(made.term, lease="leader:1")
    with pytest.raises(FencedError, match="lease's key in Redis is not its own"):
        made.decide(minute(1))
    made.client.set(KEYS.lease, "leader:1")
    made.decide(minute(1))
    assert made.queued() == [made.run(1)]
