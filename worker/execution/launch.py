"""The launch of an attempt, and the attempt result: what the supervisor is given, and what it gives back.

Values and pure functions only; :mod:`kuber_cron.worker.execution.supervisor` runs them. :meth:`Launch.from_payload` is where a
job's options become a command.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Self

from kuber_cron.common.jobs.options import OPTIONS
from kuber_cron.common.records.excerpt import Excerpt
from kuber_cron.common.runs.log_path import log_path
from kuber_cron.common.runs.payload import Payload
from kuber_cron.worker.execution.environment import environment, working_directory
from kuber_cron.worker.execution.outcome import Cause, Outcome
from kuber_cron.worker.execution.shortage import Shortage
from kuber_cron.worker.output import redactor
from kuber_cron.worker.output.capture import Captured


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """An attempt to start: all that decides what runs, so that the supervisor looks nothing up.

    Attributes:
        run_id: The run this is an attempt of.
        job: The job's id.
        execution_id: This attempt's own id; must be the value of ``KUBER_CRON_EXECUTION`` in ``env``.
        attempt: 1 for the first.
        scheduled_at: The occurrence's instant, aware UTC, or None for a run without one.
        argv: The program and its arguments; see :func:`argv`.
        stdin: Its input; under None and ``b""`` the command reads end of file at once.
        env: Its complete environment; see :func:`~kuber_cron.worker.execution.environment.environment`.
        inherits_home: True where ``HOME`` in ``env`` is the worker's own, so that another ``user`` gets its own.
        cwd: Its working directory, None for the worker's own.
        user: Who runs it (a name or a number), None for the worker's own user.
        user_required: Refuse it where the worker cannot become ``user``, instead of running it as itself.
        umask: File mode mask, or None for the worker's own.
        nice: What is added to the worker's own niceness, or None.
        memory_bytes: RLIMIT_AS of each of its processes, or None.
        cpu_seconds: RLIMIT_CPU of each of its processes, rounded up to whole seconds, or None.
        timeout_seconds: From its start to TERM, or None.
        kill_grace_seconds: From TERM to KILL.
        success_codes: Exit codes that count as success.
        log_path: Its log file, None for none: only head and tail are kept then.
        log_limit_bytes: The most that file holds, beside one line on what was dropped.
        log_required: Refuse it where the worker's directory of log files is not to be had, instead of losing its output.
        hidden: Values that are hidden in its output, that file aside; as ``redactor.values`` returns them.
    """

    run_id: str
    job: str
    execution_id: str
    attempt: int = 1
    scheduled_at: datetime | None = None
    argv: Sequence[str]
    stdin: bytes | None = None
    env: Mapping[str, str]
    inherits_home: bool = False
    cwd: str | None = None
    user: str | None = None
    user_required: bool = False
    umask: int | None = None
    nice: int | None = None
    memory_bytes: int | None = None
    cpu_seconds: float | None = None
    timeout_seconds: float | None = None
    kill_grace_seconds: float = OPTIONS["kill_grace"].default
    success_codes: frozenset[int] = frozenset(OPTIONS["success_codes"].default)
    log_path: Path | None = None
    log_limit_bytes: int = OPTIONS["log_limit"].default
    log_required: bool = False
    hidden: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def from_payload(
        cls,
        payload: Payload,
        execution_id: str,
        attempt: int,
        *,
        log_dir: Path | None,
        environ: Mapping[str, str],
        user_required: bool,
        log_required: bool = False,
        redact: Sequence[str] = (),
    ) -> Self:
        """Return the launch of one attempt of a run.

        Args:
            payload: The run's, verified.
            execution_id: The attempt's own id.
            attempt: 1 for the first.
            log_dir: Where log files are kept; None for none.
            environ: The worker's own environment.
            user_required: Refuse a command where the worker cannot become its user.
            log_required: Refuse it where no log file can be made at all.
            redact: Patterns of the variables whose values are hidden in its output.

        Raises:
            ValueError: A name in the payload cannot be part of a path, or its umask is none.
        """
        path = None
        if log_dir is not None:
            path = log_dir / log_path(job=payload.job, run=payload.run, attempt=attempt)
        env = environment(
            environ,
            payload.env,
            job=payload.job,
            run_id=payload.run,
            execution_id=execution_id,
            attempt=attempt,
            scheduled_at=payload.scheduled_at,
            shell=payload.shell if isinstance(payload.command, str) else None,
        )
        return cls(
            run_id=payload.run,
            job=payload.job,
            execution_id=execution_id,
            attempt=attempt,
            scheduled_at=payload.scheduled_at,
            argv=argv(payload.command, payload.shell),
            stdin=None if payload.stdin is None else payload.stdin.encode(),
            env=env,
            inherits_home="HOME" not in payload.env,
            cwd=working_directory(payload.cwd, payload.env),
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
            log_required=log_required,
            hidden=redactor.values(env, redact),
        )

    @classmethod
    def of_unreadable_run(cls, run_id: str, execution_id: str, attempt: int) -> Self:
        """Return the launch that stands for a run whose payload cannot be read: there is nothing to start."""
        return cls(run_id=run_id, job="", execution_id=execution_id, attempt=attempt, argv=(), env={})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCommand:
    """A command that runs now, for a live view.

    Attributes:
        launch: What was started.
        pid: Its process, which is also its process group.
        started_at: Wall clock, aware UTC.
        elapsed_seconds: Since its start.
        ending: Why we are ending it, or None.
        output_bytes: What it has written so far.
        excerpt: Returns what is kept of that; for any thread.
    """

    launch: Launch
    pid: int
    started_at: datetime
    elapsed_seconds: float
    ending: Cause | None
    output_bytes: int
    excerpt: Callable[[], Excerpt]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptResult:
    """The result of an attempt. Its process is reaped, its pipes and its log file are closed.

    Attributes:
        launch: What was started.
        outcome: How it ended.
        pid: Its process, or None if none was started.
        started_at: Wall clock, aware UTC; None if none was started.
        ended_at: Wall clock, aware UTC.
        elapsed_seconds: From its start to its process's end.
        captured: Its output.
        cpu_seconds: User and system time of its process and of all that this has waited for.
        max_rss_bytes: The largest resident size among them; None where it was not above the worker's own, which
            the kernel charges to each child at its birth.
        leftover_processes: How many processes outside its group had to be killed after it.
        warnings: Sentences about what could not be done as asked (a user, a limit, a log file).
        shortage: What the worker lacked to start it, None where it was started or was itself at fault.
    """

    launch: Launch
    outcome: Outcome
    pid: int | None = None
    started_at: datetime | None = None
    ended_at: datetime
    elapsed_seconds: float = 0.0
    captured: Captured = field(default_factory=Captured)
    cpu_seconds: float = 0.0
    max_rss_bytes: int | None = None
    leftover_processes: int = 0
    warnings: tuple[str, ...] = ()
    shortage: Shortage | None = None

    @classmethod
    def refused(
        cls, launch: Launch, outcome: Outcome, now: datetime, captured: Captured, shortage: Shortage | None
    ) -> Self:
        """Return the result of a command that could not be started."""
        return cls(launch=launch, outcome=outcome, ended_at=now, captured=captured, shortage=shortage)

    @classmethod
    def never_ran(cls, launch: Launch, outcome: Outcome, sentence: str, now: datetime) -> Self:
        """Return the result of an attempt whose command was never started, with a sentence for people as its output."""
        captured = Captured(head=f"kuber-cron: {sentence}\n")
        return cls(launch=launch, outcome=outcome, ended_at=now, captured=captured)


def argv(command: str | Sequence[str], shell: str = OPTIONS["shell"].default) -> list[str]:
    """Return what is executed: a text runs under ``shell -c``, a list as it is."""
    return [shell, "-c", command] if isinstance(command, str) else list(command)
