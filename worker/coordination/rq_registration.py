"""The worker as RQ knows it: registered, with heartbeats, results and RQ's commands.

The only place that touches RQ's inner parts.

RQ's own hands are kept off: none of its loops, clean-ups, horses or threads is started. ``BaseWorker`` is used
for what it writes about a worker, on a pool of its own, for it raises its pool's time-out to 415 s.
"""

import json
import zlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from redis import Redis
from rq.command import PUBSUB_CHANNEL_TEMPLATE
from rq.results import Result
from rq.serializers import JSONSerializer
from rq.suspension import is_suspended
from rq.worker import WorkerStatus
from rq.worker.base import BaseWorker

from kuber_cron.common.runs import payload as runs
from kuber_cron.common.runs.payload import PayloadError
from kuber_cron.common.time_format import rq_instant
from kuber_cron.worker.execution.launch import AttemptResult

_RESULT_TYPES = {
    "finish": Result.Type.SUCCESSFUL,
    "fail": Result.Type.FAILED,
    "stop": Result.Type.STOPPED,
    "retry": Result.Type.RETRIED,
    "requeue": Result.Type.RETRIED,
    "return": Result.Type.RETRIED,
    "quarantine": Result.Type.FAILED,
}


class Registration(BaseWorker):
    """This worker's entry among RQ's workers: ``rq info`` and rq-dashboard show it as any other."""

    def __init__(
        self,
        queues: Sequence[str],
        name: str,
        connection: "Redis",
        ttl_seconds: float,
        about: Mapping[str, str | int] | None = None,
    ) -> None:
        """``about``: what people are told of it beside RQ's own fields."""
        self._about = dict(about or {})
        options = connection.connection_pool.connection_kwargs
        patience = options.get("socket_timeout")
        super().__init__(
            list(queues),
            name=name,
            connection=connection,
            worker_ttl=max(1, round(ttl_seconds)),
            serializer=JSONSerializer,
        )
        # RQ has raised it for a blocking dequeue that is never called: a hanging answer would hold up the heartbeats.
        options["socket_timeout"] = patience

    def enter(self) -> None:
        """Rq lists the worker from now on."""
        self.register_birth()  # type: ignore[no-untyped-call] # RQ types it not
        self.set_state(WorkerStatus.IDLE)
        if self._about:
            self.connection.hset(self.key, mapping=self._about)  # type: ignore[arg-type] # redis-py's is invariant

    def beat(
        self, *, busy: bool, succeeded: int, failed: int, working_seconds: float, draining: bool = False
    ) -> None:
        """The entry stays, with what the worker has done so far."""
        with self.connection.pipeline(transaction=False) as pipe:
            self.heartbeat(pipeline=pipe)
            pipe.hset(
                self.key,
                mapping={
                    "state": (WorkerStatus.BUSY if busy else WorkerStatus.IDLE).value,
                    "successful_job_count": succeeded,
                    "failed_job_count": failed,
                    "total_working_time": working_seconds,
                    "draining": int(draining),
                },
            )
            known = pipe.execute()
        if known[0] == 1:
            # The heartbeat made the hash anew: Redis has forgotten us. A birth refuses a name that is taken.
            self.connection.delete(self.key)
            self.enter()

    def leave(self) -> None:
        """Rq does not list the worker any more."""
        self.register_death()  # type: ignore[no-untyped-call] # RQ types it not

    def is_suspended(self) -> bool:
        """Whether somebody has said ``rq suspend``."""
        return bool(is_suspended(self.connection, self))

    @property
    def channel(self) -> str:
        """Where RQ's commands for this worker are published."""
        return str(PUBSUB_CHANNEL_TEMPLATE % self.name)


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """A command as RQ publishes it: ``stop-job``, ``stop-execution``, ``shutdown``, ``kill-horse``."""

    word: str
    run: str
    execution: str

    @classmethod
    def from_message(cls, data: bytes) -> "WorkerCommand":
        """The command in a message.

        Raises:
            ValueError: It is none.
        """
        values = json.loads(data)
        if not isinstance(values, dict) or "command" not in values:
            raise ValueError("a message without a command")
        return cls(
            str(values["command"]), str(values.get("job_id") or ""), str(values.get("execution_id") or "")
        )


def read(data: bytes, keys: Sequence[bytes], run: str) -> runs.Payload:
    """The payload in RQ's ``data`` field of this run, verified.

    Raises:
        PayloadError: As ``runs.decode``; ``signature`` also where it was made for another run, whose command whoever
            can write to Redis could otherwise have executed again under a new name.
    """
    payload = runs.decode(runs.arguments_in(data), keys)
    if payload.run != run:
        raise PayloadError(f"the payload was made for run {payload.run}", reason="signature")
    return payload


def result_fields(
    action: str,
    ended: AttemptResult,
    *,
    worker: str,
    attempt: int,
    ended_at: datetime,
    queued_at: datetime | None = None,
) -> list[str | int | float]:
    """RQ's result entry of an attempt, as name and value pairs: what rq-dashboard shows of it."""
    captured = ended.captured
    value: dict[str, Any] = {
        "outcome": ended.outcome.kind,
        "exit_code": ended.outcome.exit_code,
        "signal": ended.outcome.signal,
        "attempt": attempt,
        "queued_at": None if queued_at is None else rq_instant(queued_at),
        "seconds": round(ended.elapsed_seconds, 3),
        "cpu_seconds": round(ended.cpu_seconds, 3),
        "max_rss_bytes": ended.max_rss_bytes,
        "output_bytes": captured.total_bytes,
        "dropped_bytes": captured.dropped_bytes,
        "head": captured.head,
        "tail": captured.tail,
        "streams": captured.streams,
        "omitted_bytes": captured.omitted_bytes,
        "log": str(captured.log_path) if captured.log_path else None,
        "warnings": list(ended.warnings),
    }
    fields: list[str | int | float] = [
        "type", _RESULT_TYPES[action].value,
        "worker_name", worker,
        "return_value", b64encode(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")).decode(),
        "execution_id", ended.launch.execution_id,
        "execution_ended_at", ended_at.timestamp(),
    ]  # fmt: skip
    if ended.started_at is not None:
        fields += ["execution_started_at", ended.started_at.timestamp()]
    if action != "finish":
        story = f"{ended.outcome}\n\n{captured.text}".strip()
        fields += ["exc_string", b64encode(zlib.compress(story.encode())).decode()]
    return fields
