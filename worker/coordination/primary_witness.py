"""The witness: a connection that can tell whether the primary takes nobody's writes, or only not ours.

``OOM``, ``MISCONF`` and ``BUSY`` are answers that a primary gives to everybody. While it gives them no leader can take a run
away, so a worker need not end its commands. But an answer alone proves little: the address may have moved to another
server. So this connection is opened while heartbeats are acknowledged, to the server that acknowledges them (its run id is
compared), and is kept. When a write is refused, it sends a write of its own and then asks for the role, both on the same
connection. A connection that has broken proves nothing any more.

What this does *not* see: a primary that is cut off from a Sentinel which has promoted another. ``min-replicas-to-write`` is
for that: such a primary answers ``NOREPLICAS``, which never counts.
"""

import re
from collections.abc import Sequence
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import OutOfMemoryError, RedisError

from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.primary_connection import PRIMARY, role_of

log = structlog.get_logger(__name__)

# A script of Redis before version 7 puts its own words before the error's.
_REFUSAL = re.compile(r"(^|[\s:]-?)(OOM|MISCONF|BUSY) ")


def takes_no_writes(error: Exception) -> bool:
    """Return True for an answer that a primary gives to all who write."""
    return isinstance(error, OutOfMemoryError) or _REFUSAL.search(str(error)) is not None


class PrimaryWitness:
    """One connection to the primary that acknowledges heartbeats. For one thread."""

    def __init__(self, client: "Redis", probe: Sequence[str | int]) -> None:
        """Keep nothing yet.

        Args:
            client: A client whose pool gives the connection; without retries.
            probe: A write that changes nothing which matters, and that is refused as a heartbeat's writes are.
        """
        self._client = client
        self._probe = probe
        self._connection: Any = None
        self._run_id = ""

    def acknowledged_by(self, heartbeats: "Redis") -> None:
        """Keep a connection to the server that has just acknowledged a heartbeat on this client. Never raises."""
        try:
            run_id = _run_id(heartbeats.info("server"))
            if self._connection is not None and self._run_id == run_id and self._is_open():
                return
            self._drop()
            self._connection = self._client.connection_pool.get_connection()
            self._run_id = run_id
            if not self._is_open():
                self._drop()
        except RedisError as error:
            self._drop()
            log.debug("no witness of the primary", error=str(error))

    def sees_all_writes_refused(self) -> bool:
        """Return True where the server of the last acknowledged heartbeat is a primary that takes no writes. Never raises."""
        if self._connection is None:
            return False
        try:
            self._ask(*self._probe)
        except RedisError as error:
            if not takes_no_writes(error):
                self._drop()
                return False
        else:
            return False  # it takes ours, so it takes others' too
        try:
            return role_of(self._ask("HELLO")) == PRIMARY
        except RedisError:
            self._drop()
            return False

    def close(self) -> None:
        """Close the connection."""
        self._drop()

    def _is_open(self) -> bool:
        """Return True where the connection still leads to the server whose run id is known."""
        return _run_id(_parsed_info(self._ask("INFO", "server"))) == self._run_id

    def _ask(self, *command: str | int) -> Any:
        self._connection.send_command(*command)
        return self._connection.read_response()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
            self._client.connection_pool.release(connection)


def _parsed_info(reply: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in reply.decode(errors="replace").splitlines())
    return {name: value.strip() for name, _, value in lines}


def _run_id(info: Any) -> str:
    return text(info.get("run_id"))
