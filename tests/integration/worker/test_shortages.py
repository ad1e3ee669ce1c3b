"""Workers that lack descriptors, processes, a directory of log files or a user: the run is for another, or for later."""

import errno
import json
import pwd
import resource
import subprocess
import threading
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import psutil
import pytest
from tests.support.cli_process import COMMAND, end, environment, kuber_cron
from tests.support.waiting import eventually
from tests.support.workers import KEYS, ended, job, push, status, worker

from kuber_cron.worker.execution import leftover_processes

TTL = 4.0  # the shortest that the settings allow
# No root, whom no limit of processes binds and who becomes any user, but with a right to every file of this test.
NOBODY = [
    "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
    "--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override", "--bounding-set=-all,+dac_override",
]  # fmt: skip


@pytest.fixture
def processes(tmp_path, redis_url):
    """Starts real workers; each returns with its name in RQ once it has registered."""
    started = []

    def start(redis_client, *, as_nobody=False, log_dir=None, **extra):
        known = redis_client.smembers(KEYS.workers)
        settings = {
            "REDIS_URL": redis_url,
            "INSECURE": "1",
            "METRICS_PORT": "0",
            "METRICS_HOST": "127.0.0.1",
            "LOG_DIR": str(log_dir or tmp_path / "logs"),
            "LOG_LEVEL": "info",
            "WORKER_OUTPUT": "off",
            "WORKER_TTL_SECONDS": str(TTL),
            "WORKER_SLOTS": "4",
            **extra,
        }
        process = subprocess.Popen(
            [*(NOBODY if as_nobody else []), *COMMAND, "worker"],
            env=environment(**{f"KUBER_CRON_{name}": value for name, value in settings.items()}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
        )
        started.append(process)
        process.lines = []
        threading.Thread(target=lambda: process.lines.extend(process.stderr), daemon=True).start()
        new = eventually(lambda: redis_client.smembers(KEYS.workers) - known, 20)
        process.name = KEYS.worker_name(new.pop())
        # Its connections are open then, all that it holds while it does nothing.
        warm = push(redis_client, job("warm", "true"))
        ended(redis_client, warm, 20)
        return process

    yield start
    end(started)


def without_descriptors(process):
    """Leave the worker as many descriptors as it has open now, and a few for its connections."""
    held = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (held + 3, 4096))


def with_descriptors(process):
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (4096, 4096))


def without_processes(process):
    """Let the worker's user have not one more process."""
    subprocess.run([*NOBODY, "prlimit", "--pid", str(process.pid), "--nproc=1:4096"], check=True)


def field(client, run, name):
    return (client.hget(KEYS.run(run), name) or b"").decode()


def problem(client, process):
    return (client.hget(KEYS.worker(process.name), "problem") or b"").decode()


@pytest.mark.slow
def test_a_worker_without_descriptors_costs_no_run_beside_a_healthy_one(
    redis_client, redis_url, tmp_path, processes
):
    poor = processes(redis_client)
    without_descriptors(poor)
    runs = [push(redis_client, job(f"job{number}", "true", retries=0, max_lost=0)) for number in range(40)]
    eventually(lambda: problem(redis_client, poor))
    with worker(redis_url, tmp_path):
        assert all(ended(redis_client, run, 30).is_finished for run in runs)
    assert {field(redis_client, run, "attempt") for run in runs} == {"1"}


@pytest.mark.slow
def test_a_worker_without_descriptors_keeps_the_queue_in_its_order_until_it_has_some(redis_client, processes):
    poor = processes(redis_client)
    without_descriptors(poor)
    runs = [push(redis_client, job(f"job{number}", "true", retries=0)) for number in range(8)]
    eventually(lambda: problem(redis_client, poor))
    queue = KEYS.queue("default")
    # Nothing is spent, and nothing has lost its place.
    eventually(lambda: redis_client.lrange(queue, 0, -1) == [run.encode() for run in runs])
    assert {field(redis_client, run, "attempt") for run in runs} <= {"", "0"}
    with_descriptors(poor)
    assert all(ended(redis_client, run, 30).is_finished for run in runs)
    eventually(lambda: not problem(redis_client, poor))
    assert {field(redis_client, run, "attempt") for run in runs} == {"1"}


@pytest.mark.slow
def test_a_worker_in_want_neither_spins_nor_passes_a_run_to_and_fro(redis_client, processes):
    poor = processes(redis_client)
    without_descriptors(poor)
    run = push(redis_client, job("job", "true", retries=0))
    eventually(lambda: problem(redis_client, poor))
    process = psutil.Process(poor.pid)
    before = sum(process.cpu_times()[:2])
    claims = []
    stop = threading.Event()
    watch = threading.Thread(
        target=lambda: [claims.append(status(redis_client, run)) for _ in iter(lambda: stop.wait(0.02), True)]
    )
    watch.start()
    stop.wait(8.0)
    stop.set()
    watch.join()
    assert sum(process.cpu_times()[:2]) - before < 1.0
    # Once its probe fails it does not even take the run again.
    assert set(claims) == {"queued"}
    begun = [line for line in poor.lines if "claiming pauses" in line]
    assert 2 <= len(begun) <= 5, begun


@pytest.mark.slow
def test_a_worker_that_may_start_no_process_leaves_runs_to_others(
    redis_client, redis_url, tmp_path, processes
):
    poor = processes(redis_client, as_nobody=True)
    without_processes(poor)
    runs = [push(redis_client, job(f"job{number}", "true", retries=0)) for number in range(10)]
    eventually(lambda: "processes" in problem(redis_client, poor))
    with worker(redis_url, tmp_path):
        assert all(ended(redis_client, run, 30).is_finished for run in runs)


@pytest.mark.slow
def test_a_worker_that_can_write_no_log_file_leaves_runs_to_one_that_can(
    redis_client, redis_url, tmp_path, processes
):
    with worker(redis_url, tmp_path / "good", slots=1):
        processes(redis_client, log_dir=no_directory(tmp_path))
        busy = push(redis_client, job("busy", "sleep 2"))
        eventually(lambda: status(redis_client, busy) == "started")
        runs = [push(redis_client, job(f"job{number}", "true", retries=0)) for number in range(5)]
        results = [ended(redis_client, run, 30).return_value() for run in runs]
        assert all(value["log"] for value in results), results


@pytest.mark.slow
def test_a_worker_alone_that_can_write_no_log_file_executes_without(redis_client, tmp_path, processes):
    processes(redis_client, log_dir=no_directory(tmp_path))
    run = push(redis_client, job("job", "echo done", retries=0))
    assert ended(redis_client, run, 30).return_value()["head"] == "done\n"


@pytest.mark.slow
def test_a_user_that_one_worker_may_not_become_is_for_another_worker(
    redis_client, redis_url, tmp_path, processes
):
    processes(redis_client, as_nobody=True, USER="require")
    daemon = pwd.getpwnam("daemon")
    with worker(redis_url, tmp_path / "good", slots=1):
        runs = [
            push(redis_client, job(f"job{number}", "sleep 0.3; id -u", user="daemon", retries=0))
            for number in range(6)
        ]
        heads = {ended(redis_client, run, 40).return_value()["head"] for run in runs}
    assert heads == {f"{daemon.pw_uid}\n"}


def test_a_user_that_no_worker_has_fails_the_run_without_holding_up_the_queue(
    redis_client, redis_url, tmp_path
):
    unknown = push(redis_client, job("unknown", "true", user="no-such-user", retries=0))
    after = push(redis_client, job("after", "true"))
    with worker(redis_url, tmp_path), worker(redis_url, tmp_path):
        failed = ended(redis_client, unknown)
        assert ended(redis_client, after).is_finished
    assert failed.is_failed
    assert "no-such-user" in failed.latest_result().exc_string


@pytest.mark.parametrize(("command", "code"), [(["/no/such/program"], 127), (["/etc"], 126)])
def test_what_fails_on_every_worker_alike_is_the_commands_own(
    redis_client, redis_url, tmp_path, command, code
):
    run = push(redis_client, job("bad", command, retries=0))
    with worker(redis_url, tmp_path), worker(redis_url, tmp_path):
        failed = ended(redis_client, run)
    assert failed.latest_result().return_value["exit_code"] == code


@pytest.mark.slow
def test_status_and_readiness_name_what_a_worker_lacks(redis_client, redis_url, processes):
    port = free_port()
    poor = processes(redis_client, METRICS_PORT=str(port))
    ready, _ = answer(port, "readyz")
    assert ready == 200
    without_descriptors(poor)
    push(redis_client, job("job", "true", retries=0))
    eventually(lambda: problem(redis_client, poor))
    shown = kuber_cron("status", "--format", "json", "--redis-url", redis_url)
    assert any("starts nothing" in trouble for trouble in json.loads(shown.stdout)["troubles"])
    # Its metrics need a descriptor too.
    without_descriptors(poor)
    code, text = answer(port, "readyz")
    assert code == 503
    assert "descriptors" in text
    assert 'cron_worker_claims_paused{reason="resources"} 1.0' in answer(port, "metrics")[1]
    assert answer(port, "livez")[0] == 200


def no_directory(path):
    """A path that cannot be made a directory, not even by root."""
    (path / "file").touch()
    return path / "file" / "logs"


def free_port():
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def answer(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as reply:
            return reply.status, reply.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_worker_that_cannot_search_for_an_earlier_attempt_returns_the_run_unspent(
    redis_client, redis_url, tmp_path, monkeypatch
):
    search, refusals = leftover_processes.end, [OSError(errno.EMFILE, "Too many open files")]

    def fails_once(executions):
        if refusals:
            raise refusals.pop()
        return search(executions)

    monkeypatch.setattr(leftover_processes, "end", fails_once)
    run = push(redis_client, job("again", "true"), queue="elsewhere")
    redis_client.hset(KEYS.run(run), "attempt", 1)
    redis_client.rename(KEYS.queue("elsewhere"), KEYS.queue("default"))
    with worker(redis_url, tmp_path):
        assert ended(redis_client, run).is_finished
    assert refusals == []
    assert field(redis_client, run, "attempt") == "2"
