"""Fixtures of all tests: a real Redis server, and as many more as a test wants to kill."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from kuber_cron.common.embedded import EmbeddedRedis

# A shell that runs the tests in the background has them ignore Ctrl-C, and what they start inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)

StartServer = Callable[..., EmbeddedRedis]


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """One server for the whole session; tests that stop or break theirs take ``redis_server``."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis"), appendfsync="no") as server:
        yield server


@pytest.fixture
def redis_client(shared_redis: EmbeddedRedis) -> Iterator[redis.Redis]:
    """A client of the session's server, which is empty when the test begins."""
    with redis.Redis.from_url(shared_redis.url, protocol=2) as client:
        client.flushall()
        yield client


@pytest.fixture
def redis_url(redis_client: redis.Redis, shared_redis: EmbeddedRedis) -> str:
    """The URL of the session's server, which is empty when the test begins."""
    return shared_redis.url


@pytest.fixture
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Starts a server of the test's own: ``redis_server(directory=None, **EmbeddedRedis' arguments)``."""
    started: list[EmbeddedRedis] = []

    def start(directory: Path | None = None, **arguments: Any) -> EmbeddedRedis:
        server = EmbeddedRedis(directory or tmp_path_factory.mktemp("redis"), **arguments)
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()
