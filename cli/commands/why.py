"""``kuber-cron why``: what was decided about an instant of a job, by whom, and the reason."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import instants
from kuber_cron.cli.command import Command
from kuber_cron.cli.commands import _query
from kuber_cron.cli.terminal import output, run_table
from kuber_cron.cli.terminal.table import Column, Style, Terminal, style_of
from kuber_cron.common import time_format

_PATIENCE = timedelta(seconds=2)  # a leader decides within a second

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.scripts import Store
    from kuber_cron.control.explain.verdict import Facts
    from kuber_cron.control.queries.results import ExplainedOccurrence, WhyView


def why(
    job: options.JobArgument,
    instant: Annotated[
        str | None,
        typer.Argument(
            metavar="INSTANT",
            help="ISO 8601, or a local time of the job's zone; 02:30 is the last one. Default: its last instant.",
            show_default=False,
        ),
    ] = None,
    *,
    absolute: _query.AbsoluteOption = False,
    redis_url: options.RedisUrlOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Say whether an instant of a job was queued, skipped, or has not been decided, and why."""

    def fetch(store: "Store") -> "WhyView":
        return view(store, job, instant)

    return _query.answer(fetch, render, redis_url=redis_url, format_=format_, absolute=absolute)


def view(store: "Store", job: str, text: str | None) -> "WhyView":
    """Return what is known of the instant that the text means.

    Raises:
        UnknownJobError: there is no such job.
        UsageError: the text is no instant.
    """
    from kuber_cron.control.queries import decision, names
    from kuber_cron.control.queries.results import WhyView

    facts = decision.facts(store, names.job_named(store, job))
    meant = _meant(facts, text)
    return WhyView(
        now=facts.now,
        job=facts.job,
        schedule=None if facts.cursor is None else facts.cursor.schedule,
        timezone=None if facts.cursor is None else facts.cursor.timezone,
        leader=facts.leader,
        note=meant.note,
        answers=tuple(_answer(store, facts, at) for at in meant.instants),
    )


def _meant(facts: "Facts", text: str | None) -> instants.InstantReading:
    zone = _zone(facts)
    if text is None:
        return instants.InstantReading(instants=(_last(facts),))
    return instants.parse(instants.of_day(text, facts.now, zone), zone)


def _zone(facts: "Facts") -> ZoneInfo:
    """Return the job's zone; of a job that has none any more, or starts with its machine, UTC."""
    name = facts.cursor.timezone if facts.cursor is not None else facts.card.timezone if facts.card else "UTC"
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return ZoneInfo("UTC")


def _last(facts: "Facts") -> datetime:
    """Return the newest instant that was decided, or should have been for a while; else the next one, else now."""
    timetable = facts.timetable
    decided = [each.last_at for each in facts.entries if each.is_occurrence]
    if timetable is None:
        return max(decided, default=facts.now.replace(microsecond=0))
    due = timetable.before(facts.now - facts.delay - _PATIENCE)
    since = facts.cursor.at if facts.cursor is not None else None
    found = [*decided, *([due] if due is not None and since is not None and due > since else [])]
    return max(found) if found else timetable.after(facts.now) or facts.now.replace(microsecond=0)


def _answer(store: "Store", known: "Facts", at: datetime) -> "ExplainedOccurrence":
    from kuber_cron.common.records import decision_log
    from kuber_cron.common.runs.run_id import run_id
    from kuber_cron.control.explain import consequences, reasons
    from kuber_cron.control.explain import verdict as finding
    from kuber_cron.control.queries import decision
    from kuber_cron.control.queries.results import ExplainedOccurrence

    facts = decision.of_instant(store, known, at)
    found = finding.find(facts, at)
    entry = found.entry
    due_at = (
        at + facts.delay if found.verdict not in {"no_instant", "before_first_seen", "not_in_files"} else None
    )
    about = [
        *([entry] if entry is not None else []),
        *decision_log.about(facts.entries, run_id(facts.job, at)),
    ]
    return ExplainedOccurrence(
        at=at,
        local=reasons.moment(facts, at),
        verdict=found.verdict,
        sentence=reasons.answer(facts, at, found),
        details=tuple(consequences.details(facts, at, found)),
        reason=entry.reason if entry is not None and entry.decision == "skipped" else None,
        due_at=due_at,
        decided_at=None if entry is None else entry.decided_at,
        late_seconds=None
        if entry is None
        else max(0.0, (entry.decided_at - at - facts.delay).total_seconds()),
        epoch=None if entry is None else entry.epoch,
        by=None if entry is None else entry.by,
        run=facts.run,
        before_at=found.before_at,
        after_at=found.after_at,
        decisions=tuple(sorted(set(about), key=lambda each: each.decided_at)),
    )


_VERDICTS: dict[str, Style] = {
    "queued": "good",
    "held": "wait",
    "skipped": "bad",
    "error": "bad",
    "due": "bad",
}


def render(seen: "WhyView", paper: Terminal) -> list[str]:
    """Return the answers, one after the other."""
    lines = [] if seen.note is None else [f"note: {output.printable(seen.note)}", ""]
    for answer in seen.answers:
        lines += [*_told(answer, seen, paper), ""]
    return lines[:-1]


def _told(answer: "ExplainedOccurrence", seen: "WhyView", paper: Terminal) -> Sequence[str]:
    instant = time_format.iso(answer.at, "seconds")
    local = "" if answer.local.endswith(" UTC") else f" ({answer.local})"
    lines = [
        f"{seen.job} at {instant}{local}",
        paper.styled(f"  {output.printable(answer.sentence)}", _VERDICTS.get(answer.verdict, "bold")),
        *(f"  {output.printable(sentence)}" for sentence in answer.details),
    ]
    if answer.before_at is not None or answer.after_at is not None:
        nearest = [
            time_format.iso(at, "seconds") for at in (answer.before_at, answer.after_at) if at is not None
        ]
        lines.append(f"  the nearest: {' and '.join(nearest)}")
    if answer.run is not None:
        stands = run_table.state(answer.run, seen.now)
        lines.append(f"  run {answer.run.run}: {paper.styled(stands, style_of(stands))}")
    if answer.decisions:
        rows = [
            [
                paper.moment(each.decided_at, seen.now),
                each.decision + (f" {each.reason}" if each.reason else ""),
                each.who or f"{each.by}, epoch {each.epoch}",
            ]
            for each in answer.decisions
        ]
        columns = (Column("  DECIDED"), Column("DECISION", style=style_of), Column("BY"))
        lines += ["", *paper.table(columns, [[f"  {row[0]}", *row[1:]] for row in rows])]
    return lines


COMMAND = Command(
    name="why",
    function=why,
    summary="Say why an instant of a job did, or did not, run.",
    examples=(
        ("kuber-cron why backup", "its last instant"),
        ("kuber-cron why backup 02:30", "last night's, in the job's own zone"),
        ("kuber-cron why backup 2026-03-29T01:00:00Z", "any instant that its log still reaches"),
    ),
    notes=_query.NOTES,
)
