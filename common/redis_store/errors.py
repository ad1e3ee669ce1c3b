"""redis-py's errors as ours: which server, what went wrong, and the remedy."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import redis
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    InvalidResponse,
    MaxConnectionsError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
)
from redis.sentinel import MasterNotFoundError

from kuber_cron.common.errors import KuberCronError, RedisRefusedError, RedisUnreachableError
from kuber_cron.common.observability.redaction import redacted
from kuber_cron.common.redis_store.connections import address_of


@contextmanager
def translated(client: redis.Redis) -> Iterator[None]:
    """Raise redis-py's errors of the block as ours, with the server's address and a remedy."""
    try:
        yield
    except redis.RedisError as error:
        raise _translation(error, address_of(client)) from error


def _translation(error: redis.RedisError, address: str) -> KuberCronError:
    """Return our error for redis-py's: unreachable (a retry may help) or refused (somebody has to change something)."""
    said = str(error)
    if isinstance(error, MasterNotFoundError):
        said = said.partition(" : ")[0]  # the rest is the whole configuration of each sentinel's client
    said = redacted(said) or type(error).__name__
    for kinds, sentence, hint in _REFUSALS:
        if isinstance(error, kinds):
            return RedisRefusedError(f"Redis at {address} {sentence}: {said}", hint=hint)
    for kinds, sentence, hint in _ABSENCES:
        if isinstance(error, kinds):
            return RedisUnreachableError(f"Redis at {address} {sentence}: {said}", hint=hint)
    if isinstance(error, redis.ConnectionError):
        if "SSL" in said or "certificate" in said:
            return RedisUnreachableError(
                f"no TLS with Redis at {address}: {said}",
                hint="rediss:// needs a TLS port; name the server's CA by KUBER_CRON_REDIS_CA_FILE",
            )
        return RedisUnreachableError(
            f"Redis at {address} is unreachable: {said}",
            hint="is it running, and is the address right? --redis-url or KUBER_CRON_REDIS_URL",
        )
    return RedisRefusedError(f"Redis at {address} refused: {said}")


_Translation = tuple[tuple[type[Exception], ...], str, str]
# Order matters: in redis-py authentication, loading and too many clients are kinds of ConnectionError.
_REFUSALS: Sequence[_Translation] = (
    (
        (AuthenticationError, AuthorizationError),
        "does not accept the credentials",
        "set user and password: redis://user@host and KUBER_CRON_REDIS_PASSWORD_FILE",
    ),
    (
        (NoPermissionError,),
        "does not permit a command",
        "extend the user's ACL: ~rq:* &rq:* +@all -@dangerous +info +keys (or the instance's name for rq)",
    ),
    ((OutOfMemoryError,), "is out of memory", "raise its maxmemory, or let job histories be shorter"),
    (
        (ReadOnlyError,),
        "is a replica, which takes no writes",
        "give the primary's address, or a redis+sentinel:// URL",
    ),
)
_ABSENCES: Sequence[_Translation] = (
    ((BusyLoadingError,), "is loading its data", "it will answer when that is done"),
    ((MaxConnectionsError,), "was not asked: all connections of the pool are in use", "report this as a bug"),
    ((redis.TimeoutError,), "did not answer in time", "is the network, or the server's machine, overloaded?"),
    (
        (MasterNotFoundError,),
        "is not known to any sentinel",
        "are the sentinels running, and is the name right?",
    ),
    (
        (InvalidResponse,),
        "does not answer as a Redis does",
        "is this port another server's, or one that expects TLS?",
    ),
)
