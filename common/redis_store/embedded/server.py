"""A real Redis (or Valkey) server of our own, for one machine: started, supervised and stopped with its owner.

How it is held together:

* The server is the child of a guard, a few lines of ``/bin/sh`` in a session of its own, so that Ctrl-C in
  the terminal reaches neither. The guard's standard input is a pipe whose other end only the owner holds,
  close-on-exec. When the owner ends in whatever way, SIGKILL included, the guard reads end of file, sends
  TERM (on which the server flushes its append-only file), and KILL when that takes longer than 10 s. This
  needs nothing that Linux has and macOS has not.
* Two locks in the data directory tell owners apart from each other, and from servers that still write
  (``data_directory``).
* Clients come by a Unix socket that only this user can open. Where the path is too long for one
  (``sun_path`` holds 104 bytes on macOS, 108 on Linux) or the file system knows no sockets, it lies in a
  private temporary directory, and failing that the server listens on loopback with a random password.

What is kept: every write, flushed once a second (``appendfsync everysec``), so that a power cut may lose the
last second, and a crash of owner or server loses nothing. What this is not: a server that is started again
when it dies: the owner learns of that by :meth:`EmbeddedRedis.poll`, and decides.
"""

import contextlib
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
from kuber_cron.common.redis_store.embedded import data_directory
from kuber_cron.common.redis_store.embedded.address import SOCKET_NAME, ServerAddress, find_address
from kuber_cron.common.redis_store.embedded.binary import Program, find_program
from kuber_cron.common.redis_store.embedded.errors import EmbeddedRedisError

DEFAULT_DIRECTORY = Path(".kuber-cron/redis")

_TERM_SECONDS = 10  # the guard's patience; flushing the append-only file takes milliseconds
_ORPHAN_SECONDS = 3.0  # for a server whose guard was killed

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
        data_directory.make(self.directory)
        self._owner_lock: int | None = data_directory.lock_owner(self.directory)
        try:
            server_lock = data_directory.lock_server(self.directory)
            try:
                data_directory.refuse_newer_data(self.directory, self.program)
                address = find_address(self.directory, listen)
                self.url = address.url
                self._launch(address, {"appendfsync": appendfsync, **(options or {})}, server_lock)
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
        """Return None while the server runs, else its exit status (128 + n when signal n ended it)."""
        return self.wait(0)

    def wait(self, timeout_seconds: float) -> int | None:
        """Return the exit status as soon as the server has ended, or None if it still runs after the timeout."""
        if self._guard is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._status = self._guard.wait(timeout_seconds)
        return self._status

    def last_words(self, lines: int = 8) -> str:
        """Return the last lines that the server has written into its log since this start."""
        with contextlib.suppress(OSError), self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return "\n".join(log.read()[-16384:].decode(errors="replace").splitlines()[-lines:])
        return ""

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """Stop the server once it has written everything to disk; kill it if that takes longer. Idempotent."""
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
        """Kill a server that ignored TERM, or whose guard somebody killed.

        The lock, not the process id, says whether there is one: ids are given to strangers again.
        """
        clock = SystemClock()
        # With the guard gone and the lock held, the guard's watcher has sent TERM: time to write and end.
        patience_until = clock.elapsed() + (0.0 if self.poll() is None else _ORPHAN_SECONDS)
        give_up_at = patience_until + _ORPHAN_SECONDS
        pause = threading.Event()
        while (
            lock := data_directory.try_lock(self.directory / "server.lock")
        ) is None and clock.elapsed() < give_up_at:
            if self.pid and clock.elapsed() >= patience_until:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
            pause.wait(data_directory.POLL_SECONDS)
        if lock is not None:
            os.close(lock)

    def _launch(self, address: ServerAddress, options: Mapping[str, str], server_lock: int) -> None:
        config = data_directory.write_config(self.directory, {**_OURS, **address.config, **options})
        log = data_directory.open_log(self.log_path)
        try:
            self._log_start = os.fstat(log).st_size
            self._guard = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "kuber-cron-redis", address.sockets, self.program.path, config],
                stdin=subprocess.PIPE,
                stdout=server_lock,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,
            )
        finally:
            os.close(log)

    def _await_ready(self, seconds: float) -> int:
        """Return the server's process id, once it has loaded its data and answers."""
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
                    if self.wait(data_directory.POLL_SECONDS) is not None:
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
