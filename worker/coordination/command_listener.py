"""The command listener: receives RQ's commands (``stop-job``, ``shutdown`` …), whatever becomes of any of them.

RQ's own command thread ends at the first time-out. A command that is published while this one does not listen is not
lost for good: a stop also stands in the run's hash, which is read with each heartbeat.
"""

import threading
from collections.abc import Callable

import structlog
from redis import Redis
from redis.exceptions import RedisError

from kuber_cron.common.observability.outage_log import OutageLog
from kuber_cron.worker.coordination.rq_codec import WorkerCommand

log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.5
_AFTER_ERROR_SECONDS = 0.5


class CommandListener:
    """Listens on one channel, in a thread of its own."""

    def __init__(
        self,
        client: "Redis",
        channel: str,
        on_command: Callable[[WorkerCommand], None],
        outage: OutageLog,
    ) -> None:
        """``on_command`` is called in the listener's thread for each command."""
        self._client = client
        self._channel = channel
        self._on_command = on_command
        self._outage = outage

    def run(self, done: threading.Event) -> None:
        """Listen until ``done``."""
        while not done.is_set():
            try:
                self._listen(done)
            except RedisError as error:
                if not done.is_set():
                    self._outage.failed("listening for commands failed: Redis unreachable", error)
                done.wait(_AFTER_ERROR_SECONDS)
            except Exception:
                # RQ's stop command arrives here alone: the loop has to go on.
                log.exception("listening for commands failed")
                done.wait(_AFTER_ERROR_SECONDS)

    def _listen(self, done: threading.Event) -> None:
        with self._client.pubsub(ignore_subscribe_messages=True) as pubsub:  # type: ignore[no-untyped-call] # redis-py types it not
            pubsub.subscribe(self._channel)
            while not done.is_set():
                message = pubsub.get_message(timeout=_POLL_SECONDS)
                if message is not None:
                    self._receive(message["data"])

    def _receive(self, data: bytes) -> None:
        try:
            command = WorkerCommand.from_message(data)
            log.info("command received", command=command.name, run=command.run_id or None)
            self._on_command(command)
        except Exception:
            # A malformed command must not keep the worker from the others.
            log.exception("command failed", data=data[:200])
