"""The worker's entry among RQ's workers: registration, heartbeats, suspension.

``BaseWorker`` is used for what it writes about a worker; none of its loops, clean-ups, horses or threads is started. It
has a connection pool of its own, because it raises its pool's time-out to 415 s.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from redis import Redis
from rq.command import PUBSUB_CHANNEL_TEMPLATE
from rq.serializers import JSONSerializer
from rq.suspension import is_suspended
from rq.worker import WorkerStatus
from rq.worker.base import BaseWorker

from kuber_cron.common.redis_store.errors import translated
from kuber_cron.common.time_format import rq_instant


class RqRegistration(BaseWorker):
    """The worker's entry among RQ's workers, which ``rq info`` and rq-dashboard show as any other."""

    def __init__(
        self,
        queues: Sequence[str],
        name: str,
        connection: "Redis",
        ttl_seconds: float,
        details: Mapping[str, str | int] | None = None,
    ) -> None:
        """``details``: fields of the entry beside RQ's own. RQ names the connection at once.

        Raises:
            RedisUnreachableError: Redis did not answer.
        """
        self._details = dict(details or {})
        options = connection.connection_pool.connection_kwargs
        socket_timeout = options.get("socket_timeout")
        with translated(connection):
            super().__init__(
                list(queues),
                name=name,
                connection=connection,
                worker_ttl=max(1, round(ttl_seconds)),
                serializer=JSONSerializer,
            )
        # RQ has raised it for a blocking dequeue that is never called; a hanging answer would hold up the heartbeats.
        options["socket_timeout"] = socket_timeout

    def register(self, now: datetime) -> None:
        """Register the worker with RQ, at Redis' time."""
        self.register_birth()  # type: ignore[no-untyped-call] # RQ types it not
        self.set_state(WorkerStatus.IDLE)
        at = rq_instant(now)  # RQ has written the machine's own
        mapping = {**self._details, "birth": at, "last_heartbeat": at}
        self.connection.hset(self.key, mapping=mapping)  # type: ignore[arg-type] # redis-py's is invariant

    def send_heartbeat(
        self,
        now: datetime,
        *,
        busy: bool,
        succeeded: int,
        failed: int,
        working_seconds: float,
        draining: bool = False,
        problem: str = "",
    ) -> None:
        """Refresh the entry, with what the worker has done so far; make it anew where Redis has lost it.

        ``problem``: why the worker claims nothing.
        """
        with self.connection.pipeline(transaction=False) as pipe:
            self.heartbeat(pipeline=pipe)
            pipe.hset(
                self.key,
                mapping={
                    "last_heartbeat": rq_instant(now),
                    "state": (WorkerStatus.BUSY if busy else WorkerStatus.IDLE).value,
                    "successful_job_count": succeeded,
                    "failed_job_count": failed,
                    "total_working_time": working_seconds,
                    "draining": int(draining),
                    "problem": problem,
                },
            )
            known = pipe.execute()
        if known[0] == 1:
            # The heartbeat made the hash anew: Redis has lost the entry. A birth refuses a name that is taken.
            self.connection.delete(self.key)
            self.register(now)

    def deregister(self) -> None:
        """Deregister the worker from RQ."""
        self.register_death()  # type: ignore[no-untyped-call] # RQ types it not

    def is_suspended(self) -> bool:
        """Return True after ``rq suspend``."""
        return bool(is_suspended(self.connection, self))

    @property
    def channel(self) -> str:
        """The channel on which RQ's commands for this worker are published."""
        return str(PUBSUB_CHANNEL_TEMPLATE % self.name)
