"""Redis loses writes while nothing is due: real schedulers notice at once, and repair each job by its policy."""

import os
import shutil
import signal
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support import cli_process
from tests.support.api_server import ApiServer
from tests.support.elections import KEYS
from tests.support.schedulers import Schedulers
from tests.support.stepped import log_of, words_of
from tests.support.waiting import eventually

from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis

pytestmark = pytest.mark.slow

NOTICED_WITHIN = 15.0
"""A second by itself; more for the connection, the new term, and a busy machine. Unnoticed, it takes until New Year."""


class Installation:
    """Schedulers on an API server's Lease, and a Redis whose data can be put back."""

    def __init__(self, folder: Path, api: ApiServer, start: Callable[..., EmbeddedRedis]) -> None:
        self.place, self._start = folder / "redis", start
        self.server = start(self.place, appendfsync="always")
        self.schedulers = Schedulers(self.server.url, api.kubeconfig(folder / "kubeconfig"), folder)
        self.client = self.schedulers.client

    def start(self, name: str, *jobs: str) -> None:
        """A scheduler leads; then, for the coming seconds alone, there are these jobs beside one of New Year.

        After it has started, because that takes a busy machine longer than the jobs live.
        """
        new_year = "TZ=UTC\n# kuber-cron: name=yearly\n@yearly true\n"
        files = self.schedulers.directory / "jobs"
        files.write_text(new_year)
        self.schedulers.start(name)
        eventually(lambda: self.client.hexists(KEYS.cursors, "yearly"))
        until = datetime.now(UTC) + timedelta(seconds=15)
        each = [
            f"# kuber-cron: not_after={until:%Y-%m-%dT%H:%M:%SZ} catchup=all {job}\n@every 1s true\n"
            for job in jobs
        ]
        files.write_text("".join([new_year, *each]))
        self.last = until.replace(microsecond=0)

    def decided(self, job: str) -> list[datetime]:
        return [entry.first for entry in log_of(self.client, job) if entry.decision == "queued"]

    def all_is_decided(self, job: str) -> bool:
        return self.last in self.decided(job)

    def keep(self, aside: Path) -> None:
        """A snapshot of what Redis holds."""
        shutil.copytree(self.place, aside, ignore=shutil.ignore_patterns("*.sock", "*.lock"))

    def kill_redis(self) -> None:
        os.kill(self.server.pid, signal.SIGKILL)
        assert self.server.wait(60) is not None
        self.server.stop()

    def put_back(self, aside: Path) -> None:
        """Redis comes back under its address with what the snapshot holds."""
        shutil.rmtree(self.place)
        shutil.copytree(aside, self.place)
        url = self.server.url
        self.server = self._start(self.place, appendfsync="always")
        assert self.server.url == url

    def losses(self, name: str) -> float:
        (port,) = (
            line["port"] for line in self.schedulers.log(name) if line["event"] == "telemetry is served"
        )
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            found = [
                line.split()[1]
                for line in answer.read().decode().splitlines()
                if line.startswith("cron_state_lost_total ")
            ]
        return float(found[0])

    def asks(self, *words: str) -> str:
        return cli_process.kuber_cron(*words, KUBER_CRON_REDIS_URL=self.server.url).stdout


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def installation(
    tmp_path: Path, api: ApiServer, redis_server: Callable[..., EmbeddedRedis]
) -> Iterator[Installation]:
    made = Installation(tmp_path, api, redis_server)
    yield made
    made.schedulers.end()


def test_a_snapshot_put_back_under_an_idle_leader_is_noticed_at_once(installation, tmp_path):
    installation.start("a", "name=replays", "name=skips on_state_loss=skip")
    eventually(lambda: len(installation.decided("skips")) >= 2)
    installation.keep(tmp_path / "snapshot")
    eventually(lambda: installation.all_is_decided("skips") and installation.all_is_decided("replays"))
    before = installation.decided("replays")
    installation.kill_redis()
    installation.put_back(tmp_path / "snapshot")
    assert not installation.all_is_decided("replays")
    eventually(lambda: installation.all_is_decided("replays"), within=NOTICED_WITHIN)
    assert installation.decided("replays") == before
    assert words_of(installation.client, "skips")[-1] == "skipped state_lost"
    assert installation.losses("a") == 1
    assert "Redis had lost writes" in installation.asks("status")
    assert "Redis had lost writes" in installation.asks("why", "replays", f"{before[-1]:%Y-%m-%dT%H:%M:%SZ}")


def test_a_snapshot_that_lacks_only_the_first_sight_of_a_job_is_noticed_at_once(installation, tmp_path):
    installation.start("a", "name=tick")
    eventually(lambda: installation.all_is_decided("tick"))
    installation.keep(tmp_path / "snapshot")
    jobs = installation.schedulers.directory / "jobs"
    jobs.write_text(jobs.read_text() + "# kuber-cron: name=new\n@yearly true\n")
    before = eventually(lambda: installation.client.hget(KEYS.cursors, "new"))
    installation.kill_redis()
    installation.put_back(tmp_path / "snapshot")
    assert not installation.client.hexists(KEYS.cursors, "new")
    eventually(lambda: installation.client.hget(KEYS.cursors, "new") == before, within=NOTICED_WITHIN)
    assert installation.losses("a") == 1


def test_a_leader_that_changed_in_the_same_moment_knows_of_the_loss_by_the_lease(installation, api, tmp_path):
    installation.start("a", "name=tick")
    eventually(lambda: len(installation.decided("tick")) >= 2)
    installation.keep(tmp_path / "snapshot")
    eventually(lambda: installation.all_is_decided("tick"))
    before = installation.decided("tick")
    count = int(installation.client.hget(KEYS.fence, "through"))
    eventually(lambda: str(count) in str(api.lease("kuber-cron")))
    installation.schedulers.kill("a")
    installation.kill_redis()
    installation.put_back(tmp_path / "snapshot")
    installation.schedulers.start("b")
    eventually(lambda: installation.all_is_decided("tick"))
    assert installation.decided("tick") == before
    assert installation.losses("b") == 1
