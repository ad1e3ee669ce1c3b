"""The right to write the decision log is withdrawn for seconds: a real scheduler passes no instant without an entry."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from tests.support.api_server import ApiServer
from tests.support.schedulers import Schedulers
from tests.support.stepped import KEYS, log_of
from tests.support.waiting import eventually

from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis

pytestmark = pytest.mark.slow

JOBS = {
    "plain": "",
    "suspended": "suspend=true",
    "forbid": "concurrency=forbid",
    "replace": "concurrency=replace",
    "after": "after=plain",
}
# All keys but those that begin with an l: log, lease, lost.
WITHOUT_LOG = ("resetkeys", "~rq:[^k]*", "~rq:kuber-cron:[^l]*", "%R~*")


@pytest.fixture
def admin(redis_server: Callable[..., EmbeddedRedis]) -> Iterator[redis.Redis]:
    server = redis_server(appendfsync="no")
    with redis.Redis.from_url(server.url, protocol=2) as client:
        client.execute_command("ACL", "SETUSER", "cron", "on", ">secret", "~*", "&*", "+@all")
        client.url = server.url.replace("unix://", "unix://cron:secret@")
        yield client


@pytest.fixture
def schedulers(admin: redis.Redis, tmp_path: Path) -> Iterator[Schedulers]:
    with ApiServer() as api:
        made = Schedulers(admin.url, api.kubeconfig(tmp_path / "kubeconfig"), tmp_path)
        lines = (
            f"# kuber-cron: name={name} catchup=all {policy}\n@every 1s true\n"
            for name, policy in JOBS.items()
        )
        (tmp_path / "jobs").write_text("".join(["TZ=UTC\n", *lines]))
        yield made
        made.end()


def passed(admin: redis.Redis, name: str) -> int:
    """The second up to which the job is decided, by its cursor."""
    return int((admin.hget(KEYS.cursors, name) or b"0|").split(b"|")[0])


def instants(admin: redis.Redis, name: str) -> list[int]:
    """Every second that an entry of the job's log stands for."""
    return [
        second
        for each in log_of(admin, name)
        if each.decision in {"queued", "held", "skipped", "known", "error"}
        for second in range(int(each.first.timestamp()), int(each.last.timestamp()) + 1)
    ]


def test_no_instant_passes_while_the_log_cannot_be_written(admin, schedulers):
    schedulers.start("a")
    eventually(lambda: all(len(instants(admin, name)) >= 2 for name in JOBS))
    admin.execute_command("ACL", "SETUSER", "cron", *WITHOUT_LOG)
    eventually(lambda: schedulers.says("a", "a decision failed"))
    stood = {name: passed(admin, name) for name in JOBS}
    eventually(lambda: int(admin.time()[0]) > max(stood.values()) + 6)
    assert {name: passed(admin, name) for name in JOBS} == stood
    admin.execute_command("ACL", "SETUSER", "cron", "~*")
    eventually(lambda: all(passed(admin, name) > stood[name] + 8 for name in JOBS))
    for name in JOBS:
        decided = instants(admin, name)
        assert decided == list(range(decided[0], decided[0] + len(decided))), name
