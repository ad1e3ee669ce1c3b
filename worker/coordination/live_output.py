"""Following: what running commands have said so far is in Redis, for whoever wants to watch from elsewhere.

One key for each attempt, ``output:<execution>`` (the run's hash names its execution): both ends of its output so
far as JSON (:meth:`Excerpt.to_fields`, beside run, job and attempt), with a ttl. It is written about once a second
where something has changed, for all attempts in one exchange, and is gone soon after the attempt's result is there.

What this does *not* guarantee: that somebody who looks once a second sees the middle of a flood (``since`` tells of
the gap), or anything while Redis is away. No command ever waits for this.
"""

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog
from redis import Redis
from redis.exceptions import RedisError

from kuber_cron.common.clock import Clock
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.worker.execution.launch import RunningCommand

TTL_SECONDS = 60  # a dead worker's last words stay this long
_PAUSE_SECONDS = 1.0
_REFRESH_SECONDS = TTL_SECONDS / 3
_TURN_BYTES = (
    2 * 1024 * 1024
)  # in one exchange; what is left is told at the next turn, the longest untold first

log = structlog.get_logger(__name__)


class LiveOutput:
    """Tells Redis, from a thread of its own, what running commands have said."""

    def __init__(
        self,
        client: "Redis",
        keys: Keys,
        *,
        running: Callable[[], Sequence[RunningCommand]],
        is_held: Callable[[str], bool],
        clock: Clock,
    ) -> None:
        """Nothing is told yet.

        Args:
            client: A failed exchange is not worth a retry: the next turn says it anew.
            keys: Where.
            running: The commands that run now; for any thread.
            is_held: Whether the end of this execution has not been recorded yet.
            clock: For the pace.
        """
        self._client = client
        self._keys = keys
        self._running = running
        self._is_held = is_held
        self._clock = clock
        self._told: dict[str, tuple[float, int]] = {}  # execution → when, and how many bytes there were
        self._is_refused = False

    def run(self, done: threading.Event) -> None:
        """Tell until ``done``; nothing of ours is left in Redis then, if Redis takes it."""
        while not done.wait(_PAUSE_SECONDS):
            self.turn()
        with suppress(RedisError):
            self._forget(list(self._told))

    def turn(self) -> None:
        """What has changed is told, within bounds. Never raises."""
        try:
            self._tell(self._due(self._clock.elapsed()))
            self._forget([execution for execution in self._told if not self._is_held(execution)])
            self._is_refused = False
        except RedisError as error:
            if not self._is_refused:
                log.warning("what commands say cannot be followed meanwhile", error=str(error))
            self._is_refused = True
        except Exception:
            # A view for people must not cost the worker anything.
            log.exception("what commands say could not be told")

    def _due(self, now: float) -> list[RunningCommand]:
        """Whose output has changed since it was told, or would expire; the longest untold first."""
        due = []
        for one in self._running():
            told = self._told.get(one.launch.execution_id)
            if told is None:
                if one.output_bytes:
                    due.append((0.0, one))
            elif one.output_bytes != told[1] or now - told[0] >= _REFRESH_SECONDS:
                due.append((told[0], one))
        return [one for _, one in sorted(due, key=lambda pair: pair[0])]

    def _tell(self, due: Sequence[RunningCommand]) -> None:
        if not due:
            return
        now, size = self._clock.elapsed(), 0
        told = {}
        with self._client.pipeline(transaction=False) as pipe:
            for one in due:
                count, document = one.output_bytes, _document(one)
                size += len(document)
                if size > _TURN_BYTES:
                    break
                pipe.set(self._key(one.launch.execution_id), document, ex=TTL_SECONDS)
                told[one.launch.execution_id] = (now, count)
            pipe.execute()
        self._told.update(told)

    def _forget(self, executions: Sequence[str]) -> None:
        if not executions:
            return
        try:
            self._client.delete(*[self._key(execution) for execution in executions])
        finally:  # whatever became of it: the ttl is there
            for execution in executions:
                del self._told[execution]

    def _key(self, execution: str) -> str:
        return self._keys.output(execution)


def _document(one: RunningCommand) -> bytes:
    launch = one.launch
    about = {"run": launch.run_id, "job": launch.job, "attempt": launch.attempt}
    return json.dumps({**about, **one.excerpt().to_fields()}, ensure_ascii=False).encode()
