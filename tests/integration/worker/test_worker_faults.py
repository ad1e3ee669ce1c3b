"""Workers that are paused, cut off, killed or out of Redis: every run still ends where it should."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import psutil
import pytest
import redis
from rq.queue import Queue
from rq.registry import StartedJobRegistry, clean_registries
from rq.serializers import JSONSerializer
from tests.support.cli_process import COMMAND, end, environment
from tests.support.housekeeper import housekeeping
from tests.support.waiting import eventually
from tests.support.workers import KEYS, ended, job, push, status, worker

from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.worker.coordination.run_store import AttemptEnd, AttemptStart, NotStarted, RunStore

TTL = 4.0  # the shortest that the settings allow


def sample(made, name, **labels):
    return made.registry.get_sample_value(name, labels)


@pytest.fixture
def processes(tmp_path):
    """Starts real workers on a Redis; each in a session of its own."""
    started = []

    def start(url, *words):
        settings = {
            "REDIS_URL": url,
            "INSECURE": "1",
            "METRICS_PORT": "0",
            "METRICS_HOST": "127.0.0.1",
            "LOG_DIR": str(tmp_path / "logs"),
            "LOG_LEVEL": "warning",
            "WORKER_OUTPUT": "off",
            "WORKER_TTL_SECONDS": str(TTL),
        }
        process = subprocess.Popen(
            [*COMMAND, "worker", *words],
            env=environment(**{f"KUBER_CRON_{name}": value for name, value in settings.items()}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.send_signal(signal.SIGCONT)
    end(started)


def attempts(proof):
    """What the commands themselves have written: (attempt, word) pairs."""
    return [tuple(line.split()) for line in proof.read_text().splitlines()] if proof.exists() else []


def test_rqs_own_cleaning_with_a_clock_a_minute_ahead_reaps_no_live_attempt(
    redis_client, redis_url, tmp_path, monkeypatch
):
    runs = [push(redis_client, job(f"long{number}", "sleep 60", kill_grace=0.1)) for number in range(64)]
    with worker(redis_url, tmp_path, slots=64, grace_seconds=1.0) as made:
        eventually(lambda: len(made.running()) == 64, 20)
        ahead = time.time() + 60
        monkeypatch.setattr("rq.registry.current_timestamp", lambda: int(ahead))
        queue = Queue("default", connection=redis_client, serializer=JSONSerializer)
        for _ in range(5):
            clean_registries(queue)
            assert sorted(StartedJobRegistry(queue=queue).get_job_ids()) == sorted(runs)
        listing = subprocess.run(
            [sys.executable, "-m", "rq.cli", "info", "--url", redis_url, "--serializer", "json", "--raw"],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        assert made.name in listing.stdout
        assert len(made.running()) == 64
        assert all(status(redis_client, run) == "started" for run in runs)


@pytest.mark.slow
def test_a_worker_that_wakes_after_its_run_was_taken_kills_its_command_and_records_nothing(
    redis_client, redis_url, tmp_path, processes
):
    proof = tmp_path / "proof"
    command = f"echo $KUBER_CRON_ATTEMPT begins >> {proof}; sleep 8; echo $KUBER_CRON_ATTEMPT ends >> {proof}"
    run = push(redis_client, job("taken", command))
    sleeper = processes(redis_url)
    eventually(lambda: status(redis_client, run) == "started", 20)
    with housekeeping(redis_url, ttl_seconds=TTL) as tidied:
        sleeper.send_signal(signal.SIGSTOP)
        eventually(lambda: ("lost_again", run) in [(each.what, each.run) for each in tidied], 20)
        processes(redis_url)
        eventually(lambda: ("2", "begins") in attempts(proof), 20)
        sleeper.send_signal(signal.SIGCONT)
        assert ended(redis_client, run, 30).is_finished
    # The command of the first attempt was not stopped with its worker: who took the run has ended it, on one machine.
    assert ("2", "ends") in attempts(proof)
    assert [word for attempt, word in attempts(proof) if attempt == "2"] == ["begins", "ends"]
    assert redis_client.hmget(KEYS.run(run), "attempt", "lost", "outcome") == [b"2", b"1", b"success"]


@pytest.mark.slow
def test_sixteen_runs_of_a_killed_worker_are_attempted_again_soon_after_the_ttl(
    redis_client, redis_url, tmp_path, processes
):
    first = processes(redis_url, "--slots", "16")
    runs = [push(redis_client, job(f"long{number}", "sleep 60", kill_grace=0.1)) for number in range(16)]
    eventually(lambda: all(status(redis_client, run) == "started" for run in runs), 20)
    # The leader has been watching for longer than its own rest.
    with housekeeping(redis_url, ttl_seconds=TTL) as tidied:
        threading.Event().wait(TTL + 3)
        with worker(redis_url, tmp_path, slots=16, ttl_seconds=TTL, grace_seconds=1.0) as second:
            family = psutil.Process(first.pid).children(recursive=True)
            first.kill()
            killed = time.monotonic()
            eventually(lambda: len(second.running()) == 16, 20)
            took = time.monotonic() - killed
            assert sorted(each.run for each in tidied if each.what == "lost_again") == sorted(runs)
            # TTL + 2 s on a quiet machine (`benchmarks/takeover.py` shows the figure); a second wait would be TTL more.
            assert took < 2 * TTL, f"{took:.1f} s"
            recovered = [sample(second, "cron_job_recoveries_total", job=f"long{n}") for n in range(16)]
            assert recovered == [1.0] * 16
    # Who took the runs has ended their earlier attempts.
    assert psutil.wait_procs(family, timeout=60)[1] == []


@pytest.mark.slow
def test_a_job_that_is_not_ended_by_silence_runs_once_though_redis_was_away_for_longer_than_the_ttl(
    redis_server, tmp_path, processes
):
    seconds, directory, proof = 5 * TTL, tmp_path / "redis", tmp_path / "proof"
    server = redis_server(directory, appendfsync="always")
    url = server.url
    with redis.Redis.from_url(url, protocol=2) as client:
        # Half of them end while Redis is away: their outcomes arrive later.
        lengths = [seconds / 2] * 4 + [seconds + 8] * 4
        command = "echo $KUBER_CRON_RUN_ID >> {}; sleep {}"
        runs = [
            push(client, job(f"long{number}", command.format(proof, length), on_lost_heartbeat="continue"))
            for number, length in enumerate(lengths)
        ]
        processes(url, "--slots", "8")
        eventually(lambda: len(attempts(proof)) == 8, 20)
        with housekeeping(url, ttl_seconds=TTL):
            server.stop()
            threading.Event().wait(seconds)
            redis_server(directory, appendfsync="always")
            assert all(ended(client, run, 40).is_finished for run in runs)
    assert sorted(run for (run,) in attempts(proof)) == sorted(runs)


@pytest.mark.slow
def test_a_worker_that_is_cut_off_ends_its_command_before_another_may_start_it(redis_server, tmp_path):
    """Cut off, and not away: the server is paused by SIGSTOP, so that a connection hangs instead of being refused."""
    server = redis_server(tmp_path / "redis")
    with redis.Redis.from_url(server.url, protocol=2) as client:
        push(client, job("cut", "trap '' TERM; sleep 60", kill_grace=30))
        pid = int(client.info("server")["process_id"])
        with worker(server.url, tmp_path / "logs", ttl_seconds=TTL, grace_seconds=1.0) as made:
            eventually(made.running)
            os.kill(pid, signal.SIGSTOP)
            try:
                stopped = time.monotonic()
                eventually(lambda: not made.running(), 20)
                assert time.monotonic() - stopped <= TTL  # ttl - 2 s, whatever the grace; and slack
            finally:
                os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
def test_a_worker_whose_heartbeats_hang_starts_nothing_that_it_would_end_at_once(redis_server, tmp_path):
    """Claims may work again before a heartbeat that hangs is given up: start after start was wasted so."""
    server = redis_server(tmp_path / "redis")
    with (
        redis.Redis.from_url(server.url, protocol=2) as client,
        worker(server.url, tmp_path / "logs", ttl_seconds=TTL, grace_seconds=1.0) as made,
    ):
        heart = made._heartbeat_store._store
        hangs = threading.Event()
        call = heart.call

        def beat(*arguments):
            if hangs.is_set():
                raise redis.TimeoutError("it hangs")
            return call(*arguments)

        heart.call = beat
        hangs.set()
        eventually(made._heartbeat.is_cut_off, 10)
        run = push(client, job("patient", "true", max_lost=0))
        threading.Event().wait(1.5)
        assert status(client, run) == "queued"
        hangs.clear()
        assert ended(client, run).is_finished
        assert client.hget(KEYS.run(run), "attempt") == b"1"
        del heart.call  # or the store would keep itself alive, and its connection open


@pytest.fixture
def ledger(redis_client):
    made = RunStore(Store(redis_client, KEYS), worker="w", ttl_seconds=15)
    made.register(datetime.now(UTC))
    return made


def now():
    return datetime.now(UTC)


def test_a_claim_whose_reply_is_lost_stays_in_the_claim_list_and_can_be_started(redis_client, ledger):
    run = push(redis_client, job())
    ledger.claim(["default"], 1)  # and nobody heard the answer
    assert ledger.claimed_runs() == [run]
    assert isinstance(ledger.start(run, "e1", now()), AttemptStart)


def test_a_start_sent_twice_is_one_attempt_and_gives_the_first_answer_again(redis_client, ledger):
    run = push(redis_client, job())
    ledger.claim(["default"], 1)
    first = ledger.start(run, "e1", now())
    assert ledger.start(run, "e1", now()) == first
    assert redis_client.hget(KEYS.run(run), "attempt") == b"1"
    assert isinstance(ledger.start(run, "e2", now()), NotStarted)


def test_an_end_sent_twice_is_one_end(redis_client, ledger):
    run = push(redis_client, job())
    ledger.claim(["default"], 1)
    ledger.start(run, "e1", now())
    ending = AttemptEnd(
        action="finish", outcome="success", ended_at=now(), duration_seconds=0.1, result=["type", "1"]
    )
    words = [ledger.end(run, "e1", ending) for _ in range(3)]
    assert words == ["DONE", "REPEATED", "REPEATED"]
    assert redis_client.xlen(f"rq:results:{run}") == 1
    assert redis_client.lrange(KEYS.history("job"), 0, -1) == [run.encode()]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_runs_that_arrive_within_20_ms_of_a_sigterm_are_executed_once(
    redis_client, redis_url, tmp_path, processes
):
    proof, rng, runs = tmp_path / "proof", random.Random(5), []
    redis_client.config_set("save", "")
    for batch in range(6):
        queues = [f"q{batch}-{number}" for number in range(10)]
        made = [processes(redis_url, "--queues", queue) for queue in queues]
        eventually(
            lambda queues=queues: all(redis_client.scard(f"rq:workers:{queue}") for queue in queues), 60
        )
        for queue, process in zip(queues, made, strict=True):
            definition = job("once", f"echo $KUBER_CRON_RUN_ID >> {proof}", queue=queue)
            offset = rng.uniform(-0.02, 0.02)
            if offset < 0:
                process.send_signal(signal.SIGTERM)
                threading.Event().wait(-offset)
                runs.append(push(redis_client, definition))
            else:
                runs.append(push(redis_client, definition))
                threading.Event().wait(offset)
                process.send_signal(signal.SIGTERM)
        assert [process.wait(60) for process in made] == [0] * 10
        with worker(redis_url, tmp_path / "logs", queues=queues):
            assert all(ended(redis_client, run).is_finished for run in runs[-10:])
    assert sorted(run for (run,) in attempts(proof)) == sorted(runs)
    assert len(runs) == 60


def test_an_outcome_that_redis_refuses_holds_up_no_other(redis_client, redis_url, tmp_path):
    go = tmp_path / "go"
    stuck = push(redis_client, job("stuck", f"until [ -e {go} ]; do sleep 0.05; done"))
    with worker(redis_url, tmp_path / "logs") as made:
        eventually(made.running)
        redis_client.set(f"rq:results:{stuck}", "no stream")
        go.touch()
        eventually(lambda: not made.running())
        assert ended(redis_client, push(redis_client, job("other"))).is_finished
        assert status(redis_client, stuck) == "started"
        redis_client.delete(f"rq:results:{stuck}")
        assert ended(redis_client, stuck).is_finished


def test_a_worker_outlives_a_redis_that_is_out_of_memory_and_loses_no_outcome(redis_server, tmp_path):
    server = redis_server(tmp_path / "redis")
    with redis.Redis.from_url(server.url, protocol=2) as client:
        go = tmp_path / "go"
        run = push(client, job("patient", f"until [ -e {go} ]; do sleep 0.05; done"))
        with worker(server.url, tmp_path / "logs") as made:
            eventually(made.running)
            waiting = push(client, job("next"), queue="elsewhere")
            client.config_set("maxmemory", 1)
            go.touch()
            # The end script frees before it writes, and Redis lets a script that has written go on.
            assert ended(client, run).is_finished
            eventually(lambda: not made.running())
            client.config_set("maxmemory", 0)
            client.rpush(KEYS.queue("default"), waiting)
            assert ended(client, waiting).is_finished


@pytest.mark.slow
def test_a_worker_ends_in_time_though_redis_hangs(redis_server, processes):
    server = redis_server()
    with redis.Redis.from_url(server.url, protocol=2) as client:
        worker = processes(server.url, "--grace", "6")
        run = push(client, job("long", "sleep 60", kill_grace=1))
        eventually(lambda: status(client, run) == "started", 20)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0
            # Kubernetes kills five seconds after the grace.
            assert time.monotonic() - began < 6 + 4.5
        finally:
            os.kill(server.pid, signal.SIGCONT)


@pytest.mark.slow
def test_an_outage_is_a_line_at_its_begin_and_not_several_a_second(redis_server, processes):
    server = redis_server()
    with redis.Redis.from_url(server.url, protocol=2) as client:
        worker = processes(server.url, "--grace", "1")
        run = push(client, job("long", "true"))
        eventually(lambda: status(client, run) == "finished", 20)
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(8)
    worker.send_signal(signal.SIGTERM)
    _, said = worker.communicate(timeout=60)
    away = [line for line in said.splitlines() if "failed" in line or "not acknowledged" in line]
    assert 1 <= len(away) <= 3, away
