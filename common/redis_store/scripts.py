"""The keys and scripts in Redis that both tiers share.

Everything lies under RQ's own prefix (``rq`` for the default instance), our own keys under
``<prefix>:kuber-cron:``:

========================  ======  =====================================================================
``fence``                 hash    ``epoch holder cluster seen through server``: who may decide, and how much was
                                  decided; ``hand_at hand_count``: the place in line of runs by hand
``lease``                 string  ``holder:epoch`` with a ttl, where no Kubernetes Lease is used
``boot``                  string  the boot whose ``@reboot`` jobs have been decided
``cursor``                hash    job → its last decided instant with the schedule and zone it was made with
``log:<job>``             stream  one entry per decision, bounded
``missed``                hash    ``job|reason`` → instants not queued; the leader exports it, and it survives it
``changed``               set     jobs whose numbers the leader has yet to look at; bounded by the number of jobs
``ended``                 hash    ``job|outcome`` → runs that ended for good; the same
``lost``, ``counters``    hash    attempts lost, by job; ends that came too ``late``: for people, not exported
``paused``                hash    job (or ``*``) → until, in milliseconds; 0 = until resumed
``open``                  hash    every run between decision and final end → its group, or nothing
``active:<job>``          zset    the same by job, by instant: what overlap is judged by
``held``                  zset    runs decided and in no queue, by the order of their decisions
``gates:<run>``           hash    what a held run waits for: run → ``after`` (its success) or ``line`` (its end)
``gated:<run>``           set     the held runs that wait for this one
``past:<job>``            zset    how the instants of a job that others come after went, bounded
``groups``                hash    group → how many of it may run at once
``group:<name>``          set     the runs of a group that run
``waiting:<name>``        zset    the runs that wait for room in it, by the order of their decisions
``stats:<job>``           hash    last run, last success, last duration, last outcome; ``failing``: the run
                                  that failed last, until the next success; ``expected_from``: the instant
                                  after which a success is expected: the job was new, edited or suspended then
``history:<job>``         list    ended runs, newest first, bounded
``sizes:<job>``           hash    ended run → what it takes in bytes; under the empty name their sum
``bounds``                hash    how much of ended runs stays: ``runs``, ``seconds``, ``bytes``, by the leader's settings
``quarantine``            stream  runs that nobody could read or verify, with the reason, bounded
``aside:<run>``           any     what stood under such a run's name and was no run
``requests``              list    what people ask the leader for, by the requests' ids, oldest first
``request:<id>``          hash    one of them, with its ttl: ``body signature``, and what became of it
``answer:<id>``           list    what became of each of its runs, with a ttl
``acted``, ``acts``       hash,   how often people did what; what they did last, with who and when, bounded
                          stream
``claims``                set     workers that have, or may have, a claim list
``claims:<worker>``       list    run ids that a worker has claimed and not yet started
``alive:<worker>``        string  a worker's liveness, with its ttl
``seen:<worker>``         string  its last heartbeat; the claim list is looked after for a day after it
``output:<execution>``    string  what a running attempt has said so far, with a ttl
``jobs``                  hash    job → its card: queue, delay, life … for people who look without job files
``schedulers``            hash    replica → what it tells of itself: version, jobs, the term it leads in
========================  ======  =====================================================================

What this module does *not* do: decide anything. Each script's own header says what it promises.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

import hiredis
from redis import Redis
from redis.commands.core import Script
from redis.exceptions import NoScriptError, ResponseError

# Decisions kept per job for `why`; the older ones are trimmed by Redis itself.
LOG_LIMIT = 500
DAY_SECONDS = 86400

# Commands that are sent before their answers are read, so that neither side waits for the other to read.
_AT_ONCE = 1000

Value = str | bytes | int | float
"""What a script may be given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLimits:
    """How much of ended runs stays readable: their hash, their results with head and tail of the output.

    Attributes:
        runs: Of each job.
        seconds: After its end, for any run.
        size: Bytes of Redis for each job's ended runs; its newest one stays whatever it takes.
    """

    runs: int = 100
    seconds: int = 30 * DAY_SECONDS
    size: int = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of keys under one RQ prefix."""

    prefix: str = "rq"

    def own(self, name: str) -> str:
        """One of our own keys, e.g. ``own("fence")``."""
        return f"{self.prefix}:kuber-cron:{name}"

    def run(self, run_id: str) -> str:
        """The hash of a run, which is RQ's hash of a job."""
        return f"{self.prefix}:job:{run_id}"

    def queue(self, name: str) -> str:
        """The list of a queue."""
        return f"{self.prefix}:queue:{name}"


@cache
def _text(name: str) -> str:
    folder = resources.files("kuber_cron.common.redis_store.lua")
    return "\n".join((folder / part).read_text() for part in ("prelude.lua", "lifecycle.lua", f"{name}.lua"))


class Store:
    """The scripts on one connection.

    The connection's own rules (retries, time-outs) are its maker's choice: the deciding leader and a
    worker's claims use one without retries (spec: reliability.md §4).
    """

    def __init__(self, client: "Redis", keys: Keys) -> None:
        self.client = client
        self.keys = keys
        self._scripts: dict[str, Script] = {}

    def call_packed(self, script: str, head: Sequence[Value], rest: Sequence[bytes], count: int) -> Any:
        """As ``call``, with ``count`` further arguments that were packed beforehand by :func:`pack`.

        An optimisation for large batches: at the instant they are joined and sent, nothing more.
        """
        known = self._script(script)
        start = ("EVALSHA", known.sha, 1, self.keys.own("fence"), self.keys.prefix, *head)
        command = b"".join((b"*%d\r\n" % (len(start) + count), pack(start), *rest))
        try:
            return self._exchange(command)
        except NoScriptError:
            # The server was restarted or flushed; nothing was executed, so this is no second application.
            self.client.script_load(known.script)
            return self._exchange(command)

    def ask_each(self, commands: Sequence[tuple[Value, ...]]) -> list[Any]:
        """The replies to these commands, in their order; None where a key is of another kind than it should be.

        Not sent again where Redis goes away. An optimisation for thousands of small reads: redis-py's pipeline takes three times as long.
        """
        pool = self.client.connection_pool
        connection = pool.get_connection()
        replies: list[Any] = []
        try:
            for start in range(0, len(commands), _AT_ONCE):
                part = commands[start : start + _AT_ONCE]
                packed = b"".join(hiredis.pack_command(each) for each in part)  # type: ignore[arg-type] # see pack
                connection.send_packed_command([packed])  # type: ignore[no-untyped-call] # redis-py types it not
                replies += [_reply(connection) for _ in part]
        except Exception:
            connection.disconnect()  # type: ignore[no-untyped-call] # replies may be under way that nobody waits for
            raise
        finally:
            pool.release(connection)
        return replies

    def _exchange(self, command: bytes) -> Any:
        pool = self.client.connection_pool
        connection = pool.get_connection()
        try:
            connection.send_packed_command([command])  # type: ignore[no-untyped-call] # redis-py types it not
            return connection.read_response()
        finally:
            pool.release(connection)

    def _script(self, name: str) -> Script:
        known = self._scripts.get(name)
        if known is None:
            known = self._scripts[name] = self.client.register_script(_text(name))
        return known

    def call(self, script: str, *args: Value) -> Any:
        """Run one of ``common/redis_store/lua`` with the prefix put before ``args``; the reply as Redis gives it.

        Raises:
            redis.RedisError: Redis did not answer, or the script refused. A reply that was lost is the
                caller's to resolve: each script says in its header what a repetition does.
        """
        return self._script(script)(keys=[self.keys.own("fence")], args=[self.keys.prefix, *args])


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        if str(error).startswith("WRONGTYPE"):
            return None
        raise


def pack(values: Sequence[Value]) -> bytes:
    """The values as Redis' protocol writes them within a command (RESP2 bulk strings)."""
    packed: bytes = hiredis.pack_command(tuple(values))  # type: ignore[arg-type] # hiredis' type says one value
    return packed[packed.index(b"\r\n") + 2 :]


def rq_instant(instant: datetime) -> str:
    """The instant, aware UTC, in RQ's own form (rq.utils.utcformat)."""
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def text(value: bytes | str | None) -> str:
    """A reply's value as text; None as the empty string. Our values are ASCII or UTF-8."""
    if value is None:
        return ""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
