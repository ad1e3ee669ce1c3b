"""Reasons: what ``why`` has found about an instant, in one sentence for people. Pure.

What follows from it, or what to look at next, is said in :mod:`kuber_cron.control.explain.consequences`.
"""

from datetime import datetime
from zoneinfo import ZoneInfo

from kuber_cron.common import time_format
from kuber_cron.common.records.decision_log import LogEntry
from kuber_cron.control.explain.verdict import Explanation, Facts

LATE_SECONDS = 2.0
"""Below, a decision is on time: a hand-over takes a second."""


def answer(facts: Facts, at: datetime, finding: Explanation) -> str:
    """The sentence that answers why the instant ``at`` has, or has not, become a run."""
    match finding.verdict:
        case "queued" | "held" | "skipped" | "error":
            return _decided(facts, at, finding)
        case "coming":
            return f"it is to come: due in {time_format.span((at + facts.delay - facts.now).total_seconds())}"
        case "due":
            late = time_format.span((facts.now - at - facts.delay).total_seconds())
            return f"it has not been decided yet, and has been due for {late}"
        case "before_first_seen" if finding.seen_at is None:
            return "the job has been loaded, and no leader has decided anything about it yet"
        case "before_first_seen":
            return f"the job was first seen later, at {moment(facts, finding.seen_at)}, and starts from then"
        case "not_in_files":
            return f"the job was in no file then: it had been removed by {moment(facts, finding.gone_at)}"
        case "too_old" if finding.seen_at is None:
            return "nobody knows any more: nothing is left of the log of its decisions"
        case "too_old":
            return (
                f"nobody knows any more: the log of its decisions begins at {moment(facts, finding.seen_at)}"
            )
        case _:
            return _no_instant(facts, finding)


def _decided(facts: Facts, at: datetime, finding: Explanation) -> str:
    entry = finding.entry
    if entry is None:
        return "it was queued: its run has a record, though the log of decisions no longer reaches so far"
    match entry.decision:
        case "known":
            return "it was queued: its run existed already when the instant was decided"
        case "skipped":
            return f"it was not queued: {_skip(facts, at, entry)}"
        case "error":
            return f"it was not queued: Redis refused it ({entry.reason})"
        case "held":
            return "it was queued, to wait" + _lateness(facts, at, entry)
        case _:
            return "it was queued" + _lateness(facts, at, entry)


def _skip(facts: Facts, at: datetime, entry: LogEntry) -> str:
    card = facts.card
    late = time_format.span((entry.decided_at - at - facts.delay).total_seconds())
    match entry.reason:
        case "deadline":
            allowed = (
                f" of {time_format.span(card.deadline)}"
                if card is not None and card.deadline is not None
                else ""
            )
            return f"it was decided {late} after it was due, and its deadline{allowed} had passed"
        case "catchup":
            policy = f"catchup={card.catchup}" if card is not None else "the job's catchup"
            return f"nobody decided in time, {late} later it was a missed instant, and {policy} does not queue it"
        case "limit":
            return f"nobody decided in time, and {late} later more had been missed than max_catchup allows to queue"
        case "overlap":
            return f"an earlier run had not ended{_concurrency(facts)}"
        case "suspended":
            return "the job was paused or suspended"
        case "state_lost":
            return "Redis had lost what was decided about it, and on_state_loss=skip risks no second run"
        case "predecessor":
            after = f" ({', '.join(card.after)})" if card is not None and card.after else ""
            return f"a predecessor{after} had not succeeded"
        case "removed":
            return "the job left its files before it was decided"
        case other:
            return other or "no reason was written down"


def _concurrency(facts: Facts) -> str:
    card = facts.card
    if card is None or card.concurrency == "allow":
        return ""
    if card.concurrency == "queue":
        return f", and concurrency=queue lets {card.max_running} wait"
    return f", and concurrency={card.concurrency} lets one run at a time"


def _lateness(facts: Facts, at: datetime, entry: LogEntry) -> str:
    seconds = (entry.decided_at - at - facts.delay).total_seconds()
    return f", {time_format.span(seconds)} late" if seconds >= LATE_SECONDS else ""


def _no_instant(facts: Facts, finding: Explanation) -> str:
    if facts.cursor is not None and facts.cursor.schedule == "@reboot":
        return "the job runs once at each start (@reboot), and at no other instants"
    if finding.edited_at is not None:
        return (
            "it was no instant of the schedule in force then, which was edited at "
            f"{moment(facts, finding.edited_at)}"
        )
    if facts.cursor is None or facts.timetable is None:
        return "it is no instant of the job's schedule"
    schedule = f"{facts.cursor.schedule} in {facts.cursor.timezone}"
    if finding.is_outside_life:
        return f"it is outside of the job's life (not_before, not_after), though an instant of its schedule, {schedule}"
    return f"it is no instant of the job's schedule, {schedule}"


def moment(facts: Facts, at: datetime | None) -> str:
    """The instant in the job's own zone."""
    return "an unknown time" if at is None else local(at, facts.cursor.timezone if facts.cursor else "UTC")


def local(at: datetime, timezone: str) -> str:
    """The instant in the zone: ``2026-03-29 04:30:00 CEST``; in UTC where the zone is none."""
    try:
        zone = ZoneInfo(timezone)
    except (ValueError, OSError, KeyError):
        zone = ZoneInfo("UTC")
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"
