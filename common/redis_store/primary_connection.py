"""Connections that are given up as soon as a server says that it is not the primary (any more).

An address may move: a DNS name, a virtual IP, a Service of Kubernetes. After a planned failover the demoted server goes on
serving the connections that it has, and refuses each write on them, for as long as they are kept. So an answer which says
that this is not the primary outdates every connection of this process to the address: the one that got it, idle ones, those
that only read or listen. Each is made anew before its next use, and the name is looked up again for it.

NOREPLICAS counts, too. A primary that has lost its replicas may have been replaced; to connect again costs a round trip.

A new connection asks for the server's role (HELLO, one round trip), unless it is only for reading: an address that has
not moved yet, or leads to a replica, is an error at once and never a connection that is kept.

What this does not notice: an address that moves away from a server which goes on as a primary.
"""

import re
from typing import Any

from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MasterDownError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection

from kuber_cron.common.errors import RedisUnreachableError

# By code, or within the text of a script's error (Redis 6: "… @user_script: 12: -READONLY You can't write …").
_NOT_PRIMARY = re.compile(r"(?:^|[ -])(?:READONLY|MASTERDOWN|NOREPLICAS|UNBLOCKED)\b")
PRIMARY = b"master"
"""The role of a primary, in a server's words."""


def is_not_primary(error: Exception) -> bool:
    """Return True where a server's answer says that it is, or may be, the primary no more."""
    if isinstance(error, ReadOnlyError | MasterDownError):  # redis-py has taken the code out of their text
        return True
    return isinstance(error, ResponseError) and bool(_NOT_PRIMARY.search(str(error)))


def is_unanswered(error: Exception) -> bool:
    """Return True where a call was not answered, or not by a primary: the way is at fault, and not what was asked."""
    return isinstance(
        error, RedisConnectionError | RedisTimeoutError | RedisUnreachableError
    ) or is_not_primary(error)


def role_of(hello: Any) -> bytes | None:
    """Return the role that a reply to HELLO tells, undecoded; None where it tells none."""
    facts = dict(zip(hello[0::2], hello[1::2], strict=False)) if isinstance(hello, list) else hello
    return facts.get(b"role") if isinstance(facts, dict) else None


class KnownAddress:
    """An address as all connections of this process have met it.

    Attributes:
        generation: Raised when the server there was found not to be the primary; older connections are outdated.
    """

    def __init__(self) -> None:
        self.generation = 0

    def outdate(self, generation: int) -> None:
        """Outdate all connections up to this generation; what has been connected since is left alone."""
        self.generation = max(self.generation, generation + 1)


_ADDRESSES: dict[str, KnownAddress] = {}


def address_named(name: str) -> KnownAddress:
    """Return the address of this name, the same one for each pool of the process."""
    return _ADDRESSES.setdefault(name, KnownAddress())


class _ToPrimary:
    """The part that all kinds of connections share. ``asks_role``: a replica is refused when connecting."""

    _sock: Any

    def __init__(self, *, address: KnownAddress, asks_role: bool, **options: Any) -> None:
        self._address = address
        self._asks_role = asks_role
        self._generation = address.generation
        super().__init__(**options)

    def connect(self) -> None:
        """Connect where there is no connection, or an outdated one."""
        if self._sock is not None and self._is_outdated():
            self.disconnect()  # type: ignore[attr-defined] # the other base has it
        super().connect()  # type: ignore[misc] # the same

    def connect_check_health(self, *args: Any, **options: Any) -> None:
        """Connect where there is no connection."""
        if self._sock is None:
            self._generation = self._address.generation  # before, for what is found out meanwhile counts
        super().connect_check_health(*args, **options)  # type: ignore[misc] # the same

    def on_connect_check_health(self, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's signature
        """Authenticate and select the database, then ask whether this is the primary.

        Raises:
            ReadOnlyError: The server is a replica.
        """
        super().on_connect_check_health(check_health=check_health)  # type: ignore[misc] # the same
        if self._asks_role and self._role() not in {PRIMARY, None}:
            raise ReadOnlyError("the server that the address leads to is not the primary")

    def _role(self) -> bytes | None:
        """Return the server's role; None where it does not say (an ACL or a proxy without HELLO)."""
        self.send_command("HELLO", check_health=False)  # type: ignore[attr-defined] # the same
        try:
            return role_of(self.read_response(disable_decoding=True))
        except ResponseError:
            return None

    def should_reconnect(self) -> bool:
        """Return True where the connection is to be made anew: asked on its release, and by listeners before each use."""
        return self._is_outdated() or bool(super().should_reconnect())  # type: ignore[misc] # the same

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Read a reply. One that says that this is not the primary outdates the connection.

        The connection is left open until it is released, because further replies of a pipeline may be under way.
        """
        try:
            return super().read_response(*args, **options)  # type: ignore[misc] # the same
        except ResponseError as error:
            if is_not_primary(error):
                self._address.outdate(self._generation)
            raise

    def _is_outdated(self) -> bool:
        return self._generation < self._address.generation


class PrimaryConnection(_ToPrimary, Connection):
    """A TCP connection."""


class PrimarySSLConnection(_ToPrimary, SSLConnection):
    """A TLS connection."""


class PrimaryUnixConnection(_ToPrimary, UnixDomainSocketConnection):
    """A connection over a socket of this machine."""


class PrimarySentinelConnection(_ToPrimary, SentinelManagedConnection):
    """A TCP connection to the primary that the sentinels name."""


class PrimarySentinelSSLConnection(_ToPrimary, SentinelManagedSSLConnection):
    """The same over TLS."""


CONNECTION_CLASSES: dict[type[Any], type[Any]] = {
    Connection: PrimaryConnection,
    SSLConnection: PrimarySSLConnection,
    UnixDomainSocketConnection: PrimaryUnixConnection,
}
"""By redis-py's class of connection, ours."""
