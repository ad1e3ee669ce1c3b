"""The ear: hears RQ's commands (``stop-job``, ``shutdown`` …) and is not deafened by any of them.

RQ's own command thread dies at the first time-out. What is said while nobody listens is not lost for good: a stop also
stands in the run's hash, which is read with each heartbeat.
"""

import threading
from collections.abc import Callable

import structlog
from redis import Redis
from redis.exceptions import RedisError

from kuber_cron.worker.coordination.rq_registration import WorkerCommand

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.5
_AFTER_ERROR_SECONDS = 0.5


class CommandListener:
    """Listens on one channel until it is told to end."""

    def __init__(self, client: "Redis", channel: str, obey: Callable[[WorkerCommand], None]) -> None:
        """``obey`` is called in the ear's thread for each command."""
        self._client = client
        self._channel = channel
        self._obey = obey

    def run(self, done: threading.Event) -> None:
        """Listen until ``done``."""
        while not done.is_set():
            try:
                self._listen(done)
            except RedisError as error:
                if not done.is_set():
                    log.warning("not listening for commands", error=str(error))
                done.wait(_AFTER_ERROR_SECONDS)
            except Exception:
                # RQ's stop command is heard here alone: the loop has to go on.
                log.exception("listening for commands failed")
                done.wait(_AFTER_ERROR_SECONDS)

    def _listen(self, done: threading.Event) -> None:
        with self._client.pubsub(ignore_subscribe_messages=True) as pubsub:  # type: ignore[no-untyped-call] # redis-py types it not
            pubsub.subscribe(self._channel)
            while not done.is_set():
                message = pubsub.get_message(timeout=_LOOK_SECONDS)
                if message is not None:
                    self._hear(message["data"])

    def _hear(self, data: bytes) -> None:
        try:
            command = WorkerCommand.from_message(data)
            log.info("command received", command=command.word, run=command.run or None)
            self._obey(command)
        except Exception:
            # A malformed command must not make the worker deaf.
            log.exception("a command failed", said=data[:200])
