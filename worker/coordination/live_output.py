"""Live output: publishes to Redis what running commands have written so far, for readers elsewhere.

One key for each attempt, ``output:<execution>`` (the run's hash names its execution), holds both ends of its output so
far as JSON (:meth:`Excerpt.to_fields`, beside run, job and attempt), with a ttl. It is written about once a second where
something has changed, for all attempts in one exchange, and deleted soon after the attempt's result is recorded.

What this does *not* guarantee: that a reader who polls once a second sees the middle of a flood (``Excerpt.since`` has a
piece for the gap), or anything while Redis is away. No command ever waits for this.
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

TTL_SECONDS = 60  # a dead worker's last output stays this long
_INTERVAL_SECONDS = 1.0
_REFRESH_SECONDS = TTL_SECONDS / 3
# In one exchange. What is left is published at the next interval, the longest unpublished first.
_EXCHANGE_BYTES = 2 * 1024 * 1024

log = structlog.get_logger(__name__)


class LiveOutput:
    """Publishes running commands' output from a thread of its own."""

    def __init__(
        self,
        client: "Redis",
        keys: Keys,
        *,
        running: Callable[[], Sequence[RunningCommand]],
        is_running: Callable[[str], bool],
        clock: Clock,
    ) -> None:
        """Publishes nothing yet.

        Args:
            client: Without retries, because the next interval publishes anew what failed.
            keys: The names of Redis' keys.
            running: Returns the commands that run now; for any thread.
            is_running: False once the result of this execution id is recorded.
            clock: For the intervals.
        """
        self._client = client
        self._keys = keys
        self._running = running
        self._is_running = is_running
        self._clock = clock
        self._published: dict[str, tuple[float, int]] = {}  # execution → when, and how many bytes there were
        self._is_failing = False

    def run(self, done: threading.Event) -> None:
        """Publish until ``done``; then delete what was published, if Redis takes it."""
        while not done.wait(_INTERVAL_SECONDS):
            self.publish_changes()
        with suppress(RedisError):
            self._delete(list(self._published))

    def publish_changes(self) -> None:
        """Publish what has changed, within bounds. Never raises."""
        try:
            self._publish(self._due(self._clock.elapsed()))
            self._delete([execution for execution in self._published if not self._is_running(execution)])
            self._is_failing = False
        except RedisError as error:
            if not self._is_failing:
                log.warning("publishing live output failed: Redis unreachable", error=str(error))
            self._is_failing = True
        except Exception:
            # A view for people must not cost the worker anything.
            log.exception("publishing live output failed")

    def _due(self, now: float) -> list[RunningCommand]:
        """Return the commands whose output has changed or would expire, the longest unpublished first."""
        due = []
        for command in self._running():
            published = self._published.get(command.launch.execution_id)
            if published is None:
                if command.output_bytes:
                    due.append((0.0, command))
            elif command.output_bytes != published[1] or now - published[0] >= _REFRESH_SECONDS:
                due.append((published[0], command))
        return [command for _, command in sorted(due, key=lambda pair: pair[0])]

    def _publish(self, due: Sequence[RunningCommand]) -> None:
        if not due:
            return
        now, size = self._clock.elapsed(), 0
        published = {}
        with self._client.pipeline(transaction=False) as pipe:
            for command in due:
                count, document = command.output_bytes, _document(command)
                size += len(document)
                if size > _EXCHANGE_BYTES:
                    break
                pipe.set(self._key(command.launch.execution_id), document, ex=TTL_SECONDS)
                published[command.launch.execution_id] = (now, count)
            pipe.execute()
        self._published.update(published)

    def _delete(self, executions: Sequence[str]) -> None:
        if not executions:
            return
        try:
            self._client.delete(*[self._key(execution) for execution in executions])
        finally:  # whatever became of it: the keys have a ttl
            for execution in executions:
                del self._published[execution]

    def _key(self, execution: str) -> str:
        return self._keys.output(execution)


def _document(command: RunningCommand) -> bytes:
    launch = command.launch
    about = {"run": launch.run_id, "job": launch.job, "attempt": launch.attempt}
    return json.dumps({**about, **command.excerpt().to_fields()}, ensure_ascii=False).encode()
