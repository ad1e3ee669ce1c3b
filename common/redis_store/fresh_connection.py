"""A fresh connection beside those of a process: where it can do what they cannot, only a restart helps.

While every call of the process fails, a thread of its own connects anew, with the name looked up again, and does what each
script does. If Redis is away, full, a replica or refuses, that fails too, and a restart would mend nothing. If it succeeds
again and again while the process goes on failing, the process itself is stuck, in whatever way nobody foresaw.
"""

import threading
from collections.abc import Callable

import structlog
from redis import Redis
from redis.exceptions import RedisError

from kuber_cron.common.errors import KuberCronError
from kuber_cron.common.observability.health import OK
from kuber_cron.common.redis_store import server_check
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.common.redis_store.scripts import Store

log = structlog.get_logger(__name__)

FAILING_SECONDS = 60.0
"""A fresh connection is tried after every call has failed for this long."""
PROBE_SECONDS = 5.0
SUCCESSES = 3
"""So many in a row, while the process goes on failing, prove that it is stuck."""


class FreshConnectionCheck:
    """The comparison of one process; ``start`` it, and ask ``check``."""

    def __init__(
        self, connect: Callable[[], "Redis"], keys: Keys, failing_seconds: Callable[[], float]
    ) -> None:
        """Compare nothing yet.

        Args:
            connect: Gives a client without retries that is closed after use.
            keys: The installation's.
            failing_seconds: For how long every call of one of the process' loops has failed.
        """
        self._connect = connect
        self._keys = keys
        self._failing_seconds = failing_seconds
        self._successes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fresh-connection", daemon=True)

    def start(self) -> None:
        """Compare in a thread until ``stop``."""
        self._thread.start()

    def stop(self) -> None:
        """Compare no more."""
        self._stop.set()

    def check(self) -> str:
        """Return ``ok``, or that this process fails where a fresh connection does not."""
        seconds = self._failing_seconds()
        if self._successes < SUCCESSES or seconds < FAILING_SECONDS:
            return OK
        return (
            f"every call of this process has failed for {seconds:.0f} s, and Redis answers fresh connections"
        )

    def probe(self) -> None:
        """Try a fresh connection, where every call of the process fails."""
        if self._failing_seconds() < FAILING_SECONDS:
            self._successes = 0
            return
        try:
            with self._connect() as client:
                server_check.check_access(Store(client, self._keys))
        except (KuberCronError, RedisError):
            self._successes = 0
        else:
            self._successes += 1
            if self._successes == SUCCESSES:
                log.error("this process is stuck: Redis answers a fresh connection, and none of its calls")

    def _run(self) -> None:
        while not self._stop.wait(PROBE_SECONDS):
            try:
                self.probe()
            except Exception:
                # The process is judged by what is known; it must not be judged by a fault of the judge.
                self._successes = 0
                log.exception("trying a fresh connection failed")
