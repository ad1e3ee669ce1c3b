"""Views: what the commands that look answer, as whole documents. Pure.

Each command's JSON document is one of these records with ``version`` before it; docs/json.md is made from them.
"""

from dataclasses import dataclass
from datetime import datetime

from kuber_cron.common.records.attempt import AttemptRecord
from kuber_cron.common.records.decision_log import LogEntry
from kuber_cron.common.records.job_state import JobState
from kuber_cron.common.records.processes import Leader, QueueInfo, SchedulerInfo, ServerInfo, WorkerInfo
from kuber_cron.common.records.run import Gate, Group, RunRecord
from kuber_cron.control.explain.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCounts:
    """How many jobs there are, by what people ask of them.

    Attributes:
        total: All jobs that Redis knows.
        failing: Those of which a run has failed for good since the last success.
        paused: Those that are paused now.
        suspended: Those that their files suspend.
    """

    total: int = 0
    failing: int = 0
    paused: int = 0
    suspended: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCounts:
    """How many runs have not ended, by where they stand.

    Attributes:
        running: Those that run.
        queued: Those that wait for a worker.
        waiting: Those between two attempts.
        held: Those that wait for a group, a predecessor or an earlier run.
    """

    running: int = 0
    queued: int = 0
    waiting: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusView:
    """The answer of ``kuber-cron status``.

    Attributes:
        now: Redis' time.
        instance: The installation's name.
        client_version: The release of the command that answers.
        redis: Redis.
        leader: Who leads.
        schedulers: Every replica that has told of itself within the last hour, the leader first.
        workers: Every worker.
        queues: Every queue.
        jobs: How many jobs there are.
        runs: How many runs have not ended.
        quarantined: How many runs are in quarantine.
        failures: The runs that failed last, newest first, five at most.
        troubles: What somebody should look at, a sentence each; empty where all is well.
    """

    now: datetime
    instance: str
    client_version: str
    redis: ServerInfo
    leader: Leader
    schedulers: tuple[SchedulerInfo, ...]
    workers: tuple[WorkerInfo, ...]
    queues: tuple[QueueInfo, ...]
    jobs: JobCounts
    runs: RunCounts
    quarantined: int
    failures: tuple[RunRecord, ...]
    troubles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsView:
    """The answer of ``kuber-cron jobs``.

    Attributes:
        now: Redis' time.
        jobs: The jobs, by name.
    """

    now: datetime
    jobs: tuple[JobState, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsView:
    """The answer of ``kuber-cron runs``.

    Attributes:
        now: Redis' time.
        runs: Open runs first, the running ones before those that wait, then ended ones, the newest end first.
        has_more: Whether there are more than were asked for.
    """

    now: datetime
    runs: tuple[RunRecord, ...]
    has_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """The answer of ``kuber-cron show``.

    Attributes:
        now: Redis' time.
        run: The run itself.
        command: What it executes: a shell's text, or the words of a command; null where its payload cannot be read.
        retries_allowed: How many retries its policy gives it; null where its payload cannot be read.
        timeout_seconds: Its time limit, null for none.
        attempts: Its newest ten attempts, oldest first; the last may be running still.
        waits_for: What a held run waits for: the success of a predecessor (``after``) or the end of an earlier run
            (``line``), with how that stands.
        group: The group that a held run waits for room in, or null.
        decisions: What the log of its job's decisions tells of it, oldest first.
    """

    now: datetime
    run: RunRecord
    command: str | tuple[str, ...] | None
    retries_allowed: int | None
    timeout_seconds: float | None
    attempts: tuple[AttemptRecord, ...]
    waits_for: tuple[Gate, ...] = ()
    group: Group | None = None
    decisions: tuple[LogEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogView:
    """The answer of ``kuber-cron logs``.

    Attributes:
        run: The run.
        attempt: Which attempt of it.
        outcome: How that ended; null while it runs.
        log: The log file on its worker, or null.
        is_whole: Whether ``text`` is all that it has written.
        omitted_bytes: What is missing in ``text``, between its beginning and its end.
        text: The output: of the log file where that can be read here, else what Redis has of it.
    """

    run: str
    attempt: int
    outcome: str | None
    log: str | None
    is_whole: bool
    omitted_bytes: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedOccurrence:
    """The explanation of one instant.

    Attributes:
        at: The instant.
        local: The same in the job's zone.
        verdict: ``queued``, ``held`` (queued, to wait), ``skipped`` or ``error`` where it was decided; ``due`` where it
            should have been by now, ``coming`` where it is later; ``no_instant`` where the schedule has none then;
            ``unrecorded`` where it has one, and no decision about it is in the log;
            ``before_first_seen``, ``not_in_files`` and ``too_old`` (the log no longer reaches so far) for the past.
        sentence: The answer.
        details: What follows from it, a sentence each.
        reason: Why it was skipped, a word of the metric ``cron_job_missed_total`` (docs/metrics.md); else null.
        due_at: When it was due, or is, jitter included.
        decided_at: When it was decided, by Redis' time.
        late_seconds: How long after it was due.
        epoch: In which term of leadership.
        by: By which scheduler.
        run: Its run, where there is a record of one.
        before_at: For ``no_instant`` and ``unrecorded`` the nearest earlier instant.
        after_at: And the nearest later one.
        decisions: The entries of the job's log about it or its run, oldest first.
    """

    at: datetime
    local: str
    verdict: Verdict
    sentence: str
    details: tuple[str, ...] = ()
    reason: str | None = None
    due_at: datetime | None = None
    decided_at: datetime | None = None
    late_seconds: float | None = None
    epoch: int | None = None
    by: str | None = None
    run: RunRecord | None = None
    before_at: datetime | None = None
    after_at: datetime | None = None
    decisions: tuple[LogEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyView:
    """The answer of ``kuber-cron why``.

    Attributes:
        now: Redis' time.
        job: The job.
        schedule: Its schedule as it is decided by now; null where it has no cursor.
        timezone: The zone of that.
        leader: Who leads.
        note: What the instant's text means, where that is not plain.
        answers: One for each instant that was meant: two where a local time happens twice.
    """

    now: datetime
    job: str
    schedule: str | None
    timezone: str | None
    leader: Leader
    note: str | None
    answers: tuple[ExplainedOccurrence, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuesView:
    """The answer of ``kuber-cron queues``.

    Attributes:
        now: Redis' time.
        queues: The queues, by name.
    """

    now: datetime
    queues: tuple[QueueInfo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersView:
    """The answer of ``kuber-cron workers``.

    Attributes:
        now: Redis' time.
        workers: The workers, by name.
        troubles: What somebody should look at, a sentence each: releases that differ, say.
    """

    now: datetime
    workers: tuple[WorkerInfo, ...]
    troubles: tuple[str, ...] = ()
