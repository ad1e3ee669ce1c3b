"""Who may know that a worker is gone, on real workers, whose ways and whose Redis fail one by one (docs/leadership.md)."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.faults.proxy import Proxies
from tests.support.cli_process import COMMAND, end, environment
from tests.support.housekeeper import housekeeping
from tests.support.waiting import eventually
from tests.support.workers import KEYS, ended, job, push, worker

from kuber_cron.worker.coordination import rq_codec

TTL = 4.0  # the shortest that the settings allow

# Marks when its attempt began, and each twentieth of a second that it still runs, on the machine's own clock.
COMMAND_THAT_MARKS = """
import os, time
mark = open(os.environ["PROOF"], "a", buffering=1)
until = time.monotonic() + float(os.environ["SECONDS"])
while time.monotonic() < until:
    mark.write(f"{os.environ['KUBER_CRON_ATTEMPT']} {time.monotonic()}\\n")
    time.sleep(0.05)
"""


class Marks:
    """What the commands of a test have written: for each attempt, when it was first and last seen running."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "proof"
        self.script = directory / "marks.py"
        self.script.write_text(COMMAND_THAT_MARKS)

    def command(self, seconds):
        return f"PROOF={self.path} SECONDS={seconds} exec python3 {self.script}"

    def spans(self):
        found = {}
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            attempt, at = line.split()
            first, _ = found.get(int(attempt), (float(at), 0.0))
            found[int(attempt)] = (first, float(at))
        return found

    def attempts(self):
        return sorted(self.spans())

    def overlap(self):
        """For how many seconds two attempts ran beside each other."""
        spans = self.spans()
        return max((spans[n][1] - spans[n + 1][0] for n in spans if n + 1 in spans), default=0.0)


@pytest.fixture
def marks(tmp_path):
    return Marks(tmp_path)


class Server(NamedTuple):
    url: str
    client: redis.Redis


@pytest.fixture
def server(redis_server, tmp_path):
    url = redis_server(tmp_path / "redis", listen="tcp").url
    with redis.Redis.from_url(url, protocol=2) as client:
        yield Server(url, client)


@pytest.fixture
def proxies():
    with Proxies() as made:
        yield made


@pytest.fixture
def processes(tmp_path, proxies):
    """Starts real workers on a URL. They end before the proxies that they may use."""
    started = []

    def start(url):
        settings = {
            "REDIS_URL": url, "INSECURE": "1", "METRICS_PORT": "0", "METRICS_HOST": "127.0.0.1",
            "LOG_DIR": str(tmp_path / "logs"), "LOG_LEVEL": "warning", "WORKER_OUTPUT": "off",
            "WORKER_TTL_SECONDS": str(TTL),
        }  # fmt: skip
        process = subprocess.Popen(
            [*COMMAND, "worker"],
            env=environment(**{f"KUBER_CRON_{name}": value for name, value in settings.items()}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.send_signal(signal.SIGCONT)
    end(started)


@pytest.fixture
def way(server, proxies):
    """A proxy of one process' own, and the URL by which it is used."""
    at = redis.connection.parse_url(server.url)
    proxy = proxies.proxy(at["port"])
    return proxy, server.url.replace(f":{at['port']}", f":{proxy.port}")


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["refuse", "hang", "lose_replies"])
def test_a_worker_whose_own_way_fails_ends_its_command_before_another_starts_it(
    server, way, processes, marks, fault
):
    client, (proxy, url) = server.client, way
    run = push(client, job("cut", marks.command(25), kill_grace=30))
    with housekeeping(server.url, ttl_seconds=TTL):
        processes(url)
        eventually(lambda: marks.attempts() == [1], 20)
        getattr(proxy, fault)()
        processes(server.url)
        eventually(lambda: marks.attempts() == [1, 2], 40)
        eventually(lambda: marks.spans()[2][1] - marks.spans()[2][0] > 2, 20)
        assert marks.overlap() < 0
        assert client.hget(KEYS.run(run), "lost") == b"1"
    proxy.heal()


@contextlib.contextmanager
def out_of_memory(client):
    client.config_set("maxmemory", 1)
    yield
    client.config_set("maxmemory", 0)


@contextlib.contextmanager
def snapshots_that_fail(client):
    client.config_set("stop-writes-on-bgsave-error", "yes")
    client.config_set("save", "3600 1000000")
    # The snapshot is written beside it, and cannot be given this name.
    snapshot = Path(client.config_get("dir")["dir"], client.config_get("dbfilename")["dbfilename"])
    snapshot.unlink(missing_ok=True)
    snapshot.mkdir()
    client.set("changed", 1)
    client.bgsave()
    eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", 20)
    yield
    client.config_set("stop-writes-on-bgsave-error", "no")


@contextlib.contextmanager
def a_script_that_never_ends(client):
    client.config_set("busy-reply-threshold", 100)
    # Sent once: redis-py would send the script again and again.
    once = {**client.connection_pool.connection_kwargs, "retry": Retry(NoBackoff(), 0), "socket_timeout": 120}
    with redis.Redis.from_pool(redis.ConnectionPool(**once)) as other:

        def busy():
            with contextlib.suppress(redis.RedisError):
                other.eval("while true do end", 0)

        thread = threading.Thread(target=busy)
        thread.start()
        yield
        client.script_kill()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("refusal", [out_of_memory, snapshots_that_fail, a_script_that_never_ends])
def test_a_command_goes_on_while_the_primary_takes_nobodys_writes(server, processes, marks, refusal):
    client = server.client
    run = push(client, job("patient", marks.command(3.5 * TTL), max_lost=0))
    with housekeeping(server.url, ttl_seconds=TTL):
        processes(server.url)
        eventually(lambda: marks.attempts() == [1], 20)
        with refusal(client):
            threading.Event().wait(2.5 * TTL)
        assert ended(client, run, 30).is_finished
    assert marks.attempts() == [1]


@pytest.mark.slow
def test_a_command_is_ended_while_writes_lack_replicas_because_another_primary_may_exist(
    server, processes, marks
):
    push(server.client, job("fenced", marks.command(60)))
    processes(server.url)
    eventually(lambda: marks.attempts() == [1], 20)
    server.client.config_set("min-replicas-to-write", 1)
    began = time.monotonic()
    eventually(lambda: time.monotonic() - marks.spans()[1][1] > 1, 20)
    assert marks.spans()[1][1] - began < TTL


@pytest.mark.slow
def test_everything_that_slept_goes_on_where_it_was(server, processes, marks):
    """As a laptop does. Command, worker and Redis are stopped together, for longer than the ttl."""
    run = push(server.client, job("patient", marks.command(4.0), max_lost=0))
    with housekeeping(server.url, ttl_seconds=TTL):
        process = processes(server.url)
        eventually(lambda: marks.attempts() == [1], 20)
        ours = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        redis_itself = psutil.Process(int(server.client.info("server")["process_id"]))
        for each in (*ours, redis_itself):
            each.suspend()
        threading.Event().wait(2 * TTL)
        for each in (redis_itself, *ours):
            each.resume()
        assert ended(server.client, run, 30).is_finished
    assert marks.attempts() == [1]
    assert server.client.hget(KEYS.run(run), "lost") in {None, b"0"}


@pytest.mark.slow
def test_a_flushall_leaves_a_command_running_that_nobody_could_be_given(server, processes, marks):
    push(server.client, job("kept", marks.command(3 * TTL)))
    processes(server.url)
    eventually(lambda: marks.attempts() == [1], 20)
    began = time.monotonic()
    server.client.flushall()
    eventually(lambda: time.monotonic() - marks.spans()[1][1] > 1, 40)
    assert marks.spans()[1][1] - began > 2 * TTL


@pytest.mark.slow
def test_a_command_whose_run_somebody_deleted_is_killed(server, processes, marks):
    run = push(server.client, job("deleted", marks.command(60)))
    processes(server.url)
    eventually(lambda: marks.attempts() == [1], 20)
    server.client.delete(KEYS.run(run))
    eventually(lambda: time.monotonic() - marks.spans()[1][1] > 1, 20)


# --- between the start script's answer and the process -------------------------------------------------------


@contextlib.contextmanager
def held_before_its_process(made):
    """The worker has its start script's answer, and goes on to the process only after the block."""
    go, start = threading.Event(), made._supervisor.start

    def held(launch):
        go.wait(60)
        return start(launch)

    made._supervisor.start = held
    try:
        yield
    finally:
        go.set()
        made._supervisor.start = start


def test_a_command_is_not_started_whose_run_was_given_to_another_meanwhile(redis_client, redis_url, tmp_path):
    proof = tmp_path / "proof"
    with worker(redis_url, tmp_path / "logs", ttl_seconds=TTL) as made:
        with held_before_its_process(made):
            run = push(redis_client, job("late", f"touch {proof}"))
            eventually(lambda: len(made._context.slots) == 1)
            redis_client.hset(KEYS.run(run), "execution", "another's")
            eventually(lambda: made._supervisor._gate._stops)  # the next heartbeat has been told
        eventually(lambda: len(made._context.slots) == 0)
    assert not proof.exists()
    assert redis_client.hget(KEYS.run(run), "execution") == b"another's"


def count_of(client, made):
    return int(client.get(KEYS.seen(made.name)).split()[0])


def test_a_heartbeat_that_does_not_name_an_attempt_is_no_proof_that_it_may_start(
    redis_client, redis_url, tmp_path, monkeypatch
):
    """As after a sleep right behind the start script's answer: the first heartbeat of after it is acknowledged."""
    proof, go, has_begun, read = (
        tmp_path / "proof",
        threading.Event(),
        threading.Event(),
        rq_codec.read_payload,
    )

    def held(*given):
        has_begun.set()
        go.wait(60)
        return read(*given)

    with worker(redis_url, tmp_path / "logs", ttl_seconds=TTL) as made:
        monkeypatch.setattr(rq_codec, "read_payload", held)
        run = push(redis_client, job("late", f"touch {proof}"))
        assert has_begun.wait(20)
        redis_client.hset(KEYS.run(run), "execution", "another's")
        count = count_of(redis_client, made)
        eventually(lambda: count_of(redis_client, made) >= count + 3)  # half the ttl has passed
        go.set()
        eventually(lambda: redis_client.hget(KEYS.counters, "late"))  # its end found another's run
        eventually(lambda: len(made._context.slots) == 0)
    assert not proof.exists()


def test_a_command_goes_on_whose_start_alone_redis_has_lost(redis_client, redis_url, tmp_path):
    """Redis went back to a time between the last heartbeat and the start: nobody can be given the run."""
    go, proof = tmp_path / "go", tmp_path / "proof"
    with worker(redis_url, tmp_path / "logs") as made:
        run = push(redis_client, job("kept", f"until [ -e {go} ]; do sleep 0.02; done; touch {proof}"))
        eventually(made.running)
        (attempt,) = made._context.slots.all()
        count = count_of(redis_client, made)
        assert count == attempt.start.count  # no heartbeat has been sent since
        with redis_client.pipeline() as pipe:
            pipe.set(KEYS.seen(made.name), f"{count - 1} 15000")
            pipe.delete(KEYS.run(run))
            pipe.execute()
        made._heartbeat.wake()
        eventually(lambda: made._heartbeat._forgotten)
        assert made.running()
        go.touch()
        eventually(lambda: len(made._context.slots) == 0)
    assert proof.exists()


def test_a_stop_that_comes_before_the_command_ends_its_run_without_it(redis_client, redis_url, tmp_path):
    proof = tmp_path / "proof"
    with worker(redis_url, tmp_path / "logs", ttl_seconds=TTL) as made:
        with held_before_its_process(made):
            run = push(redis_client, job("late", f"touch {proof}"))
            eventually(lambda: len(made._context.slots) == 1)
            (attempt,) = made._context.slots.all()
            made._supervisor.stop(attempt.execution_id, "stopped")
            eventually(lambda: made._supervisor._gate._stops)
        assert ended(redis_client, run).is_stopped
    assert not proof.exists()


@pytest.mark.slow
def test_a_command_is_not_started_by_a_worker_that_was_cut_off_meanwhile(redis_server, tmp_path):
    server, proof = redis_server(tmp_path / "redis"), tmp_path / "proof"
    with redis.Redis.from_url(server.url, protocol=2) as client:
        pid = int(client.info("server")["process_id"])
        with worker(server.url, tmp_path / "logs", ttl_seconds=TTL) as made:
            with held_before_its_process(made):
                run = push(client, job("late", f"echo $KUBER_CRON_ATTEMPT >> {proof}"))
                eventually(lambda: len(made._context.slots) == 1)
                os.kill(pid, signal.SIGSTOP)
                eventually(made._heartbeat.is_cut_off, 20)
            eventually(lambda: len(made._context.slots) == 1, 10)
            assert not proof.exists()
            os.kill(pid, signal.SIGCONT)
            assert ended(client, run, 20).is_finished
    assert proof.read_text() == "1\n"
