"""Why: what was decided about an instant of a job, or why nothing was. Pure; :mod:`kuber_cron.control.explain.reasons` has the words.

The log of a job's decisions is complete between its oldest entry and the cursor: each instant of the schedule in force then
was decided once. So an instant in there that no entry covers was none of the schedule's, whatever the files say now; what
is later than the cursor is a matter of the cursor's schedule, and what is older than the log nobody knows any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from kuber_cron.common.records import decision_log, job_summary
from kuber_cron.common.records.decision_log import LogEntry
from kuber_cron.common.records.job_summary import JobSummary
from kuber_cron.common.records.run import RunRecord
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
    "before_first_seen",
    "not_in_files",
    "too_old",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """Who leads, as the fence has it.

    Attributes:
        holder: The identity of whoever led last.
        epoch: The term's number; 0 where nobody has ever led.
        seen_at: When Redis last heard of it; null for never.
        is_alive: Whether somebody leads now.
        election: ``kubernetes`` or ``redis``.
    """

    holder: str = ""
    epoch: int = 0
    seen_at: datetime | None = None
    is_alive: bool = False
    election: Literal["kubernetes", "redis"] = "redis"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A pause in force. ``until`` None: until it is resumed. ``of_all``: of every job."""

    until: datetime | None
    of_all: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a held run waits for.

    Attributes:
        run: The other run.
        kind: ``after``: its success; ``line``: its end, however that is.
        state: How it stands now, in words.
    """

    run: str
    kind: Literal["after", "line"]
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The group that a held run waits for room in.

    Attributes:
        name: Its name.
        limit: How many of its runs may run at once.
        running: Those that run.
        place: The run's place in its line, from 1.
    """

    name: str
    limit: int
    running: tuple[str, ...]
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that Redis holds of a job and an instant.

    Attributes:
        entries: The job's log, oldest first.
        run: The record of the instant's run; None where there is none, or none any more.
        others: Records of earlier runs, for who stood in the way.
        queue_place: The run's place in its queue, from 1.
        queue_workers: How many workers serve that queue.
    """

    job: str
    now: datetime
    cursor: Cursor | None = None
    card: JobSummary | None = None
    entries: Sequence[LogEntry] = ()
    leader: Leader = field(default_factory=Leader)
    pause: Pause | None = None
    run: RunRecord | None = None
    gates: tuple[Gate, ...] = ()
    group: Group | None = None
    others: Sequence[RunRecord] = ()
    queue_place: int | None = None
    queue_workers: int | None = None

    @property
    def timetable(self) -> Occurrences | None:
        """When the job runs, by its cursor."""
        return None if self.cursor is None else job_summary.occurrences_of(self.job, self.cursor, self.card)

    @property
    def delay(self) -> timedelta:
        """Between an instant and when it is due."""
        return timedelta(seconds=0.0 if self.card is None else self.card.delay)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What was found out about an instant.

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


_OF_DECISIONS: dict[str, Verdict] = {
    "queued": "queued",
    "known": "queued",
    "held": "held",
    "skipped": "skipped",
    "error": "error",
}


def find(facts: Facts, at: datetime) -> Explanation:
    """What became of the job's instant ``at``, or will."""
    edited_at = _edited_since(facts, at)
    entry = decision_log.deciding(facts.entries, at)
    if entry is not None:
        timetable = facts.timetable
        is_certain = entry.first_at == entry.last_at or at in {entry.first_at, entry.last_at}
        if not is_certain and edited_at is None and timetable is not None:
            if not timetable.has(at):
                return _none(facts, at, edited_at)
            is_certain = True
        verdict = _OF_DECISIONS[entry.decision]
        return Explanation(verdict=verdict, entry=entry, is_certain=is_certain, edited_at=edited_at)
    if facts.cursor is None or at > facts.cursor.at:
        return _ahead(facts, at)
    return _behind(facts, at, edited_at)


def _ahead(facts: Facts, at: datetime) -> Explanation:
    """Nobody has decided it yet."""
    if facts.cursor is None:
        gone = next((each for each in reversed(facts.entries) if each.decision == "dropped"), None)
        if gone is None:
            return Explanation(verdict="before_first_seen")
        return (
            Explanation(verdict="not_in_files", gone_at=gone.first_at)
            if at > gone.first_at
            else _behind(facts, at, None)
        )
    timetable = facts.timetable
    if timetable is None or not timetable.has(at):
        return _none(facts, at, None)
    if not timetable.is_alive(at):
        return _none(facts, at, None, is_outside_life=True)
    return Explanation(verdict="coming" if at + facts.delay > facts.now else "due")


def _behind(facts: Facts, at: datetime, edited_at: datetime | None) -> Explanation:
    """The cursor has passed it, and no entry is about it."""
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
    """The nearest instants: by the schedule where it was in force then, else those that were decided."""
    timetable = facts.timetable
    if timetable is not None and edited_at is None:
        return timetable.before(at), timetable.after(at)
    decided = [
        moment for each in facts.entries if each.is_occurrence for moment in (each.first_at, each.last_at)
    ]
    before = max((moment for moment in decided if moment < at), default=None)
    return before, min((moment for moment in decided if moment > at), default=None)


def _edited_since(facts: Facts, at: datetime) -> datetime | None:
    """When the schedule was first edited at or after the instant."""
    return next(
        (
            each.first_at
            for each in facts.entries
            if each.decision == "moved" and each.reason == "edited" and each.first_at >= at
        ),
        None,
    )
