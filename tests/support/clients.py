"""Clients that are closed in order: a socket that the garbage collector ends fails another test with a warning."""

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

import redis

from kuber_cron.common.redis_store import connections
from kuber_cron.common.redis_store.connections import Purpose


class Opens(Protocol):
    """``connections.open_client`` on one URL."""

    def __call__(self, purpose: Purpose = "deciding") -> redis.Redis:
        """Open a client."""


@contextlib.contextmanager
def clients(url: str, **options: Any) -> Iterator[Opens]:
    """Yield what opens clients on the URL; every one of them is closed at the end."""
    with contextlib.ExitStack() as stack:

        def opens(purpose: Purpose = "deciding") -> redis.Redis:
            client = connections.open_client(url, purpose, **options)
            stack.callback(client.close)
            return client

        yield opens
