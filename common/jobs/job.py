"""Jobs: the definition of what runs when, as read from a crontab or a YAML file (spec: cron.md §3)."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from kuber_cron.common.diagnostics import Diagnostic
from kuber_cron.common.jobs.options import JobOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(JobOptions):
    """One job as loaded: its options, and what is no option of a job file.

    Durations are float seconds, sizes are bytes, instants are aware UTC. The options stand in
    :mod:`kuber_cron.common.jobs.options`, each with its meaning and its default.

    Attributes:
        source: The file it came from, as the user named it.
        line: 1-based line of its schedule there.
        schedule: The schedule's text with its blanks collapsed.
        command: A string runs under ``shell -c``; a list is executed as it is.
        env: The variables as written, ``SHELL``, ``HOME``, ``PATH``, ``CRON_TZ``, ``RANDOM_DELAY`` included.
    """

    source: str = "crontab"
    line: int = 1
    schedule: str
    command: str | list[str]
    env: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The same as ``id``: the name that its file gives it, or the one made from its command."""
        return self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """The content of job files: the good jobs in file order, and everything wrong by line and column."""

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
