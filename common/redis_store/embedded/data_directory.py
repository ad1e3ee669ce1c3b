"""The data directory of an embedded Redis: its locks, its configuration file, its log.

Two locks. The owner alone holds ``owner.lock``: a second start meets it and fails at once. Guard and server hold
``server.lock``: a start after a killed owner waits for the old server to finish writing, instead of sharing its
append-only file with it.
"""

import contextlib
import fcntl
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from kuber_cron.common.clock import SystemClock
from kuber_cron.common.redis_store.embedded.binary import Program
from kuber_cron.common.redis_store.embedded.errors import EmbeddedRedisError

CONFIG_NAME = "kuber-cron-redis.conf"
POLL_SECONDS = 0.02
"""Between two tries to lock: flock knows no timeout."""

_TAKEOVER_SECONDS = (
    12.0  # how long a start waits for the server of a killed owner: a little more than its guard does
)
_LOG_LIMIT = 1024 * 1024  # bytes; one older log is kept


def make(directory: Path) -> None:
    """Create the directory, for this user alone."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
    except OSError as error:
        raise _cannot_write(directory, error) from error


def _cannot_write(directory: Path, error: OSError) -> EmbeddedRedisError:
    return EmbeddedRedisError(
        f"the embedded Redis cannot write its data directory {directory}: {error.strerror or error}",
        hint="start in a directory that you may write, or give a URL by --redis-url or KUBER_CRON_REDIS_URL",
    )


def try_lock(path: Path) -> int | None:
    """Return the descriptor of the locked file, or None if somebody else holds it."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except BaseException:
        os.close(lock)
        raise
    return lock


def lock_owner(directory: Path) -> int:
    """Return the descriptor of the owner's lock.

    Raises:
        EmbeddedRedisError: Another process has it, or the directory cannot be written.
    """
    path = directory / "owner.lock"
    try:
        lock = try_lock(path)
        if lock is not None:
            os.truncate(lock, 0)
            os.write(lock, f"{os.getpid()}\n".encode())
            return lock
        holder = path.read_text().strip()
    except OSError as error:
        raise _cannot_write(directory, error) from error
    raise EmbeddedRedisError(
        f"the embedded Redis in {directory} is in use by process {holder or 'unknown'}",
        hint=f"stop that process (kill {holder or 'PID'}), start in another directory, or connect both to one Redis "
        "by --redis-url or KUBER_CRON_REDIS_URL",
    )


def lock_server(directory: Path) -> int:
    """Return the descriptor of the server's lock, after a bounded wait for the server of an owner that was killed."""
    clock = SystemClock()
    deadline = clock.elapsed() + _TAKEOVER_SECONDS
    pause = threading.Event()
    while (lock := try_lock(directory / "server.lock")) is None:
        if clock.elapsed() > deadline:
            raise EmbeddedRedisError(
                f"the Redis server of an earlier process still holds {directory} after {_TAKEOVER_SECONDS:g} s",
                hint=f"look for it with: ps -ef | grep {directory}; see {directory / 'redis.log'}",
            )
        pause.wait(POLL_SECONDS)
    return lock


def refuse_newer_data(directory: Path, program: Program) -> None:
    """Raise where the program is older than the data: before 7.0 it would not see their folder, and start empty."""
    if program.version < (7, 0) and (directory / "appendonlydir").exists():
        raise EmbeddedRedisError(
            f"the data in {directory} was written by Redis 7 or newer, and {program.path} is {program.version_text}",
            hint="install a newer Redis or kuber-cron[embedded], or move the directory away to begin empty",
        )


def write_config(directory: Path, config: Mapping[str, str]) -> Path:
    """Write the configuration file: from arguments every user of the machine could read the password."""
    path = directory / CONFIG_NAME
    lines = [f"{name} {_quoted(value)}\n" for name, value in {"dir": str(directory), **config}.items()]
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.writelines(lines)
    return path


def _quoted(value: str) -> str:
    """Return the value as Redis' configuration reads it back, byte for byte."""
    plain = (
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}"
        for byte in os.fsencode(value)
    )
    return f'"{"".join(plain)}"'


def open_log(path: Path) -> int:
    """Return a descriptor of the log to append to; one that has grown is renamed before."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > _LOG_LIMIT:
            path.replace(path.with_suffix(".log.1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
