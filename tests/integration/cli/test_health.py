"""What /livez and /readyz say of real processes, state by state: the rows of the table in docs/operate.md."""

import json
import signal
import subprocess
import urllib.error
import urllib.request

import pytest
from tests.faults.proxy import Proxies
from tests.faults.redis_server import RedisServer
from tests.support import cli_process
from tests.support.waiting import eventually

TIERS = ("scheduler", "worker")


class Installation:
    """A scheduler and a worker, each on a way to Redis that can be cut."""

    def __init__(self, directory, redis_server, proxy):
        self.directory, self.redis, self.way = directory, redis_server, proxy
        self.processes = {}
        self.jobs = directory / "jobs"
        self.jobs.mkdir()
        (self.jobs / "crontab").write_text("@every 1s true # every second\n")

    def start(self, tier):
        words = [tier, str(self.jobs)] if tier == "scheduler" else [tier]
        with (self.directory / f"{tier}.log").open("wb") as log:
            self.processes[tier] = subprocess.Popen(
                [*cli_process.COMMAND, *words],
                env=cli_process.environment(
                    KUBER_CRON_REDIS_URL=f"redis://127.0.0.1:{self.way.port}/0",
                    KUBER_CRON_ELECTION="redis",
                    KUBER_CRON_INSECURE="1",
                    KUBER_CRON_METRICS_PORT="0",
                    KUBER_CRON_METRICS_HOST="127.0.0.1",
                    KUBER_CRON_WORKER_TTL_SECONDS="6",
                    KUBER_CRON_LOG_DIR=str(self.directory / "logs"),
                ),
                stdout=log,
                stderr=log,
            )
        eventually(lambda: self._port(tier), 180)

    def _port(self, tier):
        lines = [json.loads(line) for line in self.log(tier).split("\n")[:-1] if line.startswith("{")]
        return next((line["port"] for line in lines if line["event"] == "telemetry is served"), None)

    def log(self, tier):
        return (self.directory / f"{tier}.log").read_text()

    def asks(self, tier, path):
        """The status and the checks that are not ok."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port(tier)}{path}", timeout=60) as answer:
                status, document = answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                status, document = error.code, json.load(error)
        return status, {name: said for name, said in document["checks"].items() if said != "ok"}

    def is_ready(self, tier):
        return self.asks(tier, "/readyz") == (200, {}) and self.asks(tier, "/livez") == (200, {})

    def close(self):
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


@pytest.fixture
def installation(tmp_path):
    server = RedisServer(tmp_path / "redis")
    server.start()
    with Proxies() as proxies:
        made = Installation(tmp_path, server, proxies.proxy(server.port))
        try:
            for tier in TIERS:
                made.start(tier)
            for tier in TIERS:
                eventually(lambda tier=tier: made.is_ready(tier), 180)
            yield made
        finally:
            made.close()
            server.close()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["refuse", "hang", "stopped", "replica"])
def test_without_redis_nobody_is_ready_and_nobody_is_to_be_restarted(installation, how):
    if how == "stopped":
        installation.redis.signal(signal.SIGSTOP)
    elif how == "replica":
        with installation.redis.client() as direct:
            direct.replicaof("127.0.0.1", 1)
    else:
        getattr(installation.way, how)()
    for tier in TIERS:
        _, failing = eventually(
            lambda tier=tier: (found := installation.asks(tier, "/readyz"))[0] == 503 and found
        )
        assert "redis has not answered for" in failing["redis"]
        assert installation.asks(tier, "/livez") == (200, {})
    if how == "stopped":
        installation.redis.signal(signal.SIGCONT)
    elif how == "replica":
        with installation.redis.client() as direct:
            direct.replicaof("NO", "ONE")
    else:
        installation.way.heal()
    for tier in TIERS:
        eventually(lambda tier=tier: installation.is_ready(tier))


@pytest.mark.slow
@pytest.mark.parametrize("content", ["61 * * * * true\n", None])
def test_files_in_error_or_emptied_are_not_ready_and_no_reason_to_restart(installation, content):
    if content is None:
        (installation.jobs / "crontab").unlink()
    else:
        (installation.jobs / "crontab").write_text(content)
    _, failing = eventually(lambda: (found := installation.asks("scheduler", "/readyz"))[0] == 503 and found)
    assert list(failing) == ["config"]
    assert installation.asks("scheduler", "/livez") == (200, {})


@pytest.mark.slow
def test_a_worker_that_drains_is_not_ready_and_not_to_be_restarted(installation):
    (installation.jobs / "crontab").write_text("@every 1s sleep 30 # long\n")
    with installation.redis.client() as direct:
        eventually(lambda: direct.zcard("rq:wip:default"))
    installation.processes["worker"].send_signal(signal.SIGTERM)
    _, failing = eventually(lambda: (found := installation.asks("worker", "/readyz"))[0] == 503 and found)
    assert failing == {"worker": "draining"}
    assert installation.asks("worker", "/livez") == (200, {})


@pytest.mark.slow
def test_a_process_that_slept_is_to_be_restarted_only_if_it_stays_stuck(installation):
    for tier in TIERS:
        installation.processes[tier].send_signal(signal.SIGSTOP)
    with installation.redis.client() as direct:
        eventually(lambda: not direct.exists("rq:kuber-cron:lease"))
    for tier in TIERS:
        installation.processes[tier].send_signal(signal.SIGCONT)
    for tier in TIERS:
        eventually(lambda tier=tier: installation.is_ready(tier))
