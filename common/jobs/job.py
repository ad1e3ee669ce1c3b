"""Jobs: the definition of what runs when, as read from a crontab or a YAML file (spec: cron.md §3)."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from kuber_cron.common.diagnostics import Diagnostic

Catchup = Literal["none", "last", "all"]
Concurrency = Literal["allow", "forbid", "replace", "queue"]
Execution = Literal["at_least_once", "at_most_once"]
Interrupt = Literal["requeue", "fail"]
LostHeartbeat = Literal["kill", "continue"]
StateLoss = Literal["replay", "skip"]
Removal = Literal["run", "cancel"]
Priority = Literal["high", "normal", "low"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as loaded. Durations are float seconds, sizes are bytes, instants are aware UTC.

    Attributes:
        id: The job's identity, unique over all sources; renaming it starts a new history.
        source: The file it came from, as the user named it.
        line: 1-based line of its schedule there.
        schedule: The schedule's text with its blanks collapsed.
        timezone: The IANA zone that the schedule is evaluated in.
        command: A string runs under ``shell -c``; a list is executed as it is.
        stdin: The command's standard input; ``""`` is empty input, None is closed.
        env: The variables as written, ``SHELL``, ``HOME``, ``PATH``, ``CRON_TZ``, ``RANDOM_DELAY`` included.
        shell: The program that runs a string command.
        cwd: Working directory, or None for ``HOME`` if that is set, else the worker's own.
        user: Who runs it, or None for the worker's own user.
        quiet: ``-`` before the schedule or ``-q``: its runs are not announced at info level.
        random_delay_minutes: ``RANDOM_DELAY``; the delay is hash(job id) mod (N+1) minutes.
        retry_on: Exit codes and the words ``timeout``, ``signal``; None means any failure.
        timeout: Seconds until TERM, None for no limit.
        deadline: Seconds after due within which a run must be queued, None for no limit.
        group: ``name`` or ``name:N``: at most N runs at once over all jobs of the group.
        after: The predecessors' ids.
        notify: Comma-joined words of failure, recovery, missed, always, never.
    """

    id: str
    source: str = "crontab"
    line: int = 1
    schedule: str
    timezone: str = "UTC"
    command: str | list[str]
    stdin: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    shell: str = "/bin/sh"
    cwd: str | None = None
    user: str | None = None
    quiet: bool = False
    random_delay_minutes: int = 0

    retries: int = 0
    retry_delay: float = 10.0
    retry_backoff: float = 2.0
    retry_max_delay: float = 600.0
    retry_jitter: float = 0.1
    retry_on: list[int | str] | None = None
    no_retry_on: list[int | str] = field(default_factory=list)
    success_codes: list[int] = field(default_factory=lambda: [0])
    execution: Execution = "at_least_once"
    max_lost: int = 3
    on_interrupt: Interrupt = "requeue"
    on_lost_heartbeat: LostHeartbeat = "kill"
    on_state_loss: StateLoss = "replay"
    on_remove: Removal = "run"
    timeout: float | None = 86400.0
    kill_grace: float = 10.0
    deadline: float | None = None
    catchup: Catchup = "last"
    max_catchup: int = 100
    concurrency: Concurrency = "allow"
    max_running: int = 1
    group: str | None = None
    jitter: float = 0.0
    not_before: datetime | None = None
    not_after: datetime | None = None
    queue: str = "default"
    priority: Priority = "normal"
    after: list[str] = field(default_factory=list)
    umask: str | None = None
    memory: int | None = None
    cpu_time: float | None = None
    nice: int | None = None
    log_limit: int = 10 * 1024 * 1024
    suspend: bool = False
    description: str | None = None
    team: str | None = None
    notify: str = "failure,recovery"
    ping: str | None = None

    @property
    def name(self) -> str:
        """The same as ``id``: the name a person gave it, or the one made from its command."""
        return self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What a source holds: its good jobs in file order, and everything wrong with it by line and column."""

    jobs: list[Job]
    diagnostics: list[Diagnostic]


def delay_of(job: Job) -> timedelta:
    """Return the job's share of its jitter and random delay: by the hash of its id, so the same on every replica."""
    number = int.from_bytes(hashlib.sha256(job.id.encode()).digest()[:8], "big")
    minutes = number % (job.random_delay_minutes + 1)
    seconds = number % (int(job.jitter) + 1)
    return timedelta(minutes=minutes, seconds=seconds)


def timing_job(job: Job, named: Callable[[str], Job | None]) -> Job:
    """Return the job whose schedule gives ``job`` its instants: itself, or under ``@after`` its first predecessor's.

    A circle of predecessors, which no parser lets through, ends at the first job seen twice.
    """
    seen: set[str] = set()
    while job.schedule == "@after" and job.after and job.id not in seen:
        seen.add(job.id)
        before = named(job.after[0])
        if before is None:
            break
        job = before
    return job
