"""What is left in Redis of a job that has left the files: nothing that does not expire (spec: reliability.md §5, §9)."""

import pytest
from tests.support.stepped import KEYS, SteppedWorker, job, minute

from kuber_cron.common.observability.job_metrics import OTHER, JobMetrics
from kuber_cron.common.observability.process_metrics import make_registry
from kuber_cron.scheduler.maintenance.redis_observer import RedisObservation, RedisObserver, read
from kuber_cron.scheduler.metrics import SchedulerMetrics

GONE = "gone-job"
# Bounded, and a record of what operators did: it names jobs for as long as its thousand entries last.
JOURNALS = {KEYS.acts}


def lasting(client, word=GONE):
    """Every key without an expiry that names the job, or holds its name."""
    readers = {
        "hash": client.hgetall,
        "list": lambda key: client.lrange(key, 0, -1),
        "set": client.smembers,
        "zset": lambda key: client.zrange(key, 0, -1),
        "stream": client.xrange,
        "string": client.get,
    }
    found = {}
    for key in client.scan_iter():
        name = key.decode()
        if client.ttl(key) == -1 and name not in JOURNALS:
            held = readers[client.type(key).decode()](key)
            if word in name or word in str(held):
                found[name] = held
    return found


def remove(made, at, *others):
    """The files have been without the job for three minutes at that minute."""
    made.clock.at = minute(at)
    made.edit(*others, settled_seconds=180.0)
    made.decide(minute(at))


def forget(made):
    """Housekeeping has had the time that counts are kept for their last reading."""
    made.tidy(rounds=2)
    for name in made.client.hkeys(KEYS.removed):
        made.client.hset(KEYS.removed, name, 1)
    made.tidy(rounds=2)


def expire_runs(made):
    """The time for which ended runs are kept is over."""
    made.client.delete(*made.client.scan_iter(KEYS.run("*")))
    made.client.delete(*made.client.scan_iter(KEYS.results("*")))
    RedisObserver(made.store).observe(made.catalog.entries)
    made.housekeeper._leftovers._rounds = 0
    made.tidy(seconds_ahead=40 * 86400)


@pytest.mark.parametrize("action", ["finish", "fail"])
@pytest.mark.parametrize("on_remove", ["run", "cancel"])
def test_nothing_lasting_is_left_of_a_job_that_was_removed_while_it_ran(
    make_leader, worker, on_remove, action
):
    made = make_leader(job(GONE, on_remove=on_remove, concurrency="queue", group="disk"), job("stays"))
    made.minutes(0, 4)
    run = worker.take()
    made.client.hset(KEYS.paused, GONE, 0)
    made.minutes(5, 6)
    remove(made, 8, job("stays"))
    worker.end(run, action)
    worker.work()
    forget(made)
    listed = {f"rq:{name}:default" for name in ("finished", "failed", "canceled")}
    assert lasting(made.client).keys() <= {*listed, KEYS.changed}
    expire_runs(made)
    assert lasting(made.client) == {}


def test_a_removed_jobs_history_outlives_it_as_long_as_ended_runs_are_kept(make_leader, worker):
    made = make_leader(job(GONE))
    made.minutes(0, 1)
    run = worker.take()
    remove(made, 2)
    made.client.delete(KEYS.stats(GONE))  # it has expired before the run's end
    worker.end(run)
    for key in (KEYS.history(GONE), KEYS.sizes(GONE), KEYS.stats(GONE)):
        assert 0 < made.client.ttl(key) <= 2_592_000


def test_a_pause_ends_with_its_job(make_leader):
    made = make_leader(job(GONE))
    made.minutes(0, 1)
    made.client.hset(KEYS.paused, mapping={GONE: 0, "*": 0})
    remove(made, 2)
    made.client.hdel(KEYS.paused, "*")
    made.edit(job(GONE))
    made.minutes(9, 10)
    assert made.words(GONE)[-1] == "queued"


def test_a_pause_of_all_jobs_outlives_each_of_them(make_leader):
    made = make_leader(job(GONE))
    made.minutes(0, 1)
    made.client.hset(KEYS.paused, "*", 0)
    remove(made, 2)
    forget(made)
    assert made.client.hkeys(KEYS.paused) == [b"*"]


def test_counts_of_a_removed_job_stay_until_the_leader_has_read_its_last_end(make_leader, worker):
    made = make_leader(job(GONE))
    made.minutes(0, 1)
    run = worker.take()
    remove(made, 2)
    made.tidy(rounds=3)
    assert made.missed() == {f"{GONE}|removed": 1}
    worker.end(run)
    made.tidy(rounds=3)
    assert made.client.hgetall(KEYS.ended) == {f"{GONE}|success".encode(): b"1"}


def test_a_removed_job_with_an_open_run_is_not_forgotten(make_leader, worker):
    made = make_leader(job(GONE))
    made.minutes(0, 1)
    worker.take()
    remove(made, 2)
    forget(made)
    assert made.missed() == {f"{GONE}|removed": 1}
    assert made.client.hkeys(KEYS.removed) == [GONE.encode()]


def test_a_job_that_comes_back_keeps_its_counts_and_its_memory(make_leader, worker):
    made = make_leader(job(GONE))
    made.minutes(0, 1)
    worker.work()
    remove(made, 2)
    made.edit(job(GONE))
    made.minutes(9, 10)
    forget(made)
    assert made.client.hgetall(KEYS.ended) == {f"{GONE}|success".encode(): b"1"}
    assert {made.client.ttl(key) for key in (KEYS.log(GONE), KEYS.stats(GONE), KEYS.history(GONE))} == {-1}
    assert not made.client.exists(KEYS.removed)


def test_a_reboot_job_that_comes_back_keeps_its_memory(make_leader, worker):
    made = make_leader(job(GONE, "@reboot"))
    made.decide(minute(0))
    worker.work()
    remove(made, 2)
    again = make_leader(job(GONE, "@reboot"), boot_token="second", holder="again")
    again.lead(2)
    again.decide(minute(9))
    assert made.words(GONE)[-1] == "queued"
    assert made.client.ttl(KEYS.log(GONE)) == -1


def test_a_run_retried_after_its_job_was_forgotten_leaves_nothing(make_leader, worker):
    made = make_leader(job(GONE), job("stays"))
    made.minutes(0, 1)
    run = worker.take()
    worker.end(run, "fail")
    remove(made, 2, job("stays"))
    forget(made)
    made.store.call("retry_run", "ada@desk", "2026-03-01T00:00:00Z", "1772323200", run, 0, 0)
    worker.work()
    forget(made)
    expire_runs(made)
    assert lasting(made.client) == {}


def test_what_an_older_version_has_left_is_found(make_leader):
    made = make_leader(job("stays"))
    made.minutes(0, 1)
    client = made.client
    client.hset(KEYS.missed, mapping={f"{GONE}|overlap": 3, f"{GONE}|some-newer-word": 1, "stays|overlap": 1})
    client.hset(KEYS.ended, f"{GONE}|success", 2)
    client.hset(KEYS.lost, GONE, 1)
    client.hset(KEYS.paused, GONE, 0)
    client.rpush(KEYS.history(GONE), f"{GONE}-20260101T000000Z")
    client.hset(KEYS.sizes(GONE), "", 1)
    forget(made)
    assert lasting(client) == {}
    assert made.missed() == {"stays|overlap": 1}


def test_a_job_in_the_files_whose_cursor_is_gone_loses_nothing(make_leader):
    made = make_leader(job("stays"))
    made.minutes(0, 1)
    made.client.hset(KEYS.missed, "stays|overlap", 1)
    made.client.hset(KEYS.paused, "stays", 0)
    cursor = made.cursor("stays")
    made.client.hdel(KEYS.cursors, "stays")
    forget(made)
    assert made.missed() == {"stays|overlap": 1}
    assert made.client.hkeys(KEYS.paused) == [b"stays"]
    assert made.client.ttl(KEYS.log("stays")) == -1
    made.client.hset(KEYS.cursors, "stays", cursor)


def test_a_round_reads_a_bounded_part_of_what_there_is(make_leader, redis_client):
    made = make_leader(job("stays"))
    made.decide(minute(0))
    with redis_client.pipeline(transaction=False) as pipe:
        for number in range(20_000):
            pipe.hset(KEYS.missed, f"j{number}|overlap", 1)
            pipe.hset(KEYS.removed, f"j{number}", 1)
        pipe.execute()
    redis_client.config_resetstat()
    made.housekeeper.follow_files(made.term, made.catalog.entries)
    spent = {name: stat["calls"] for name, stat in redis_client.info("commandstats").items()}
    assert sum(spent.values()) < 40_000, spent
    for _ in range(40):
        made.housekeeper.follow_files(made.term, made.catalog.entries)
    assert not redis_client.exists(KEYS.missed, KEYS.removed)


def exported(registry, name, **labels):
    return registry.get_sample_value(name, labels)


def test_exported_counts_of_a_forgotten_job_do_not_go_back(make_leader, worker):
    made = make_leader(job("a"), job(GONE), job("c"))
    registry = make_registry()
    metrics = SchedulerMetrics(registry, JobMetrics(registry, max_jobs=1))

    def observe():
        seen = read(made.store, list(made.catalog.entries))
        metrics.update(epoch=1, observation=RedisObservation(epoch=1, missed=seen.missed, ended=seen.ended))

    made.minutes(0, 2)
    worker.work()
    observe()
    assert exported(registry, "cron_job_runs_total", job="a", outcome="success") == 2
    assert exported(registry, "cron_job_runs_total", job=OTHER, outcome="success") == 4
    remove(made, 2, job("c"))
    forget(made)
    observe()
    assert not any(name.startswith(b"a|") for name in made.client.hkeys(KEYS.ended))
    assert exported(registry, "cron_job_runs_total", job="a", outcome="success") == 2
    assert exported(registry, "cron_job_runs_total", job=OTHER, outcome="success") == 4
    made.minutes(3, 3)
    SteppedWorker(made.client, "second").work()
    observe()
    assert exported(registry, "cron_job_runs_total", job=OTHER, outcome="success") == 5
