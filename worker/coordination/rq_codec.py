"""RQ's forms: the data field of its jobs, its result entries, and the commands that it publishes."""

import json
import zlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rq.results import Result

from kuber_cron.common.runs import payload as runs
from kuber_cron.common.runs.payload import PayloadError
from kuber_cron.common.time_format import rq_instant
from kuber_cron.worker.coordination.run_store import EndAction
from kuber_cron.worker.execution.launch import AttemptResult

_RESULT_TYPES: dict[EndAction, Result.Type] = {
    "finish": Result.Type.SUCCESSFUL,
    "fail": Result.Type.FAILED,
    "stop": Result.Type.STOPPED,
    "retry": Result.Type.RETRIED,
    "requeue": Result.Type.RETRIED,
    "return": Result.Type.RETRIED,
    "quarantine": Result.Type.FAILED,
}


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """A command as RQ publishes it.

    Attributes:
        name: ``stop-job``, ``stop-execution``, ``shutdown``, ``kill-horse``.
        run_id: The run that it is about; empty for none.
        execution_id: The execution that it is about; empty for none.
    """

    name: str
    run_id: str
    execution_id: str

    @classmethod
    def from_message(cls, data: bytes) -> "WorkerCommand":
        """Return the command in a message.

        Raises:
            ValueError: The message is no command.
        """
        values = json.loads(data)
        if not isinstance(values, dict) or "command" not in values:
            raise ValueError("a message without a command")
        return cls(
            str(values["command"]), str(values.get("job_id") or ""), str(values.get("execution_id") or "")
        )


def read_payload(data: bytes, signing_keys: Sequence[bytes], run_id: str) -> runs.Payload:
    """Return the payload in RQ's ``data`` field of this run, verified.

    Raises:
        PayloadError: As ``runs.decode``; ``signature`` also where it was made for another run: whoever can write to
            Redis could otherwise have that run's command executed again under a new name.
    """
    payload = runs.decode(runs.arguments_in(data), signing_keys)
    if payload.run != run_id:
        raise PayloadError(f"the payload was made for run {payload.run}", reason="signature")
    return payload


def result_fields(
    action: EndAction,
    result: AttemptResult,
    *,
    worker: str,
    attempt: int,
    queued_at: datetime | None = None,
) -> list[str | int | float]:
    """Return RQ's result entry of an attempt, as name and value pairs: rq-dashboard shows it."""
    captured = result.captured
    value: dict[str, Any] = {
        "outcome": result.outcome.kind,
        "exit_code": result.outcome.exit_code,
        "signal": result.outcome.signal,
        "attempt": attempt,
        "queued_at": None if queued_at is None else rq_instant(queued_at),
        "seconds": round(result.elapsed_seconds, 3),
        "cpu_seconds": round(result.cpu_seconds, 3),
        "max_rss_bytes": result.max_rss_bytes,
        "output_bytes": captured.total_bytes,
        "dropped_bytes": captured.dropped_bytes,
        "head": captured.head,
        "tail": captured.tail,
        "streams": captured.streams,
        "omitted_bytes": captured.omitted_bytes,
        "log": str(captured.log_path) if captured.log_path else None,
        "warnings": list(result.warnings),
    }
    fields: list[str | int | float] = [
        "type", _RESULT_TYPES[action].value,
        "worker_name", worker,
        "return_value", b64encode(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")).decode(),
        "execution_id", result.launch.execution_id,
        "execution_ended_at", result.ended_at.timestamp(),
    ]  # fmt: skip
    if result.started_at is not None:
        fields += ["execution_started_at", result.started_at.timestamp()]
    if action != "finish":
        exception = f"{result.outcome}\n\n{captured.text}".strip()
        fields += ["exc_string", b64encode(zlib.compress(exception.encode())).decode()]
    return fields
