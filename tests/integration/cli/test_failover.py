"""A planned failover behind an address that moves, on real processes: what is open stays with the demoted server."""

import json
import subprocess

import pytest
from tests.support import cli_process
from tests.support.moving_address import moving_address
from tests.support.waiting import eventually

SECONDS = 20.0
"""From the failover to the first run after it: a lease of 5 s, and what a busy machine adds."""


@pytest.fixture
def address(tmp_path):
    with moving_address(tmp_path / "redis") as made:
        yield made


@pytest.fixture
def start(address, tmp_path):
    started = []

    def starts(*words):
        log = (tmp_path / f"{len(started)}.log").open("wb")
        with log:
            process = subprocess.Popen(
                [*cli_process.COMMAND, *words],
                env=cli_process.environment(
                    KUBER_CRON_REDIS_URL=address.url,
                    KUBER_CRON_ELECTION="redis",
                    KUBER_CRON_INSECURE="1",
                    KUBER_CRON_METRICS_PORT="0",
                    KUBER_CRON_METRICS_HOST="127.0.0.1",
                    KUBER_CRON_LOG_DIR=str(tmp_path / "logs"),
                    KUBER_CRON_WORKER_TTL_SECONDS="6",
                ),
                stdout=log,
                stderr=log,
            )
        started.append(process)
        return tmp_path / f"{len(started) - 1}.log"

    yield starts
    cli_process.end(started)


def succeeded(client):
    """The instants of the runs that have succeeded."""
    return {
        run
        for run in client.zrange("rq:finished:default", 0, -1)
        if client.hget(f"rq:job:{run}", "status") == "finished"
    }


@pytest.mark.slow
def test_runs_go_on_within_seconds_of_a_failover_behind_an_address_that_moves(address, start, tmp_path):
    (tmp_path / "jobs").write_text("TZ=UTC\n@every 1s true # every second\n")
    logs = [
        start("scheduler", str(tmp_path / "jobs")),
        start("scheduler", str(tmp_path / "jobs")),
        start("worker"),
    ]
    with address.primary.client() as first, address.replica.client() as second:
        eventually(lambda: len(succeeded(first)) >= 3)
        address.fail_over()
        before = succeeded(first)
        eventually(lambda: len(succeeded(second) - before) >= 3, within=SECONDS)
        address.fail_over()  # and back
        before = succeeded(second)
        eventually(lambda: len(succeeded(first) - before) >= 3, within=SECONDS)
    for log in logs:
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        assert not [line for line in lines if line["level"] == "error" and "exception" in line]
