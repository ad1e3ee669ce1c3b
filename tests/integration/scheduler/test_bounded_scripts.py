"""Each script is bounded in what it does in one call, whatever Redis holds: what is left over is a further call's.

Measured in commands that Redis executes within a call, not in time. Read with tests/unit/common/redis_store: a command that
reads a whole key would count as one.
"""

import time

import pytest
from tests.support.batches import batched
from tests.support.operators import Asker, Operator, verdicts
from tests.support.stepped import KEYS, T0, SteppedLeader, SteppedWorker, job, minute

from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.scheduler.maintenance.housekeeping import Housekeeper

MOST_COMMANDS = 12_000  # in one call: 15 to 30 ms of an ordinary machine
NOT_OURS = ("info", "config|resetstat", "evalsha", "ping", "client|setinfo", "script|load")


@pytest.fixture(params=[2_000, pytest.param(100_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def many(request):
    """How many there are of whatever there are many of. A script without a bound exceeds ours with the smaller number."""
    return request.param


@pytest.fixture
def spent(monkeypatch, redis_client):
    """By script, the most commands that one call of it has taken."""
    most = {}

    def counted(method):
        def call(self, script, *args):
            redis_client.config_resetstat()
            try:
                return method(self, script, *args)
            finally:
                stats = redis_client.info("commandstats")
                count = sum(
                    told["calls"]
                    for name, told in stats.items()
                    if name.removeprefix("cmdstat_") not in NOT_OURS
                )
                most[script] = max(count, most.get(script, 0))

        return call

    monkeypatch.setattr(Store, "call", counted(Store.call))
    monkeypatch.setattr(Store, "call_packed", counted(Store.call_packed))
    yield most
    assert most
    assert {script: count for script, count in most.items() if count > MOST_COMMANDS} == {}


def bulk(client, count, name="bulk", *, status="queued", first=0, **fields):
    """So many open runs of one job, in its queue where they are queued; their ids, the oldest first."""
    start = int(T0.timestamp()) - 200_000
    runs = [
        f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(start + n))}"
        for n in range(first, first + count)
    ]
    for part in batched(enumerate(runs, first), 5000):
        with client.pipeline(transaction=False) as pipe:
            for n, run in part:
                known = {
                    "status": status,
                    "origin": "default",
                    "job": name,
                    "at": start + n,
                    "order": n / 1e6,
                }
                pipe.hset(KEYS.run(run), mapping={**known, "data": "x", "created_at": "x", **fields})
                pipe.hset(KEYS.open_runs, run, fields.get("group", ""))
                pipe.zadd(KEYS.active(name), {run: start + n})
                if status == "queued":
                    pipe.rpush(KEYS.queue("default"), run)
                elif status == "deferred":
                    pipe.zadd(KEYS.held, {run: n / 1e6})
            pipe.execute()
    client.sadd(KEYS.queues, KEYS.queue("default"))
    return runs


def is_over(client, runs):
    """True where each of these runs has ended; of most the record has fallen out of the history since."""
    ends = {client.hget(KEYS.run(run), "status") for run in (*runs[:300], *runs[-300:])}
    return ends <= {b"canceled", None}


def go_on(step, done, most=20_000):
    """Repeat until it is done."""
    for _ in range(most):
        if done():
            return
        step()
    raise AssertionError("never done")


def test_a_removal_cancels_very_many_runs_in_parts_and_the_next_leader_goes_on(redis_client, spent, many):
    made = SteppedLeader(redis_client, job("bulk", on_remove="cancel"))
    made.decide(T0)
    runs = bulk(redis_client, many, on_remove="cancel")
    made.edit(settled_seconds=180.0)
    made.decide(minute(1))
    assert made.words("bulk")[-1] == "dropped removed"
    assert 0 < redis_client.hlen(KEYS.open_runs) < many
    heir = SteppedLeader(redis_client, holder="heir")
    heir.lead(2)
    go_on(heir.tidy, lambda: not redis_client.exists(KEYS.open_runs), 200)
    assert is_over(redis_client, runs)
    assert not redis_client.exists(KEYS.queue("default"), KEYS.active("bulk"))


def test_a_removal_leaves_very_many_runs_that_it_does_not_cancel(redis_client, spent, many):
    made = SteppedLeader(redis_client, job("bulk"))
    made.decide(T0)
    bulk(redis_client, many, on_remove="run")
    made.edit(settled_seconds=180.0)
    made.decide(minute(0.5))
    made.tidy(rounds=10)
    assert redis_client.hlen(KEYS.open_runs) == many


def test_a_run_replaces_very_many_in_parts_and_the_next_leader_goes_on(redis_client, spent, many):
    made = SteppedLeader(
        redis_client, job("bulk", concurrency="replace"), job("other", concurrency="replace")
    )
    made.decide(T0)
    runs = bulk(redis_client, many, concurrency="replace")
    made.clock.at = minute(1)
    made.turn()
    assert 0 < redis_client.hlen(KEYS.open_runs) < many + 2
    assert made.status(1, "bulk") == ""
    assert made.status(1, "other") == "queued", "one job's many keep another waiting"
    heir = SteppedLeader(redis_client, *(entry.job for entry in made.catalog.entries.values()), holder="heir")
    heir.lead(2)
    heir.clock.at = minute(1)
    go_on(heir.turn, lambda: heir.status(1, "bulk") == "queued")
    assert is_over(redis_client, runs)
    assert {run.decode() for run in redis_client.hkeys(KEYS.open_runs)} == {
        heir.run(1, "other"),
        heir.run(1, "bulk"),
    }


@pytest.mark.parametrize(("policy", "word"), [("forbid", "skipped overlap"), ("queue", "skipped overlap")])
def test_overlap_with_very_many_runs(redis_client, spent, many, policy, word):
    made = SteppedLeader(redis_client, job("bulk", concurrency=policy, max_running=many - 1))
    made.decide(T0)
    bulk(redis_client, many)
    made.decide(minute(1))
    assert made.words("bulk")[-1] == word
    made.edit(job("bulk", concurrency="queue", max_running=many))
    made.decide(minute(2))
    assert made.words("bulk")[-1] == "held"


@pytest.mark.parametrize("policy", ["forbid", "queue", "replace"])
def test_overlap_with_very_many_deleted_runs_is_decided_once_they_are_swept(
    redis_client, spent, many, policy
):
    made = SteppedLeader(redis_client, job("bulk", concurrency=policy))
    made.decide(T0)
    for part in batched(bulk(redis_client, many), 5000):
        redis_client.delete(*(KEYS.run(run) for run in part))
    redis_client.delete(KEYS.queue("default"))
    made.clock.at = minute(1)
    made.turn()
    assert made.words("bulk") == ["moved first seen"]
    go_on(made.tidy, lambda: not redis_client.exists(KEYS.open_runs), 200)
    made.clock.at = minute(1.1)
    go_on(made.turn, lambda: made.status(1, "bulk") == "queued", 50)


@pytest.mark.parametrize("action", ["finish", "fail"])
def test_very_many_runs_that_wait_for_one_go_on_in_parts(redis_client, spent, many, action):
    made = SteppedLeader(redis_client, job("first"))
    made.minutes(0, 1)
    worker = SteppedWorker(redis_client)
    run = worker.take()
    waiting = bulk(redis_client, many, status="deferred")
    with redis_client.pipeline(transaction=False) as pipe:
        for each in waiting:
            pipe.hset(KEYS.gates(each), run, "after")
            pipe.sadd(KEYS.gated(run), each)
        pipe.execute()
    worker.end(run, action)
    assert 0 < redis_client.zcard(KEYS.held) < many
    go_on(made.tidy, lambda: not redis_client.exists(KEYS.held), 500)
    assert redis_client.llen(KEYS.queue("default")) == (many if action == "finish" else 0)
    assert redis_client.hlen(KEYS.open_runs) == redis_client.llen(KEYS.queue("default"))


def test_a_line_of_very_many_runs_moves_by_one_at_each_end(redis_client, spent, many):
    made = SteppedLeader(redis_client, job("bulk", concurrency="queue", max_running=many))
    made.decide(T0)
    worker = SteppedWorker(redis_client)
    (head,) = bulk(redis_client, 1, concurrency="queue")
    line = bulk(redis_client, many, status="deferred", first=1, concurrency="queue")
    with redis_client.pipeline(transaction=False) as pipe:
        for n, (ahead, run) in enumerate(zip([head, *line], line, strict=False), 1):
            pipe.hset(KEYS.gates(run), ahead, "line")
            pipe.sadd(KEYS.gated(ahead), run)
            pipe.zadd(KEYS.line("bulk"), {run: n / 1e6})
        pipe.execute()
    for expected in (head, *line[:3]):
        assert made.queued() == [expected]
        assert worker.take() == expected
        worker.end(expected)
    # Out of its turn: whoever waited for it waits for the one before.
    Operator(made.store).stop(line[10])
    assert made.queued() == [line[3]]
    made.tidy(rounds=2)
    assert redis_client.hkeys(KEYS.gates(line[11])) == [line[9].encode()]


def test_a_group_with_very_many_members_and_waiting_runs(redis_client, spent, many):
    made = SteppedLeader(redis_client, job("bulk", group=f"disk:{many}"))
    made.decide(T0)
    bulk(redis_client, many, group="disk", status="deferred")
    with redis_client.pipeline(transaction=False) as pipe:
        for run, order in redis_client.zrange(KEYS.held, 0, -1, withscores=True):
            pipe.zadd(KEYS.waiting("disk"), {run: order})
            pipe.sadd(KEYS.group("disk"), b"gone-" + run)
        pipe.execute()
    made.tidy(rounds=3)
    assert redis_client.llen(KEYS.queue("default")) > 100


def test_very_many_due_retries(redis_client, spent, many):
    made = SteppedLeader(redis_client, job("bulk"))
    made.decide(T0)
    for part in batched(bulk(redis_client, many, status="scheduled"), 5000):
        redis_client.zadd(KEYS.registry("scheduled", "default"), dict.fromkeys(part, 1))
    made.tidy()
    assert 0 < redis_client.llen(KEYS.queue("default")) <= many


def test_very_many_dead_workers(redis_client, spent, many):
    made = SteppedLeader(redis_client, job("bulk"))
    made.decide(T0)
    for part in batched([KEYS.worker(f"gone-{n}") for n in range(many)], 5000):
        redis_client.sadd(KEYS.workers, *part)
        redis_client.sadd(KEYS.queue_workers("default"), *part)
    go_on(
        made.tidy,
        lambda: not redis_client.exists(KEYS.workers, KEYS.queue_workers("default")),
        5 * many // 500 + 50,
    )


def test_operators_acts_among_very_many_of_everything(redis_client, spent, many):
    made = SteppedLeader(redis_client, job("bulk", concurrency="queue", max_running=many), job("other"))
    made.minutes(0, 1)
    worker = SteppedWorker(redis_client)
    ended = worker.take()
    worker.end(ended, "fail")
    bulk(redis_client, many, name=ended.partition("-")[0])
    redis_client.hset(KEYS.run(ended), "concurrency", "queue")
    for part in batched(range(many), 5000):
        redis_client.sadd(KEYS.claimers, *(f"gone-{n}" for n in part))
        redis_client.hset(KEYS.paused, mapping={f"gone-{n}": 1 for n in part})
    operator = Operator(made.store)
    operator.pause("bulk", None)
    operator.resume("bulk")
    assert operator.retry(ended).word == "HELD"
    assert operator.stop(ended).word == "STOPPED"
    made.tidy()


@pytest.mark.parametrize("policy", ["forbid", "queue", "replace"])
def test_a_trigger_and_a_backfill_of_a_job_with_very_many_runs(redis_client, spent, many, policy):
    made = SteppedLeader(redis_client, job("bulk", concurrency=policy, max_running=many + 5))
    made.decide(T0)
    runs = bulk(redis_client, many, concurrency=policy)
    asker = Asker(made)
    backfilled = asker.backfill(minute(-60 * 24 * 40), minute(-60 * 24 * 40 + 100), job="bulk")
    assert verdicts(backfilled) == ["held"] * 100
    word = {"forbid": "refused overlap", "queue": "held", "replace": "queued"}[policy]
    triggered = asker.trigger(job="bulk")
    if policy == "queue":
        assert verdicts(triggered) == ["refused overlap"]  # those of the backfill wait, too
    else:
        assert verdicts(triggered) == [word]
    if policy == "replace":
        assert is_over(redis_client, runs)


def test_a_history_of_very_many_runs_is_trimmed_in_parts(redis_client, spent, many):
    made = SteppedLeader(redis_client, job("bulk"))
    made.minutes(0, 2)
    for part in batched([f"bulk-20200101T000000Z-m{n:08x}" for n in range(many)], 5000):
        redis_client.rpush(KEYS.history("bulk"), *part)
        redis_client.hset(KEYS.sizes("bulk"), mapping={**dict.fromkeys(part, 1), "": many})
    Housekeeper(made.store, made.clock, 1.0)
    SteppedWorker(redis_client).work()
    assert redis_client.llen(KEYS.history("bulk")) < many


def test_very_many_job_summaries_to_forget(redis_client, spent, many):
    from kuber_cron.scheduler.status.job_summaries import JobSummaries

    made = SteppedLeader(redis_client, job("stays"))
    made.decide(T0)
    for part in batched(range(many), 5000):
        redis_client.hset(KEYS.job_summaries, mapping={f"gone-{n}": "{}" for n in part})
    summaries = JobSummaries(made.store)
    go_on(
        lambda: summaries.publish_some(made.term, made.catalog),
        lambda: redis_client.hlen(KEYS.job_summaries) == 1,
        200,
    )
