"""What must not grow unseen: counted where it can be counted, and where it cannot, compared within one run.

No absolute times: a machine that is busy with other things slows both sides of a comparison. The figures themselves are in
docs/performance.md.
"""

import subprocess
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from tests.support.stepped import KEYS, SteppedLeader, job, minute
from tests.support.supervised import Supervised

from kuber_cron.common.clock import SystemClock
from kuber_cron.common.schedule import Schedule
from kuber_cron.scheduler.decisions.catalog import CatalogWatcher
from kuber_cron.scheduler.maintenance.redis_observer import RedisObserver

NOT_OURS = {"info", "config|resetstat", "evalsha", "ping", "client|setinfo"}


def commands(client):
    """How often each command was called since the last look, those within scripts included."""
    found = {
        name.removeprefix("cmdstat_"): told["calls"] for name, told in client.info("commandstats").items()
    }
    client.config_resetstat()
    return {name: calls for name, calls in found.items() if name not in NOT_OURS}


def ready(leader, number):
    """What is due at that minute has been made ready, as the loop does it in the seconds before."""
    leader.clock.at = minute(number) - timedelta(seconds=5)
    while leader.decider._prepare_or_wait(leader.catalog) == 0.0:
        pass
    leader.clock.at = minute(number)


def test_a_plain_decision_is_a_handful_of_commands(redis_client):
    leader = SteppedLeader(redis_client, *[job(f"job-{number}") for number in range(400)])
    leader.decide(minute(0))
    ready(leader, 1)
    commands(redis_client)
    leader.turn()
    spent = commands(redis_client)
    assert redis_client.llen("rq:queue:default") == 400
    for name, calls in spent.items():
        assert calls <= 400 + 50, (name, calls)
    assert sum(spent.values()) / 400 < 5.5, spent


def test_a_look_at_redis_costs_what_has_changed(redis_client):
    def cost(jobs):
        redis_client.flushdb()
        leader = SteppedLeader(redis_client, *[job(f"job-{number}", "0 0 1 1 *") for number in range(jobs)])
        leader.decide(minute(0))
        observer = RedisObserver(leader.store)
        observer.observe(leader.catalog.entries)
        redis_client.sadd(KEYS.changed, "job-1", "job-2")
        commands(redis_client)
        observer.observe(leader.catalog.entries)
        return sum(commands(redis_client).values())

    assert cost(1000) == cost(100)


def best(of, measure):
    return min(measure(number) for number in range(1, of + 1))


@pytest.mark.slow
def test_a_wake_up_costs_what_is_due_and_not_how_many_jobs_there_are(redis_client):
    def cost(jobs):
        redis_client.flushdb()
        others = [job(f"other-{number}", "0 0 1 1 *") for number in range(jobs)]
        leader = SteppedLeader(redis_client, *[job(f"job-{number}") for number in range(20)], *others)
        leader.decide(minute(0))

        def turn(number):
            ready(leader, number)
            began = time.thread_time()
            leader.turn()
            return time.thread_time() - began

        return best(10, turn)

    assert cost(5000) < 5 * cost(50)


@pytest.mark.slow
def test_many_decisions_at_one_instant_stay_near_the_floor(redis_client):
    """A third of the floor's speed and more on a quiet machine: here a tenth has to do."""
    jobs = 2000
    leader = SteppedLeader(redis_client, *[job(f"job-{number}") for number in range(jobs)])
    leader.decide(minute(0))

    def decided(number):
        ready(leader, number)
        began = time.perf_counter()
        leader.turn()
        took = time.perf_counter() - began
        assert redis_client.llen("rq:queue:default") == number * jobs
        return took

    ours = best(5, decided)
    run = redis_client.hgetall(KEYS.run(leader.run(1, "job-0")))

    def written(number):
        pipe = redis_client.pipeline(transaction=False)
        for each in range(jobs):
            pipe.hset(f"floor-{number}-{each}", mapping=run)
            pipe.rpush("floor", each)
        began = time.perf_counter()
        pipe.execute()
        return time.perf_counter() - began

    assert best(5, written) > 0.1 * ours


@pytest.mark.slow
def test_coming_runs_cost_less_than_croniters():
    """Nine to fifteen times less on a quiet machine, over a year of a zone with daylight saving time."""
    start = datetime(2026, 1, 1, tzinfo=UTC)

    def ours(_number):
        schedule, at = Schedule.parse("30 2 * * *", "Europe/Berlin"), start
        began = time.thread_time()
        for _ in range(365):
            at = schedule.next_after(at)
        return time.thread_time() - began

    def theirs(_number):
        runs = croniter("30 2 * * *", start.astimezone(ZoneInfo("Europe/Berlin")))
        began = time.thread_time()
        for _ in range(365):
            runs.get_next(datetime)
        return time.thread_time() - began

    assert best(3, ours) < 0.5 * best(3, theirs)


@pytest.mark.slow
def test_the_supervisor_keeps_up_with_a_bare_loop():
    """It is a third faster on a quiet machine, for it starts the next command while others still end."""
    commands, together = 200, 8

    def ours(_number):
        began = time.perf_counter()
        with Supervised() as running:
            for number in range(commands):
                if number >= together:
                    running.end()
                running.start("true")
            for _ in range(together):
                running.end()
        return time.perf_counter() - began

    def bare(_number):
        began = time.perf_counter()
        for _ in range(commands):
            subprocess.run(["/bin/sh", "-c", "true"], capture_output=True, check=True)
        return time.perf_counter() - began

    assert best(3, ours) < 3 * best(3, bare)


@pytest.mark.slow
def test_a_reload_costs_less_than_a_load(tmp_path):
    """A fifteenth on a quiet machine, with 100,000 jobs in a hundred files of which one has changed."""
    for file in range(20):
        lines = (f"# kuber-cron: name=j{file}-{n}\n{n % 60} 2 * * * true\n" for n in range(100))
        (tmp_path / f"{file:02}").write_text("".join(lines))

    def load(_number):
        watcher = CatalogWatcher([tmp_path], clock=SystemClock())
        began = time.thread_time()
        watcher.load()
        return time.thread_time() - began

    watcher = CatalogWatcher([tmp_path], clock=SystemClock())
    watcher.load()

    def reload(number):
        with (tmp_path / "00").open("a") as file:
            file.write(f"# kuber-cron: name=more-{number}\n@daily true\n")
        began = time.thread_time()
        watcher.load()
        return time.thread_time() - began

    assert best(5, reload) < 0.5 * best(3, load)
    assert len(watcher.current.entries) == 2005
