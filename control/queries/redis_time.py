"""Redis' time: the clock that requests, pauses and ages are counted by, the same for every operator."""

from datetime import UTC, datetime
from typing import Any

from kuber_cron.common.redis_store.scripts import Store


def now(store: Store) -> datetime:
    """Return Redis' time, aware UTC."""
    return of_reply(store.client.time())


def of_reply(reply: Any) -> datetime:
    """Return the instant of a reply to ``TIME``: seconds, and microseconds of the second."""
    seconds, micro = reply
    return datetime.fromtimestamp(int(seconds) + int(micro) / 1e6, UTC)
