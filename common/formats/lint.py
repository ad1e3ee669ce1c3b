"""Lint: what is valid and will probably surprise (spec: cron.md §2, the last line).

All but :func:`transitions` read a text alone; that one depends on the time, which its caller gives.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

from kuber_cron.common.diagnostics import Diagnostic, Fault, shown
from kuber_cron.common.jobs.job import Job
from kuber_cron.common.schedule import Schedule, ScheduleError, timezones

_FIELD = re.compile(
    r"(?:\*|\?|[0-9*][0-9*,/~-]*|(?:(?:mon|tue|wed|thu|fri|sat|sun)[,-]?)+|H(?:\([0-9-]*\))?(?:/[0-9]+)?)",
    re.IGNORECASE,
)
_DURATION = re.compile(r"[0-9]+[dhms]")
_DATE_CUT = re.compile(r"\bdate\b[^|;&%]*\+[^|;&%]*$")
# How much of a command's end can belong to the date that a % cuts.
_TAIL = 200
_EVERY_OTHER = re.compile(r"\*/(?!1$|0*1$)[0-9]+$")
_DIRECTIVE = "kuber-cron:"

# The next jumps of a zone lie within this, where it has any: clocks change twice a year.
_LOOK_AHEAD = timedelta(days=366)


def command(text: str, schedule: str, at: int, *, cut_at: int | None, user_word: bool) -> Iterator[Fault]:
    """Yield warnings about a crontab's command.

    Args:
        text: The command as it stands on the line, behind the flags.
        schedule: Its schedule.
        at: 0-based offset of ``text`` on the line.
        cut_at: Where in ``text`` its first unescaped % stands.
        user_word: Whether a user word stood before it.
    """
    run = text if cut_at is None else text[:cut_at]
    if cut_at is not None and _DATE_CUT.search(run[-_TAIL:]):
        yield _warning(
            at + cut_at,
            "KC908",
            "unescaped '%' ends the command; the rest becomes its input",
            r"write \% in date formats",
        )
    stripped = run.rstrip(" \t")
    if stripped.endswith("&") and not stripped.endswith(("&&", "\\&")):
        yield _warning(
            at + len(stripped) - 1,
            "KC907",
            "a trailing '&': the job ends at once, and what it started is neither watched nor timed",
            "leave the & out; runs do not wait for each other",
        )
    first = run.split(maxsplit=1)[0] if run.strip() else ""
    pattern = _DURATION if schedule.startswith("@") else _FIELD
    if pattern.fullmatch(first[:64]) and not user_word:
        yield _warning(
            at,
            "KC909",
            f"the command begins with {shown(first)}, which looks like a field of the schedule",
            "a schedule has five fields; seconds are written @every 30s",
        )
    elif first == "root" and run.strip() != "root" and not user_word:
        yield _warning(
            at,
            "KC914",
            "the command begins with 'root', which looks like a user word",
            "files with a user word say so: # kuber-cron: file format=system",
        )
    directive = run.find(_DIRECTIVE)
    if directive >= 0 and "#" in run[:directive]:
        yield _warning(
            at + directive,
            "KC913",
            "a directive on the job's own line is part of the command",
            "write it on a line of its own, above the job",
        )


def looks_like_a_field(word: str) -> bool:
    """Return True if a word behind five fields might have been meant as a sixth."""
    return _FIELD.fullmatch(word[:64]) is not None


def user(name: str, at: int) -> Iterator[Fault]:
    """Yield warnings about a user word."""
    if looks_like_a_field(name):
        message = f"the user word is {shown(name)}, which looks like a field of the schedule"
        yield _warning(at, "KC909", message, "a schedule has five fields; then comes the user")


def day_steps(schedule: str) -> str | None:
    """Return the day field of the form ``*/n``, or None."""
    if "*/" not in schedule:
        return None  # an optimisation: most schedules have no such field
    fields = schedule.split(" ")
    if len(fields) != 5:
        return None
    return next((fields[place] for place in (2, 4) if _EVERY_OTHER.match(fields[place])), None)


def steps(schedule: str, at: int) -> Iterator[Fault]:
    """Yield warnings about a schedule."""
    field = day_steps(schedule)
    if field is not None:
        fields = schedule.split(" ")
        if fields[2] != "*" and fields[4] != "*":
            message = f"'{field}' begins with *, so day of month and day of week must both match"
        else:
            message = f"'{field}' starts anew with each {'month' if field == fields[2] else 'week'}"
        days = "1-31/2" if field == fields[2] else "mon,wed,fri"
        hint = f"write the days: {days}, or for a fixed rhythm @every 2d"
        yield _warning(
            at, "KC910", message, hint, about="day-of-month" if field == fields[2] else "day-of-week"
        )


def transitions(
    jobs: Iterable[Job], now: datetime, line: Callable[[Job], str] = lambda job: job.schedule
) -> list[Diagnostic]:
    """Return a warning for each job that names a time of day inside its zone's next gap or fold after ``now``.

    The jumps are found once per zone, and each schedule once per zone. ``line`` gives the source line of
    a job, for the caret; without it the schedule stands there.
    """
    jumps: dict[str, list[timezones.Jump]] = {}
    known: dict[tuple[str, str], list[tuple[timezones.Jump, datetime]]] = {}
    found = []
    for job in jobs:
        spread = "H" in job.schedule or "~" in job.schedule
        key = (job.schedule, f"{job.timezone}\0{job.id}" if spread else job.timezone)
        if key not in known:
            if job.timezone not in jumps:
                jumps[job.timezone] = _next_jumps(job.timezone, now)
            known[key] = list(_hits(job, jumps[job.timezone]))
        found += [_jump_warning(job, jump, named, line(job)) for jump, named in known[key]]
    return found


def _next_jumps(zone: str, now: datetime) -> list[timezones.Jump]:
    """Return the zone's next gap and its next fold, corrections left out."""
    coming = [jump for jump in timezones.find(zone).jumps(now, now + _LOOK_AHEAD) if not jump.is_correction]
    gaps = [jump for jump in coming if jump.is_gap]
    folds = [jump for jump in coming if not jump.is_gap]
    return gaps[:1] + folds[:1]


def _hits(job: Job, jumps: list[timezones.Jump]) -> Iterator[tuple[timezones.Jump, datetime]]:
    try:
        schedule = Schedule.parse(job.schedule, job.timezone, job.id)
    except ScheduleError:  # cannot be: it was loaded
        return
    if schedule.kind != "cron" or not schedule.is_fixed:
        return
    for jump in jumps:
        named = schedule.named_within(*jump.local_range)
        if named is not None:
            yield jump, named


def _jump_warning(job: Job, jump: timezones.Jump, named: datetime, text: str) -> Diagnostic:
    when = f"{named:%Y-%m-%d %H:%M}"
    if jump.is_gap:
        later = jump.local_range[1]
        code, message = "KC911", f"{when} does not exist in {job.timezone}: runs at {later:%H:%M} instead"
    else:
        code, message = "KC912", f"{when} comes twice in {job.timezone}: runs the first time only"
    col = len(text) - len(text.lstrip(" \t")) + 1
    hint = "choose a time outside the jump, or timezone=UTC"
    fault = Fault(col=col, severity="warning", code=code, message=message, hint=hint, about="schedule")
    return fault.at(job.source, job.line, text)


def _warning(at: int, code: str, message: str, hint: str, about: str = "command") -> Fault:
    return Fault(col=at + 1, severity="warning", code=code, message=message, hint=hint, about=about)
