"""Commands: what a worker is asked to start, and what it tells when that has ended.

Values and pure functions only; :mod:`kuber_cron.worker.execution.supervisor` runs them. Which variables a command sees,
which program runs it and where is decided here (spec: cron.md §2, Variables; reliability.md §6, last item).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from kuber_cron.common import time_format
from kuber_cron.common.jobs.options import OPTIONS
from kuber_cron.common.records.excerpt import Excerpt
from kuber_cron.worker.execution.outcome import Cause, Outcome
from kuber_cron.worker.output.capture import Captured

OWN_PREFIX = "KUBER_CRON_"
EXECUTION = "KUBER_CRON_EXECUTION"
"""The variable by which an attempt's processes are known, wherever they went."""
RUN = "KUBER_CRON_RUN_ID"

_DEFAULT_PATH = "/usr/bin:/bin"  # crontab(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One attempt to start: everything that decides what runs, and nothing that has to be looked up.

    Attributes:
        run_id: The run this is an attempt of.
        job: The job's id.
        execution_id: This attempt's own id; must be the value of ``KUBER_CRON_EXECUTION`` in ``env``.
        attempt: 1 for the first.
        scheduled_at: The occurrence's instant, aware UTC, or None for a run without one.
        argv: The program and its arguments; see :func:`argv`.
        stdin: Its input; None and ``b""`` both read as end of file at once.
        env: Its complete environment; see :func:`environment`.
        inherits_home: ``HOME`` in ``env`` is the worker's own, so it is replaced where ``user`` is.
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
        log_path: Where its output goes, None for nowhere but head and tail.
        log_limit_bytes: The size of that file is never above this, but for one line that says what was dropped.
        hidden: Values that are hidden wherever its output goes but that file; as ``redacting.values`` gives them.
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
    hidden: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCommand:
    """One command that runs now, for a live view.

    Attributes:
        launch: What was started.
        pid: Its process, which is also its process group.
        started_at: Wall clock, aware UTC.
        elapsed_seconds: Since its start.
        ending: Why we are ending it, or None.
        output_bytes: What it has written so far.
        excerpt: Asks for what is kept of that; for any thread.
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
    """One attempt that is over: its process is reaped, and its pipes and its log file are closed.

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
        stragglers: Processes outside its group that had to be killed after it.
        warnings: Sentences about what could not be done as asked (a user, a limit, a log file).
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
    stragglers: int = 0
    warnings: tuple[str, ...] = ()


def argv(command: str | Sequence[str], shell: str = OPTIONS["shell"].default) -> list[str]:
    """What is executed: a text runs under ``shell -c``, a list as it is."""
    return [shell, "-c", command] if isinstance(command, str) else list(command)


def working_directory(cwd: str | None, env: Mapping[str, str]) -> str | None:
    """Where the command runs: the job's ``cwd``, else ``HOME`` as written in its file, else the worker's own."""
    return cwd or env.get("HOME") or None


def environment(
    base: Mapping[str, str],
    own: Mapping[str, str],
    *,
    job: str,
    run_id: str,
    execution_id: str,
    attempt: int = 1,
    scheduled_at: datetime | None = None,
    shell: str | None = None,
) -> dict[str, str]:
    """The complete environment of one attempt.

    The worker's own environment less every ``KUBER_CRON_*`` (its settings, and the files of its secrets), then
    the job's variables, then ours, which nobody overrides.

    Args:
        base: The worker's environment.
        own: The variables of the job as written (``CRON_TZ`` stays among them).
        job: For ``KUBER_CRON_JOB``.
        run_id: For ``KUBER_CRON_RUN_ID``.
        execution_id: For ``KUBER_CRON_EXECUTION``.
        attempt: For ``KUBER_CRON_ATTEMPT``.
        scheduled_at: For ``KUBER_CRON_SCHEDULED_AT``, ISO 8601 UTC with Z; absent if None.
        shell: For ``SHELL`` where the job's command runs under one.
    """
    env = {"PATH": _DEFAULT_PATH}
    env.update((name, value) for name, value in base.items() if not name.startswith(OWN_PREFIX))
    if shell is not None:
        env["SHELL"] = shell
    env.update(own)
    env[f"{OWN_PREFIX}JOB"] = job
    env[RUN] = run_id
    env[f"{OWN_PREFIX}ATTEMPT"] = str(attempt)
    env[EXECUTION] = execution_id
    if scheduled_at is not None:
        env[f"{OWN_PREFIX}SCHEDULED_AT"] = time_format.iso(scheduled_at, "seconds")
    return env
