"""From a verified payload to a command, and from a command's end to what becomes of its run. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kuber_cron.common.runs import retry_policy
from kuber_cron.common.runs.log_path import log_path
from kuber_cron.common.runs.payload import Payload
from kuber_cron.worker.execution import launch as command
from kuber_cron.worker.execution.launch import AttemptResult, Launch
from kuber_cron.worker.execution.outcome import Outcome
from kuber_cron.worker.output import redactor
from kuber_cron.worker.output.capture import Captured

if TYPE_CHECKING:
    from kuber_cron.worker.coordination.run_store import (
        EndAction,  # would import the redis client, which `exec` does without
    )


def launch(
    payload: Payload,
    execution: str,
    attempt: int,
    *,
    log_dir: Path | None,
    environ: Mapping[str, str],
    user_required: bool,
    redact: Sequence[str] = (),
) -> Launch:
    """What the supervisor is to start for this attempt.

    ``redact``: patterns of the variables whose values are hidden in its output.

    Raises:
        ValueError: The payload names what cannot be part of a path, or a umask that is none.
    """
    path = None
    if log_dir is not None:
        path = log_dir / log_path(job=payload.job, run=payload.run, attempt=attempt)
    env = command.environment(
        environ,
        payload.env,
        job=payload.job,
        run_id=payload.run,
        execution_id=execution,
        attempt=attempt,
        scheduled_at=payload.scheduled_at,
        shell=payload.shell if isinstance(payload.command, str) else None,
    )
    return Launch(
        run_id=payload.run,
        job=payload.job,
        execution_id=execution,
        attempt=attempt,
        scheduled_at=payload.scheduled_at,
        argv=command.argv(payload.command, payload.shell),
        stdin=None if payload.stdin is None else payload.stdin.encode(),
        env=env,
        inherits_home="HOME" not in payload.env,
        cwd=command.working_directory(payload.cwd, payload.env),
        user=payload.user,
        user_required=user_required,
        umask=None if payload.umask is None else int(payload.umask, 8),
        nice=payload.nice,
        memory_bytes=payload.memory,
        cpu_seconds=payload.cpu_time,
        timeout_seconds=payload.timeout,
        kill_grace_seconds=payload.kill_grace,
        success_codes=frozenset(payload.success_codes),
        log_path=path,
        log_limit_bytes=payload.log_limit,
        hidden=redactor.values(env, redact),
    )


def unreadable(run: str, execution: str, attempt: int) -> Launch:
    """Stands for a run that could not be read: there is nothing to start."""
    return Launch(run_id=run, job="", execution_id=execution, attempt=attempt, argv=(), env={})


def never_ran(launch: Launch, outcome: Outcome, sentence: str, now: datetime) -> AttemptResult:
    """The end of an attempt of which nothing was started, with a sentence for people as its output."""
    return AttemptResult(
        launch=launch,
        outcome=outcome,
        ended_at=now,
        captured=Captured(head=f"kuber-cron: {sentence}\n"),
    )


def action(decision: retry_policy.RetryDecision, outcome: Outcome) -> "tuple[EndAction, float]":
    """What the end script is asked to do, and after how many seconds a retry is due."""
    match decision:
        case retry_policy.Retry(delay_seconds=delay):
            return "retry", delay
        case retry_policy.Requeue():
            return "requeue", 0.0
        case retry_policy.GiveUp():
            final: dict[str, EndAction] = {"success": "finish", "stopped": "stop"}
            return final.get(outcome.kind, "fail"), 0.0
