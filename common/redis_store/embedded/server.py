"""A real Redis (or Valkey) server of our own, for one machine: started, supervised and stopped with its owner.

How it is held together:

* The server is the child of a guard, a few lines of ``/bin/sh`` in a session of its own, so that Ctrl-C in
  the terminal reaches neither. The guard's standard input is a pipe whose other end only the owner holds,
  close-on-exec. When the owner ends in whatever way, SIGKILL included, the guard reads end of file, sends
  TERM (on which the server flushes its append-only file), and KILL when that takes longer than 10 s. This
  needs nothing that Linux has and macOS has not.
* Two locks in the data directory. The owner alone holds ``owner.lock``: a second start meets it and fails
  at once. Guard and server hold ``server.lock``: a start after a killed owner waits for the old server to
  finish writing, instead of sharing its append-only file with it.
* Clients come by a Unix socket that only this user can open. Where the path is too long for one
  (``sun_path`` holds 104 bytes on macOS, 108 on Linux) or the file system knows no sockets, it lies in a
  private temporary directory, and failing that the server listens on loopback with a random password.

What is kept: every write, flushed once a second (``appendfsync everysec``), so that a power cut may lose the
last second, and a crash of owner or server loses nothing. What this is not: a server that is started again
when it dies. :meth:`EmbeddedRedis.poll` tells, and the owner decides.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from kuber_cron.common.clock import SystemClock
from kuber_cron.common.errors import EmbeddedRedisError
from kuber_cron.common.redis_store.embedded.address import SOCKET_NAME, ServerAddress, find_place
from kuber_cron.common.redis_store.embedded.binary import Program, find_program

DEFAULT_DIRECTORY = Path(".kuber-cron/redis")

_TERM_SECONDS = 10  # the guard's patience; flushing the append-only file takes milliseconds
_TAKEOVER_SECONDS = 12.0  # how long a start waits for the server of a killed owner: a little more
_ORPHAN_SECONDS = 3.0  # for a server whose guard was killed
_POLL_SECONDS = 0.02
_LOG_LIMIT = 1024 * 1024  # bytes; one older log is kept
CONFIG_NAME = "kuber-cron-redis.conf"

# fd 0 is the owner's pipe, fd 1 the server's lock, fd 2 the log; $1 the private socket directory or "".
# The watcher drops the lock (fd 3), so that it is free as soon as the server is gone, and it is killed with
# the server, so that it never signals a stranger that was given the same process id.
_GUARD = f"""
exec 3>&1 1>&2 4<&0 </dev/null
sockets=$1
shift
"$@" 4<&- &
server=$!
(
  exec 3>&-
  read -r _ <&4
  kill -TERM $server
  patience={_TERM_SECONDS}
  while [ $patience -gt 0 ] && kill -0 $server; do sleep 1; patience=$((patience - 1)); done
  kill -KILL $server
) >/dev/null 2>&1 &
watcher=$!
exec 4<&-
wait $server
status=$?
kill -KILL $watcher
[ -z "$sockets" ] || {{ rm -f "$sockets/{SOCKET_NAME}"; rmdir "$sockets"; }}
exit $status
"""


class EmbeddedRedis:
    """A running server whose data lies in ``directory``; stopped by :meth:`stop`, or with its owner.

    Args:
        directory: Where its append-only file, log, socket and locks lie; made with mode 0700.
        appendfsync: When writes reach the disk: each second, with each write, or when the kernel likes.
        listen: ``auto`` for a Unix socket where one is possible; ``tcp`` for loopback and a password.
        options: Further lines of its configuration, which win over ours; for tests.
        program: The server program, None for :func:`find_program`.
        start_seconds: How long it may take to load its data and answer.

    Attributes:
        url: What :func:`kuber_cron.common.redis_store.connections.connect` takes. Holds the password when ``tcp``.
        pid: The server's process id.

    Raises:
        EmbeddedRedisError: No server program, the directory is in use or cannot be written, or the server
            ended at once; the message carries the server's last words.
    """

    def __init__(
        self,
        directory: Path = DEFAULT_DIRECTORY,
        *,
        appendfsync: Literal["everysec", "always", "no"] = "everysec",
        listen: Literal["auto", "tcp"] = "auto",
        options: Mapping[str, str] | None = None,
        program: Program | None = None,
        start_seconds: float = 60.0,
    ) -> None:
        self.program = program or find_program()
        # Not resolve(): following links lengthens paths, and a socket's path has to be short.
        self.directory = Path(os.path.abspath(directory))  # noqa: PTH100 - see above
        self.log_path = self.directory / "redis.log"
        self._guard: subprocess.Popen[bytes] | None = None
        self._status: int | None = None
        self.pid = 0  # not known before it answers
        self._stopping = threading.Lock()
        self._log_start = 0
        _make_directory(self.directory)
        self._owner_lock: int | None = _lock_owner(self.directory)
        try:
            server_lock = _lock_server(self.directory)
            try:
                _refuse_newer_data(self.directory, self.program)
                place = find_place(self.directory, listen)
                self.url = place.url
                self._launch(place, {"appendfsync": appendfsync, **(options or {})}, server_lock)
            finally:
                os.close(server_lock)  # guard and server hold it now: once it is free, both are gone
            self.pid = self._await_ready(start_seconds)
        except BaseException:
            self.stop()
            raise

    def __repr__(self) -> str:
        return f"EmbeddedRedis({str(self.directory)!r})"  # the URL may hold the password

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def poll(self) -> int | None:
        """None while the server runs, else its exit status (128 + n when signal n ended it)."""
        return self.wait(0)

    def wait(self, timeout_seconds: float) -> int | None:
        """The exit status as soon as the server has ended, or None if it still runs after the timeout."""
        if self._guard is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._status = self._guard.wait(timeout_seconds)
        return self._status

    def last_words(self, lines: int = 8) -> str:
        """The last lines that the server has written into its log since this start."""
        with contextlib.suppress(OSError), self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return "\n".join(log.read()[-16384:].decode(errors="replace").splitlines()[-lines:])
        return ""

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """The server has written everything to disk and is gone; killed if that takes longer. Idempotent."""
        with self._stopping:
            if self._owner_lock is None:
                return  # somebody else may have the directory by now, and our server's process id
            if self._guard is not None and self._guard.stdin is not None:
                self._guard.stdin.close()  # the guard sends TERM, which Redis takes as SHUTDOWN
                self.wait(timeout_seconds)
                self._kill_what_is_left()
                self._status = self._guard.wait()
            os.close(self._owner_lock)
            self._owner_lock = None

    def _kill_what_is_left(self) -> None:
        """No server is left, even one that ignored TERM, or whose guard somebody killed.

        The lock, not the process id, says whether there is one: ids are given to strangers again.
        """
        clock = SystemClock()
        # With the guard gone and the lock held, the guard's watcher has sent TERM: time to write and leave.
        patience_until = clock.elapsed() + (0.0 if self.poll() is None else _ORPHAN_SECONDS)
        give_up_at = patience_until + _ORPHAN_SECONDS
        pause = threading.Event()
        while (lock := _try_lock(self.directory / "server.lock")) is None and clock.elapsed() < give_up_at:
            if self.pid and clock.elapsed() >= patience_until:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
            pause.wait(_POLL_SECONDS)
        if lock is not None:
            os.close(lock)

    def _launch(self, place: ServerAddress, options: Mapping[str, str], server_lock: int) -> None:
        config = _write_config(self.directory, {**_OURS, **place.config, **options})
        log = _open_log(self.log_path)
        try:
            self._log_start = os.fstat(log).st_size
            self._guard = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "kuber-cron-redis", place.sockets, self.program.path, config],
                stdin=subprocess.PIPE,
                stdout=server_lock,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,
            )
        finally:
            os.close(log)

    def _await_ready(self, seconds: float) -> int:
        """The server's process id, once it has loaded its data and answers."""
        clock = SystemClock()
        deadline = clock.elapsed() + seconds
        with redis.Redis.from_url(
            self.url, socket_timeout=1.0, socket_connect_timeout=1.0, retry=Retry(NoBackoff(), 0)
        ) as client:
            while True:
                try:
                    return int(client.info("server")["process_id"]) if client.ping() else 0
                except (
                    redis.ConnectionError,
                    redis.TimeoutError,
                ) as error:  # loading is a ConnectionError too
                    if self.wait(_POLL_SECONDS) is not None:
                        raise self._ended_at_once() from error
                    if clock.elapsed() > deadline:
                        raise EmbeddedRedisError(
                            f"the embedded Redis in {self.directory} does not answer after {seconds:g} s: {error}\n"
                            f"{self.last_words()}",
                            hint=f"see {self.log_path}",
                        ) from error

    def _ended_at_once(self) -> EmbeddedRedisError:
        return EmbeddedRedisError(
            f"the embedded Redis in {self.directory} ended at once with status {self._status}; its last words:\n"
            f"{self.last_words()}",
            hint=f"a damaged append-only file: repair a copy with redis-check-aof --fix, or move {self.directory} "
            f"away to begin with an empty state; a full disk: make room. The whole log is {self.log_path}",
        )


_OURS = {
    "daemonize": "no",
    "appendonly": "yes",
    "save": "",  # the append-only file holds everything already
    "maxmemory-policy": "noeviction",
    # A run's hash stays in its compact form: a third less memory, a seventh less time (docs/performance.md). The name is
    # the one that 6.2 has too.
    "hash-max-ziplist-value": "1024",
    "protected-mode": "yes",
    "databases": "16",
    "logfile": "",  # standard output, which the guard leads into the log together with a failed start's words
    "always-show-logo": "no",
}


def _make_directory(directory: Path) -> None:
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


def _try_lock(path: Path) -> int | None:
    """The descriptor of the locked file, or None if somebody else holds it."""
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


def _lock_owner(directory: Path) -> int:
    path = directory / "owner.lock"
    try:
        lock = _try_lock(path)
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


def _lock_server(directory: Path) -> int:
    """The server's lock, after a bounded wait for the server of an owner that was killed."""
    clock = SystemClock()
    deadline = clock.elapsed() + _TAKEOVER_SECONDS
    pause = threading.Event()
    while (lock := _try_lock(directory / "server.lock")) is None:
        if clock.elapsed() > deadline:
            raise EmbeddedRedisError(
                f"the Redis server of an earlier process still holds {directory} after {_TAKEOVER_SECONDS:g} s",
                hint=f"look for it with: ps -ef | grep {directory}; see {directory / 'redis.log'}",
            )
        pause.wait(_POLL_SECONDS)  # flock knows no timeout
    return lock


def _refuse_newer_data(directory: Path, program: Program) -> None:
    """Servers before 7.0 do not see the folder that newer ones write to, and would start empty."""
    if program.version < (7, 0) and (directory / "appendonlydir").exists():
        raise EmbeddedRedisError(
            f"the data in {directory} was written by Redis 7 or newer, and {program.path} is {program.version_text}",
            hint="install a newer Redis or kuber-cron[embedded], or move the directory away to begin empty",
        )


def _write_config(directory: Path, config: Mapping[str, str]) -> Path:
    """A file and not arguments, which every user of the machine could read the password from."""
    path = directory / CONFIG_NAME
    lines = [f"{name} {_quoted(value)}\n" for name, value in {"dir": str(directory), **config}.items()]
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.writelines(lines)
    return path


def _quoted(value: str) -> str:
    """As Redis' configuration reads it back, byte for byte."""
    plain = (
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}"
        for byte in os.fsencode(value)
    )
    return f'"{"".join(plain)}"'


def _open_log(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > _LOG_LIMIT:
            path.replace(path.with_suffix(".log.1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
