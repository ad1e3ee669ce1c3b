"""The end of an attempt whose run Redis has lost: its outcome counts, nothing is left without an expiry, and once."""

import pytest
from tests.support.stepped import KEYS, SteppedLeader, SteppedWorker, job, minute


@pytest.fixture
def lost(redis_client):
    """A leader, a worker and its run, of which Redis has forgotten everything; the leader has decided anew since."""
    made = SteppedLeader(redis_client, job(retries=3))
    made.minutes(0, 1)
    worker = SteppedWorker(redis_client)
    run = worker.take()
    redis_client.flushall()
    again = SteppedLeader(redis_client, job(retries=3), epoch=2, holder="again")
    again.decide(minute(2))
    return again, worker, run


def counted(client):
    return {name.decode(): int(count) for name, count in client.hgetall(KEYS.ended).items()}


def test_a_success_counts_for_its_job(lost, redis_client):
    made, worker, run = lost
    assert worker.end(run) == "DONE"
    stats = redis_client.hgetall(KEYS.stats("job"))
    assert (stats[b"last_outcome"], b"last_success_at" in stats) == (b"success", True)
    assert counted(redis_client) == {"job|success": 1}
    assert made.words()[-1] == "forgotten success"
    assert not redis_client.exists(KEYS.run(run))


def test_an_end_that_is_sent_again_counts_once(lost, redis_client):
    _, worker, run = lost
    assert worker.end(run) == "DONE"
    assert worker.end(run) == "REPEATED"
    assert counted(redis_client) == {"job|success": 1}


@pytest.mark.parametrize("action", ["retry", "requeue"])
def test_what_would_be_attempted_again_is_over_because_there_is_nothing_left_to_attempt(
    lost, redis_client, action
):
    made, worker, run = lost
    assert worker.end(run, action) == "STOPPED"
    assert made.queued() == []
    assert redis_client.hget(KEYS.stats("job"), "failing") == run.encode()


def test_an_end_before_the_job_has_a_cursor_again_leaves_nothing_without_an_expiry(redis_client):
    made = SteppedLeader(redis_client, job())
    made.minutes(0, 1)
    worker = SteppedWorker(redis_client)
    run = worker.take()
    redis_client.flushall()
    assert worker.end(run) == "DONE"
    lasting = {key.decode() for key in redis_client.scan_iter() if redis_client.ttl(key) == -1}
    assert lasting <= {KEYS.ended, KEYS.removed, KEYS.changed}
    again = SteppedLeader(redis_client, epoch=2, holder="again")
    again.tidy()
    redis_client.hset(KEYS.removed, "job", 1)
    again.tidy()
    assert not redis_client.exists(KEYS.ended, KEYS.removed)


@pytest.mark.parametrize("swept", [True, False])
def test_the_end_of_a_run_that_somebody_has_deleted_is_late(redis_client, swept):
    made = SteppedLeader(redis_client, job())
    made.minutes(0, 1)
    worker = SteppedWorker(redis_client)
    run = worker.take()
    redis_client.delete(KEYS.run(run))
    if swept:
        made.tidy()
    assert worker.end(run) == "LATE"
    assert not redis_client.hexists(KEYS.stats("job"), "last_outcome")
