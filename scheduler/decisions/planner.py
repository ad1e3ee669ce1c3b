"""The planner: which occurrences of a job are due, and what becomes of each (spec: reliability.md §5).

Pure: jobs, cursors and the current instant in, decisions and the next wake-up out. It reads no clock and
knows no Redis; asking it twice with the same arguments gives the same answer, and the script in Redis refuses
whatever has been decided in between.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Literal

from kuber_cron.common.jobs.job import Job, delay_of
from kuber_cron.common.records.skip_reason import SkipReason
from kuber_cron.common.runs import timing as timings
from kuber_cron.common.runs.cursor import Cursor
from kuber_cron.common.runs.run_id import run_id
from kuber_cron.common.runs.timing import Timing
from kuber_cron.common.schedule import Schedule, ScheduleError, occurrences
from kuber_cron.scheduler.decisions.dependencies import Dependencies

# An instant decided later than this is a matter of the job's catch-up policy; below, it is merely late.
LATE_SECONDS = 60.0
# A gap of more instants than this is closed in one step (``@every 1s`` after a month).
MAX_WALK = 10_000

DecisionKind = Literal["queue", "skip", "move", "complete", "drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One entry of the decision log, to be applied if the cursor is still as believed.

    Attributes:
        kind: ``queue`` makes a run, ``skip`` records first..last as not queued, ``move`` only sets the cursor,
            ``complete`` adds the timing that it lacks, ``drop`` removes it.
        believed: The cursor's text as known, ``""`` for none.
        cursor: The cursor's text after it.
        first: The instant, or the first of several.
        last: The last of them; equal to ``first`` for a run.
        count: How many instants; a lower bound where a gap was closed in one step.
        reason: Why nothing is queued, a ``SkipReason``; or why the cursor moves.
        run: The run's id, for ``queue``.
        due_at: When the instant was due, jitter included; lateness counts from here.
        timing: The text of the cursor's timing after it, for ``move`` and ``complete``.
    """

    kind: DecisionKind
    job: str
    believed: str
    cursor: str
    first: datetime
    last: datetime
    count: int = 1
    reason: str = ""
    run: str = ""
    due_at: datetime
    timing: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """The decisions of now, in order, and when to plan again (None: never, until the job changes)."""

    decisions: tuple[Decision, ...]
    wake_at: datetime | None


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A job made ready for planning: its schedule parsed, its own fixed delay computed.

    Attributes:
        schedule: For ``@after`` the schedule of the first predecessor.
        delay: ``jitter`` and ``RANDOM_DELAY`` as this job's own share of them, or a predecessor's where that is
            longer; due = instant + delay.
        relations: Its place among the other jobs.
        spread_by: The job whose name spreads ``H`` in its schedule, ``""`` for itself.
    """

    job: Job
    schedule: Schedule
    delay: timedelta
    relations: Dependencies = field(default_factory=Dependencies)
    spread_by: str = ""

    @property
    def timing(self) -> Timing:
        """The timing that a cursor of this job is made with."""
        return Timing(self.delay, self.job.not_before, self.job.not_after, self.spread_by)

    @property
    def cursor_schedule(self) -> tuple[str, str]:
        """Return the zone and text that a cursor of this job is made with."""
        return self.schedule.timezone, self.schedule.text

    def occurrences_after(self, at: datetime) -> Iterator[datetime]:
        """Return the job's occurrences later than ``at``, in order."""
        job = self.job
        return occurrences.following(self.schedule, at, not_before=job.not_before, not_after=job.not_after)


def entry(
    job: Job, schedule: Schedule, relations: Dependencies | None = None, *, spread_by: str = ""
) -> CatalogEntry:
    """Return the job ready for planning; without ``relations``, as if it were alone."""
    related = relations or Dependencies(delay=delay_of(job))
    return CatalogEntry(job, schedule, related.delay, related, spread_by)


def plan(entry: CatalogEntry, stored: str, now: datetime, timing: str | None = None) -> Plan:
    """Return what is to be decided for one job at ``now``, given its cursor's text (``""``: never seen).

    A job seen for the first time starts at now. After an edit (of the schedule, or of anything else that moves its
    occurrences), what the job as stored named up to now is decided by that, and the new one counts from now on. A cursor
    ahead of now (the clock stepped back) decides nothing until now has passed it.

    ``timing`` is the text of the cursor's timing. One that is missing (the version before has made the cursor) is taken to
    be the job's, and added; None says that it is the job's.
    """
    zone, text = entry.cursor_schedule
    whole_now = now.replace(microsecond=0)
    if not stored:
        fresh = Cursor(whole_now, zone, text)
        first_seen = move(entry, "", fresh, "first seen")
        return Plan((first_seen,), _wake(entry, whole_now))
    cursor = Cursor.from_text(stored)
    if cursor.at > now:
        return Plan((), cursor.at)
    made_with = entry.timing if timing is None else timings.read(timing, cursor)
    if (cursor.timezone, cursor.schedule) == (zone, text) and made_with in {None, entry.timing}:
        decisions = _decide(entry, cursor, stored, now)
        reached = decisions[-1].last if decisions else cursor.at
        lacking = [] if made_with else [replace(move(entry, stored, cursor, ""), kind="complete")]
        return Plan((*lacking, *decisions), _wake(entry, reached))
    # Those that its delay has kept until now are decided with the rest: none of them may be left behind the edit.
    old = as_stored(entry, cursor, made_with)
    decisions = _decide(old, cursor, stored, now, horizon=now) if old else []
    believed = decisions[-1].cursor if decisions else stored
    fresh = Cursor(whole_now, zone, text)
    return Plan((*decisions, move(entry, believed, fresh, "edited")), _wake(entry, whole_now))


def skip_span(
    entry: CatalogEntry, cursor: Cursor, stored: str, until: datetime, reason: str
) -> Decision | None:
    """Return one skip over all instants in (cursor, until], counted up to the walk's limit; None where there are none."""
    found: list[datetime] = []
    for at in islice(entry.occurrences_after(cursor.at), MAX_WALK):
        if at > until:
            break
        found.append(at)
    if not found:
        return None
    decision = decision_of(entry, cursor, stored, (found, reason))
    if len(found) == MAX_WALK:
        # The rest is closed unwalked, as any gap of that size.
        last = until.replace(microsecond=0)
        decision = replace(decision, last=last, cursor=cursor.moved_to(last).to_text())
    return decision


def as_stored(entry: CatalogEntry, cursor: Cursor, timing: Timing | None) -> CatalogEntry | None:
    """Return the job as its cursor and timing (if known) have it; None where the schedule has no instants any more."""
    known = timing or entry.timing
    schedule = schedule_of(cursor, known.spread_by or entry.job.id)
    if schedule is None:
        return None
    job = replace(entry.job, not_before=known.not_before, not_after=known.not_after)
    return CatalogEntry(job, schedule, known.delay)


def schedule_of(cursor: Cursor, job_id: str) -> Schedule | None:
    """Return the schedule that the cursor was made with; None where it has no instants or its zone is gone."""
    if cursor.schedule == "@reboot":
        return None
    try:
        return Schedule.parse(cursor.schedule, cursor.timezone, job_id)
    except ScheduleError:
        return None


def move(entry: CatalogEntry, believed: str, cursor: Cursor, reason: str) -> Decision:
    """Return the decision that sets the job's cursor and nothing else."""
    return Decision(
        kind="move",
        job=entry.job.id,
        believed=believed,
        cursor=cursor.to_text(),
        first=cursor.at,
        last=cursor.at,
        reason=reason,
        due_at=cursor.at,
        timing=entry.timing.to_text(cursor),
    )


def _wake(entry: CatalogEntry, after: datetime) -> datetime | None:
    following = next(entry.occurrences_after(after), None)
    return None if following is None else following + entry.delay


def _decide(
    entry: CatalogEntry, cursor: Cursor, stored: str, now: datetime, *, horizon: datetime | None = None
) -> list[Decision]:
    horizon = horizon or now - entry.delay
    due: list[datetime] = []
    for at in islice(entry.occurrences_after(cursor.at), MAX_WALK + 1):
        if at > horizon:
            break
        due.append(at)
    closed: list[Decision] = []
    if len(due) > MAX_WALK:
        closed, due = _close_gap(entry, cursor, stored, due, horizon)
        stored = closed[-1].cursor
    reasons = [(at, reason) for at, reason in zip(due, _reasons(entry, due, now), strict=True)]
    decisions = closed
    for group in _grouped(reasons):
        decision = decision_of(entry, cursor, stored, group)
        stored = decision.cursor
        decisions.append(decision)
    return decisions


def _close_gap(
    entry: CatalogEntry, cursor: Cursor, stored: str, walked: Sequence[datetime], horizon: datetime
) -> tuple[list[Decision], list[datetime]]:
    """Return one skip over all but the newest instants, and those newest, to be judged one by one."""
    keep = min(max(entry.job.max_catchup, 1) + int(LATE_SECONDS), MAX_WALK - 1)
    span = timedelta(hours=1)
    tail: list[datetime] = []
    while len(tail) <= keep:
        start = max(cursor.at, horizon - span)
        tail = []
        for at in entry.occurrences_after(start):
            if at > horizon:
                break
            tail.append(at)
        span *= 2
    last, newest = tail[-keep - 1], tail[-keep:]
    if entry.job.suspend:
        reason = SkipReason.SUSPENDED
    else:
        reason = SkipReason.LIMIT if entry.job.catchup == "all" else SkipReason.CATCHUP
    closed = decision_of(entry, cursor, stored, ([walked[0], last], reason))
    count = len(walked)
    if entry.schedule.kind == "every":
        count = int((last - walked[0]) / (walked[1] - walked[0])) + 1
    return [replace(closed, count=count)], newest


def _reasons(entry: CatalogEntry, due: Sequence[datetime], now: datetime) -> list[str]:
    """Return for each instant why it is not queued, ``""`` for those that are."""
    job = entry.job
    if job.suspend:
        return [SkipReason.SUSPENDED] * len(due)
    late = [(now - at - entry.delay).total_seconds() for at in due]
    reasons = [
        SkipReason.DEADLINE if job.deadline is not None and seconds > job.deadline else "" for seconds in late
    ]
    overdue = [i for i, seconds in enumerate(late) if seconds > LATE_SECONDS and not reasons[i]]
    allowed = {"none": 0, "last": 1, "all": job.max_catchup}[job.catchup]
    for i in overdue[: max(0, len(overdue) - allowed)]:
        reasons[i] = SkipReason.LIMIT if job.catchup == "all" else SkipReason.CATCHUP
    return reasons


def _grouped(reasons: Sequence[tuple[datetime, str]]) -> Iterator[tuple[list[datetime], str]]:
    """Yield consecutive skips of one reason together; every instant that is queued by itself."""
    group: list[datetime] = []
    current = ""
    for at, reason in reasons:
        if group and (reason != current or not reason):
            yield group, current
            group = []
        group.append(at)
        current = reason
    if group:
        yield group, current


def decision_of(
    entry: CatalogEntry, cursor: Cursor, stored: str, group: tuple[Sequence[datetime], str]
) -> Decision:
    """Return the decision of consecutive instants: a skip for their reason, or a run where that is empty."""
    instants, reason = group
    return Decision(
        kind="skip" if reason else "queue",
        job=entry.job.id,
        believed=stored,
        cursor=cursor.moved_to(instants[-1]).to_text(),
        first=instants[0],
        last=instants[-1],
        count=len(instants),
        reason=reason,
        run="" if reason else run_id(entry.job.id, instants[0]),
        due_at=instants[-1] + entry.delay,
    )
