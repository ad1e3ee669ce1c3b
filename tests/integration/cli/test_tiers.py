"""``kuber-cron scheduler`` and ``worker``: two processes that share nothing but a Redis."""

import json
import signal
import subprocess

import pytest
from tests.support.cli_process import COMMAND, end, environment, kuber_cron

QUICK = "# kuber-cron: name=tick\n@every 1s echo tock\n"


@pytest.fixture
def tier(tmp_path, redis_url):
    (tmp_path / "crontab").write_text(QUICK)
    started = []

    def start(*words):
        settings = {
            "REDIS_URL": redis_url,
            "INSECURE": "1",
            "ELECTION": "redis",
            "METRICS_PORT": "0",
            "METRICS_HOST": "127.0.0.1",
            "LOG_DIR": str(tmp_path / "logs"),
            "LOG_FORMAT": "json",
            "REDIS_ALLOW_VOLATILE": "1",
        }
        process = subprocess.Popen(
            [*COMMAND, *words],
            cwd=tmp_path,
            env=environment(**{f"KUBER_CRON_{name}": value for name, value in settings.items()}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    end(started)


def until(process, event):
    for line in process.stderr:
        entry = json.loads(line)
        if entry["event"] == event:
            return entry
    raise AssertionError(f"the log ended without {event!r}")


def test_a_worker_runs_what_a_scheduler_decides_and_both_end_with_status_0_on_sigterm(tier):
    scheduler, worker = tier("scheduler", "crontab"), tier("worker", "--slots", "2")
    assert until(worker, "worker started")["slots"] == 2
    assert until(worker, "run ended")["job"] == "tick"
    line = json.loads(worker.stdout.readline())
    assert (line["job"], line["stream"], line["text"]) == ("tick", "stdout", "tock")
    for process in (scheduler, worker):
        process.send_signal(signal.SIGTERM)
    assert [process.wait(60) for process in (scheduler, worker)] == [0, 0]
    assert scheduler.stdout.read() == ""


def test_a_worker_takes_only_from_its_queues(tier):
    worker = tier("worker", "--queues", "batch,nightly")
    assert until(worker, "worker started")["queues"] == ["batch", "nightly", "batch-low", "nightly-low"]
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0


@pytest.mark.parametrize("command", ["scheduler", "worker"])
def test_a_redis_that_is_not_there_is_named_and_so_is_none(command):
    away = kuber_cron(command, "--redis-url", "redis://127.0.0.1:1/0", KUBER_CRON_INSECURE="1")
    assert away.returncode == 1
    assert "127.0.0.1:1" in away.stderr
    assert "hint: " in away.stderr
    none = kuber_cron(command, KUBER_CRON_INSECURE="1")
    assert none.returncode == 1
    assert "KUBER_CRON_REDIS_URL is not set" in none.stderr


def test_unsigned_runs_must_be_meant(tier, redis_url):
    done = kuber_cron("worker", "--redis-url", redis_url, KUBER_CRON_REDIS_ALLOW_VOLATILE="1")
    assert done.returncode == 1
    assert "KUBER_CRON_SIGNING_KEY_FILE is not set" in done.stderr
