"""The verdict on one instant of a job: what was decided about it, or why nothing was. Pure.

The log of a job's decisions is complete between its oldest entry and the cursor: each instant of the schedule in force
then was decided once. So an instant in there that no entry covers was none of the schedule's, whatever the files hold
now. Where it is one by the timetable, and no edit is in between, something has broken that rule: Redis refused the entry
(to a version that moved the cursor all the same), or somebody deleted it, and the verdict says so. An instant later than the cursor is judged by the cursor's schedule. Of one older than the log nothing is known.

:mod:`kuber_cron.control.explain.sentences` puts a verdict into words.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from kuber_cron.common.records import decision_log, job_summary
from kuber_cron.common.records.decision_log import LogEntry
from kuber_cron.common.records.job_state import Pause
from kuber_cron.common.records.job_summary import JobSummary
from kuber_cron.common.records.processes import Leader
from kuber_cron.common.records.run import Gate, Group, RunRecord
from kuber_cron.common.runs.cursor import Cursor
from kuber_cron.common.schedule.occurrences import Occurrences

Verdict = Literal[
    "queued",
    "held",
    "skipped",
    "error",
    "due",
    "coming",
    "no_instant",
    "unrecorded",
    "before_first_seen",
    "not_in_files",
    "too_old",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that Redis holds of a job and an instant.

    Attributes:
        now: Redis' time.
        entries: The job's log, oldest first.
        run: The record of the instant's run; None where there is none, or none any more.
        gates: What a held run waits for.
        earlier_runs: Records of runs that were decided before, the newest first.
        queue_place: The run's place in its queue, from 1.
        queue_workers: How many workers serve that queue.
        lost_at: When Redis was last found to have lost writes; None for never.
    """

    job: str
    now: datetime
    cursor: Cursor | None = None
    summary: JobSummary | None = None
    entries: Sequence[LogEntry] = ()
    leader: Leader = field(default_factory=Leader)
    pause: Pause | None = None
    run: RunRecord | None = None
    gates: tuple[Gate, ...] = ()
    group: Group | None = None
    earlier_runs: Sequence[RunRecord] = ()
    queue_place: int | None = None
    queue_workers: int | None = None
    lost_at: datetime | None = None

    @property
    def occurrences(self) -> Occurrences | None:
        """The job's occurrences by its cursor's schedule; None where it has no cursor, or one that cannot be read."""
        if self.cursor is None:
            return None
        return job_summary.occurrences_of(self.job, self.cursor, self.summary)

    @property
    def delay(self) -> timedelta:
        """The time between an instant and when it is due: jitter and random delay."""
        return timedelta(seconds=0.0 if self.summary is None else self.summary.delay)

    @property
    def zone(self) -> ZoneInfo:
        """The job's zone; UTC where neither its cursor nor its summary names one that exists."""
        known = self.cursor or self.summary
        return _zone("UTC" if known is None else known.timezone)

    def local(self, at: datetime | None) -> str:
        """Return the instant in the cursor's zone: ``2026-03-29 04:30:00 CEST``."""
        if at is None:
            return "an unknown time"
        zone = _zone("UTC" if self.cursor is None else self.cursor.timezone)
        return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return ZoneInfo("UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A verdict on an instant, with the evidence for it.

    Attributes:
        entry: The entry that decides it, for the first four verdicts.
        is_certain: False where one entry stands for many instants and nobody knows any more whether this is one.
        edited_at: When the schedule was edited after it, if it was.
        before_at: The nearest earlier instant that was decided, or is to be.
        after_at: The nearest later one.
        seen_at: For ``before_first_seen`` and ``not_in_files`` when the job was (next) seen; for ``too_old`` how far
            back the log reaches.
        gone_at: For ``not_in_files`` when it was removed.
        is_outside_life: Of the schedule, but before ``not_before`` or after ``not_after``.
    """

    verdict: Verdict
    entry: LogEntry | None = None
    is_certain: bool = True
    edited_at: datetime | None = None
    before_at: datetime | None = None
    after_at: datetime | None = None
    seen_at: datetime | None = None
    gone_at: datetime | None = None
    is_outside_life: bool = False


_DECIDING_TAKES = timedelta(seconds=2)  # a leader decides within a second
_VERDICTS: dict[str, Verdict] = {
    "queued": "queued",
    "known": "queued",
    "held": "held",
    "skipped": "skipped",
    "error": "error",
}


def explain(facts: Facts, at: datetime) -> Explanation:
    """Return what became of the job's instant ``at``, or will."""
    edited_at = _edited_since(facts, at)
    entry = decision_log.deciding(facts.entries, at)
    if entry is not None:
        occurrences = facts.occurrences
        is_certain = entry.first_at == entry.last_at or at in {entry.first_at, entry.last_at}
        if not is_certain and edited_at is None and occurrences is not None:
            if not occurrences.has(at):
                return _none(facts, at, edited_at)
            is_certain = True
        verdict = _VERDICTS[entry.decision]
        return Explanation(verdict=verdict, entry=entry, is_certain=is_certain, edited_at=edited_at)
    if facts.cursor is None or at > facts.cursor.at:
        return _ahead(facts, at)
    return _behind(facts, at, edited_at)


def _ahead(facts: Facts, at: datetime) -> Explanation:
    """Explain an instant that the cursor has not reached."""
    if facts.cursor is None:
        gone = next((each for each in reversed(facts.entries) if each.decision == "dropped"), None)
        if gone is None:
            return Explanation(verdict="before_first_seen")
        return (
            Explanation(verdict="not_in_files", gone_at=gone.first_at)
            if at > gone.first_at
            else _behind(facts, at, None)
        )
    occurrences = facts.occurrences
    if occurrences is None or not occurrences.has(at):
        return _none(facts, at, None)
    if not occurrences.is_alive(at):
        return _none(facts, at, None, is_outside_life=True)
    return Explanation(verdict="coming" if at + facts.delay > facts.now else "due")


def _behind(facts: Facts, at: datetime, edited_at: datetime | None) -> Explanation:
    """Explain an instant that the cursor has passed, and that no entry covers."""
    previous: LogEntry | None = None
    for each in facts.entries:
        if each.decision == "moved" and each.reason == "first seen":
            if previous is None and each is facts.entries[0] and at <= each.first_at:
                return Explanation(verdict="before_first_seen", seen_at=each.first_at)
            if (
                previous is not None
                and previous.decision == "dropped"
                and previous.first_at < at <= each.first_at
            ):
                return Explanation(verdict="not_in_files", gone_at=previous.first_at, seen_at=each.first_at)
        if each.is_occurrence or each.decision in {"moved", "dropped"}:
            previous = each
    reach = next((each for each in facts.entries if each.is_occurrence or each.decision == "moved"), None)
    if reach is None or at < reach.first_at or (reach.decision == "moved" and at == reach.first_at):
        seen_at = None if reach is None else reach.first_at
        return Explanation(verdict="queued" if facts.run is not None else "too_old", seen_at=seen_at)
    occurrences = facts.occurrences
    if edited_at is None and occurrences is not None and occurrences.has(at) and occurrences.is_alive(at):
        if facts.run is not None:
            return Explanation(verdict="queued")
        before, after = _decided_around(facts, at)
        return Explanation(verdict="unrecorded", before_at=before, after_at=after)
    return _none(facts, at, edited_at)


def _none(
    facts: Facts, at: datetime, edited_at: datetime | None, *, is_outside_life: bool = False
) -> Explanation:
    before, after = _neighbours(facts, at, edited_at)
    return Explanation(
        verdict="no_instant",
        edited_at=edited_at,
        before_at=before,
        after_at=after,
        is_outside_life=is_outside_life,
    )


def _neighbours(
    facts: Facts, at: datetime, edited_at: datetime | None
) -> tuple[datetime | None, datetime | None]:
    """Return the nearest instants: by the schedule where it was in force then, else those that were decided."""
    occurrences = facts.occurrences
    if occurrences is not None and edited_at is None:
        return occurrences.before(at), occurrences.after(at)
    return _decided_around(facts, at)


def _decided_around(facts: Facts, at: datetime) -> tuple[datetime | None, datetime | None]:
    """Return the nearest instants that were decided."""
    decided = [
        moment for each in facts.entries if each.is_occurrence for moment in (each.first_at, each.last_at)
    ]
    before = max((moment for moment in decided if moment < at), default=None)
    return before, min((moment for moment in decided if moment > at), default=None)


def _edited_since(facts: Facts, at: datetime) -> datetime | None:
    """Return when the schedule was first edited at or after the instant."""
    return next(
        (
            each.first_at
            for each in facts.entries
            if each.decision == "moved" and each.reason == "edited" and each.first_at >= at
        ),
        None,
    )


def newest_occurrence(facts: Facts) -> datetime:
    """Return the newest instant that was decided, or is overdue; else the next one; else now, in whole seconds."""
    decided = [each.last_at for each in facts.entries if each.is_occurrence]
    occurrences, now = facts.occurrences, facts.now.replace(microsecond=0)
    if occurrences is None or facts.cursor is None:
        return max(decided, default=now)
    due = occurrences.before(facts.now - facts.delay - _DECIDING_TAKES)
    if due is not None and due > facts.cursor.at:
        decided.append(due)
    return max(decided) if decided else occurrences.after(facts.now) or now
