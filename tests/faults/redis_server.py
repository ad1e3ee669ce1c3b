"""A Redis server of the harness' own: stopped, killed and started again on the same files and the same port."""

import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.faults.ports import free_port
from tests.faults.shifted_clock import ShiftedClock
from tests.support.waiting import eventually

from kuber_cron.common.redis_store.embedded.binary import find_program

USER = "app"
"""Whom the processes under test are for Redis, and also the password. The harness' own connections are another's."""


def plain_client(port: int, timeout_seconds: float, password: str | None = None) -> redis.Redis:
    """A client of the server at this port of ours, without retries, whose replies are text; the caller closes it."""
    return redis.Redis(
        host="127.0.0.1",
        port=port,
        password=password,
        protocol=2,
        decode_responses=True,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
    )


class RedisServer:
    """A server process; ``start`` it first. ``fsync`` is when writes reach the disk, ``none``: they never do."""

    def __init__(
        self, directory: Path, *, fsync: str = "always", environ: Mapping[str, str] | None = None
    ) -> None:
        self.directory = directory
        self.clock = ShiftedClock(directory, "redis")
        self.port = free_port()
        self._fsync = fsync
        self._environ = dict(os.environ) | dict(environ or {}) | self.clock.environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The direct way to it, past all proxies."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, timeout_seconds: float = 5.0) -> redis.Redis:
        """A client without retries; the caller closes it."""
        return plain_client(self.port, timeout_seconds)

    def connect(self, timeout_seconds: float) -> socket.socket:
        """A bare connection that takes commands."""
        return socket.create_connection(("127.0.0.1", self.port), timeout_seconds)

    def start(self) -> None:
        """It has loaded its data and answers."""
        config = self.directory / "redis.conf"
        config.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.directory}\nappendonly {'no' if self._fsync == 'none' else 'yes'}\n"
            f'appendfsync {"no" if self._fsync == "none" else self._fsync}\nsave ""\nmaxmemory-policy noeviction\nlogfile {self.directory}/redis.log\n'
            f"repl-diskless-sync-delay 0\nuser default on nopass ~* &* +@all\nuser {USER} on >{USER} ~* &* +@all\n"
        )
        self._process = subprocess.Popen(
            [find_program().path, config], env=self._environ, start_new_session=True
        )
        eventually(self.answers, 20)

    def answers(self) -> bool:
        """Whether it takes commands now."""
        with self.client(1.0) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Gone at once, with whatever it had not written."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """No process is left."""
        self.kill()
