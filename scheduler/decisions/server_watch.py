"""The watch over the server: asks once a second if Redis is still the one that was compared, with all that it had counted.

Decisions compare as well, but a leader to which nothing is due makes none: a Redis that lacks the last second, restored or
promoted, would stay unnoticed for hours, and so would the runs that it has lost (spec: reliability.md §8).

What it does *not* do: repair. A smaller count, or another epoch, ends the term like a refused decision; another server or
history only makes the decider begin anew, which compares every cursor.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from redis.exceptions import RedisError, ResponseError

from kuber_cron.common.records.parsing import number, text
from kuber_cron.common.redis_store.redis_clock import RedisClock
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.scheduler.decisions.script_replies import refuse
from kuber_cron.scheduler.election.term import Term

log = structlog.get_logger(__name__)

WATCH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """The identity of a server and of the history that it serves; empty where INFO is closed.

    Attributes:
        run_id: New with each start of the server.
        history: The replication id, which a promotion and a resynchronisation change.
        role: ``master`` or ``slave``.
    """

    run_id: str = ""
    history: str = ""
    role: str = ""

    @classmethod
    def of(cls, server: Mapping[str, Any], replication: Mapping[str, Any]) -> "ServerIdentity":
        """Read these two sections of INFO; one that is closed is empty."""
        found = (server.get("run_id"), replication.get("master_replid"), replication.get("role"))
        return cls(*(str(value or "") for value in found))


class ServerWatch:
    """The server that a term's cursors were read from. Owned by the deciding loop."""

    def __init__(self, store: Store, clock: RedisClock) -> None:
        self._store = store
        self._clock = clock
        self._identity = ServerIdentity()
        self._asked_at = clock.elapsed()

    def begin(self) -> None:
        """Remember the server, before anything is read from it.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        self._identity = self._ask()[0]

    def compared(self, *, has_lost: bool) -> None:
        """Record in the fence which server was compared, and when it was found to have lost writes.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        fence, run_id = self._store.keys.fence, self._identity.run_id
        before = text(self._store.client.hget(fence, "server"))
        if run_id and run_id != before:
            if before:
                log.warning("redis was restarted since the last term", before=before, now=run_id)
            self._store.client.hset(fence, "server", run_id)
        if has_lost:
            self._store.client.hset(fence, "lost_at", int(self._clock.now().timestamp() * 1000))

    def is_another(self, term: Term, through: int) -> bool:
        """Return True if Redis may be another than the one that was compared; asked at most once a second.

        Args:
            term: Ours.
            through: How many decisions Redis was last known to hold.

        Raises:
            FencedError, StateLostError: The term is over.
            redis.RedisError: Redis did not answer.
        """
        if self._clock.elapsed() < self._asked_at + WATCH_SECONDS:
            return False
        identity, epoch, stored = self._ask()
        if epoch != term.epoch:
            refuse(["LOST" if epoch < term.epoch else "FENCED", "epoch", str(epoch or "")], term)
        if stored < through:
            refuse(["LOST", "through", str(stored)], term)
        if identity == self._identity:
            return False
        log.warning("redis may be another: the cursors are compared", before=self._identity, now=identity)
        return True

    def _ask(self) -> tuple[ServerIdentity, int, int]:
        """Return the server, the epoch in its fence, and how many decisions it has counted."""
        with self._store.client.pipeline(transaction=False) as pipe:
            pipe.info("server")
            pipe.info("replication")
            pipe.hmget(self._store.keys.fence, "epoch", "through")
            server, replication, fence = pipe.execute(raise_on_error=False)
        self._asked_at = self._clock.elapsed()
        if isinstance(fence, RedisError):
            raise fence
        identity = ServerIdentity.of(_fields(server), _fields(replication))
        epoch, through = (number(text(value)) if value else 0 for value in fence)
        return identity, epoch, through


def _fields(info: Any) -> dict[str, Any]:  # a reply of redis-py, or the error in its place
    if isinstance(info, RedisError):
        if not isinstance(info, ResponseError):
            raise info
        return {}  # INFO is closed to us: the count of decisions has to do
    return dict(info)
