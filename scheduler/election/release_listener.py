"""The listener of a standby for released leases: a hand-over then takes milliseconds and not a retry's pause."""

import threading
from collections.abc import Callable

import structlog
from redis import Redis
from redis.exceptions import RedisError

from kuber_cron.common.redis_store.keys import Keys

log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.2  # how soon the listener notices that it is to end
_PAUSE_SECONDS = 1.0  # after Redis could not be listened to


class ReleaseListener:
    """Calls ``on_release`` when a leader has released the lease. A missed message costs one retry's pause, no more."""

    def __init__(self, connect: Callable[[], "Redis"], keys: Keys, on_release: Callable[[], None]) -> None:
        """``connect`` gives a client of its own."""
        self._connect = connect
        self._channel = keys.released
        self._on_release = on_release
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-releases", daemon=True)

    def start(self) -> None:
        """Listen until ``stop``."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more. Idempotent."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._connect() as client, client.pubsub(ignore_subscribe_messages=True) as listener:
                    listener.subscribe(self._channel)
                    while not self._stop.is_set():
                        if listener.get_message(timeout=_POLL_SECONDS) is not None:
                            self._on_release()
            except RedisError:
                # The election logs that Redis is away; this only makes a hand-over quicker.
                self._stop.wait(_PAUSE_SECONDS)
            except Exception:
                log.exception("listening for released leases failed")
                self._stop.wait(_PAUSE_SECONDS)
