"""``kuber-cron why``: what was decided about an instant of a job, by whom, and the reason."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import instants
from kuber_cron.cli.command import Command
from kuber_cron.cli.commands import _query
from kuber_cron.cli.terminal import output, run_table
from kuber_cron.cli.terminal.table import Column, Style, Terminal, style_of
from kuber_cron.common import time_format

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.scripts import Store
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
    absolute: options.AbsoluteOption = False,
    redis_url: options.RedisUrlOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Say whether an instant of a job was queued, skipped, or has not been decided, and why."""

    def fetch(store: "Store") -> "WhyView":
        from kuber_cron.control.queries import decision

        if instant is None:
            return decision.why(store, job)
        now, zone = decision.local_clock(store, job)
        meant = instants.parse(instants.of_day(instant, now, zone), zone)
        return decision.why(store, job, meant.instants, note=meant.note)

    return _query.run_query(fetch, render, redis_url=redis_url, format_=format_, absolute=absolute)


_VERDICTS: dict[str, Style] = {
    "queued": "good",
    "held": "wait",
    "skipped": "bad",
    "error": "bad",
    "due": "bad",
}


def render(view: "WhyView", terminal: Terminal) -> list[str]:
    """Return the answers, one after the other."""
    lines = [] if view.note is None else [f"note: {output.printable(view.note)}", ""]
    for answer in view.answers:
        lines += [*_told(answer, view, terminal), ""]
    return lines[:-1]


def _told(answer: "ExplainedOccurrence", view: "WhyView", terminal: Terminal) -> Sequence[str]:
    instant = time_format.iso(answer.at, "seconds")
    local = "" if answer.local.endswith(" UTC") else f" ({answer.local})"
    lines = [
        f"{view.job} at {instant}{local}",
        terminal.styled(f"  {output.printable(answer.sentence)}", _VERDICTS.get(answer.verdict, "bold")),
        *(f"  {output.printable(sentence)}" for sentence in answer.details),
    ]
    if answer.before_at is not None or answer.after_at is not None:
        nearest = [
            time_format.iso(at, "seconds") for at in (answer.before_at, answer.after_at) if at is not None
        ]
        lines.append(f"  the nearest: {' and '.join(nearest)}")
    if answer.run is not None:
        stands = run_table.state(answer.run, view.now)
        lines.append(f"  run {answer.run.run}: {terminal.styled(stands, style_of(stands))}")
    if answer.decisions:
        rows = [
            [
                terminal.moment(each.decided_at, view.now),
                each.decision + (f" {each.reason}" if each.reason else ""),
                each.who or f"{each.by}, epoch {each.epoch}",
            ]
            for each in answer.decisions
        ]
        columns = (Column("  DECIDED"), Column("DECISION", style=style_of), Column("BY"))
        lines += ["", *terminal.table(columns, [[f"  {row[0]}", *row[1:]] for row in rows])]
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
