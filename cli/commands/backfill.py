"""``kuber-cron backfill``: make up for the instants of a span."""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import identity, instants, redis_target
from kuber_cron.cli.command import Command
from kuber_cron.cli.commands import trigger
from kuber_cron.cli.terminal import errors, output, table
from kuber_cron.cli.terminal.table import Column
from kuber_cron.common import time_format
from kuber_cron.common.errors import UsageError

if TYPE_CHECKING:
    from kuber_cron.control.actions.results import CreatedRun

# Of control.actions.backfill, manual_request and leader_requests, whose import --help does not wait for.
_USUAL, _MOST, _SECONDS = 100, 1000, 10.0
_SHOWN = 20  # runs of which a table shows each; of more, how many of which verdict


def backfill(
    job: options.JobArgument,
    *,
    from_: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="INSTANT",
            help="The first instant; without an offset in the job's zone.",
            show_default=False,
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="INSTANT", help="The end, which is not in it any more.", show_default=False
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be made.")] = False,
    most: Annotated[
        int, typer.Option("--max", min=1, max=_MOST, help="Make none if there are more instants.")
    ] = _USUAL,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also what has succeeded or goes on, and while the job is paused."),
    ] = False,
    yes: options.YesOption = False,
    timeout: options.PatienceOption = _SECONDS,
    redis_url: options.RedisUrlOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Make a run for each instant of the job's schedule, as it is now, in a span of the past.

    Instants that have succeeded are left out, as far as the job's history reaches, and so are those with a run that has
    not ended. Where the job allows no overlap the runs stand in line, oldest first, behind those that go on.
    """
    key = identity.signing_key()
    with redis_target.connected(redis_url) as store:
        from kuber_cron.control.actions import backfill as actions
        from kuber_cron.control.actions.leader_requests import RequestTerms
        from kuber_cron.control.actions.trigger import check_made
        from kuber_cron.control.queries import names, time_zone

        name = names.job_named(store, job)
        zone = time_zone.zone_of(store, name)
        first, end = span(from_, to, zone)
        what = actions.BackfillSpan(job=name, from_at=first, to_at=end, max_runs=most, force=force)
        terms = RequestTerms(
            operator=identity.operator(),
            signing_key=key,
            timeout_seconds=timeout,
            wait=threading.Event().wait,
        )
        result = actions.plan(store, what, terms)
        if not dry_run:
            check_made(result.runs[0])
            planned = [each for each in result.runs if each.verdict == "planned"]
            if planned:
                identity.confirm(
                    f"make {output.counted(len(planned), 'run')} of {name}, {_ends(planned)}?", yes=yes
                )
                result = actions.backfill(store, what, terms)
    if format_ is output.Format.JSON:
        from kuber_cron.control import documents

        output.write_document(documents.document(replace(result, dry_run=dry_run)))
    else:
        _show(result.runs, zone)
    is_well = all(each.verdict not in {"refused", "error"} for each in result.runs)
    return errors.OK if is_well else errors.PROBLEM


def span(first: str, end: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the span from ``first`` on and before ``end``; of a local time that comes twice both passes are in it.

    Raises:
        UsageError: one is no instant, or the end is not later.
    """
    start, stop = instants.parse(first, zone), instants.parse(end, zone)
    for note in (start.note, stop.note):
        if note:
            errors.note(note)
    if stop.instants[-1] <= start.instants[0]:
        raise UsageError(
            f"the span ends at {time_format.iso(stop.instants[-1])}, not after {time_format.iso(start.instants[0])}",
            hint="--to is later than --from",
        )
    return start.instants[0], stop.instants[-1]


def _ends(runs: "Sequence[CreatedRun]") -> str:
    """Return the first and the last instant of these."""
    ends = [
        time_format.iso(each.scheduled_at) for each in (runs[0], runs[-1]) if each.scheduled_at is not None
    ]
    return " to ".join(dict.fromkeys(ends))


def _show(runs: "Sequence[CreatedRun]", zone: ZoneInfo) -> None:
    if len(runs) > _SHOWN:
        counts = Counter(trigger.words_of(each) for each in runs)
        table.write(
            [Column("RUNS"), Column("VERDICT")], [[str(count), words] for words, count in counts.items()]
        )
        return
    rows = []
    for each in runs:
        at = each.scheduled_at
        rows.append(
            [
                "" if at is None else time_format.display(at),
                "" if at is None else f"{at.astimezone(zone):%a %Y-%m-%d %H:%M:%S %Z}",
                trigger.words_of(each),
                each.run if each.is_made else "",
            ]
        )
    table.write([Column("UTC"), Column("LOCAL"), Column("VERDICT"), Column("RUN")], rows)


COMMAND = Command(
    name="backfill",
    function=backfill,
    summary="Make up for the instants of a span.",
    examples=(
        ("kuber-cron backfill backup --from 2026-03-01 --to 2026-03-08 --dry-run", "what would be made"),
        ("kuber-cron backfill backup --from 2026-03-01 --to 2026-03-08", "ask, and make it"),
        (
            "kuber-cron backfill report --from 2026-03-28T00:00:00Z --to 2026-03-29T00:00:00Z --max 500 --yes",
            "up to 500 runs, without a question",
        ),
    ),
    notes="kuber-cron stop --job JOB ends all runs of a backfill that was a mistake.",
)
