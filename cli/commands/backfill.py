"""``kuber-cron backfill``: make up for the instants of a span."""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import identity, instants
from kuber_cron.cli.command import Command
from kuber_cron.cli.commands import trigger
from kuber_cron.cli.terminal import errors, output
from kuber_cron.common.errors import UsageError

if TYPE_CHECKING:
    from kuber_cron.control.actions.operations import OperatorActions
    from kuber_cron.control.actions.results import CreatedRun

_USUAL, _MOST = 100, 1000  # the second is request.MOST_RUNS, which would be imported for --help
_SECONDS = 10.0
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
    as_json = format_ is output.Format.JSON
    key = identity.signing_key()
    with identity.acting(redis_url) as (store, acts):
        from kuber_cron.control.queries import names

        name = names.job_named(store, job)
        first, end = span(from_, to, identity.zone_of(store, name))
        ask = _Asking(acts, name, first, end, most, force, timeout, key)
        made = ask(dry=True)
        if not dry_run:
            trigger.refuse(made[0])
            planned = [each for each in made if each.verdict == "planned"]
            if planned:
                identity.confirm(
                    f"make {output.counted(len(planned), 'run')} of {name}, {_ends(planned)}?", yes=yes
                )
                made = ask(dry=False)
        zone = identity.zone_of(store, name)
    if as_json:
        from kuber_cron.control import documents
        from kuber_cron.control.actions.results import Backfilled

        answer = Backfilled(job=name, from_at=first, to_at=end, dry_run=dry_run, runs=tuple(made))
        output.write_document(documents.document(answer))
    else:
        _show(made, zone)
    return errors.OK if all(each.verdict not in {"refused", "error"} for each in made) else errors.PROBLEM


def span(first: str, end: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the span from ``first`` on and before ``end``; of a local time that comes twice both passes are in it.

    Raises:
        UsageError: one is no instant, or the end is not later.
    """
    start, stop = instants.parse(first, zone), instants.parse(end, zone)
    for note in (start.note, stop.note):
        if note:
            identity.note(note)
    if stop.instants[-1] <= start.instants[0]:
        raise UsageError(
            f"the span ends at {instants.iso(stop.instants[-1])}, not after {instants.iso(start.instants[0])}",
            hint="--to is later than --from",
        )
    return start.instants[0], stop.instants[-1]


@dataclass(frozen=True, slots=True)
class _Asking:
    """The same question, first what would be made and then to make it."""

    acts: "OperatorActions"
    job: str
    first: datetime
    end: datetime
    most: int
    force: bool
    seconds: float
    key: bytes | None

    def __call__(self, *, dry: bool) -> "list[CreatedRun]":
        asked = self.acts.new(
            action="backfill",
            job=self.job,
            from_at=self.first,
            to_at=self.end,
            most=self.most,
            force=self.force,
            dry=dry,
            patience_seconds=self.seconds,
        )
        return self.acts.ask(asked, signing_key=self.key, wait=threading.Event().wait)


def _ends(made: "Sequence[CreatedRun]") -> str:
    """Return the first and the last instant of these."""
    ends = [instants.iso(each.scheduled_at) for each in (made[0], made[-1]) if each.scheduled_at is not None]
    return " to ".join(dict.fromkeys(ends))


def _show(made: "Sequence[CreatedRun]", zone: ZoneInfo) -> None:
    if len(made) > _SHOWN:
        counts = Counter(trigger.words_of(each) for each in made)
        output.write_table(["RUNS", "VERDICT"], [[str(count), words] for words, count in counts.items()])
        return
    rows = []
    for each in made:
        at = each.scheduled_at
        rows.append(
            [
                "" if at is None else f"{at:%Y-%m-%d %H:%M:%S}Z",
                "" if at is None else f"{at.astimezone(zone):%a %Y-%m-%d %H:%M:%S %Z}",
                trigger.words_of(each),
                each.run if each.is_made else "",
            ]
        )
    output.write_table(["UTC", "LOCAL", "VERDICT", "RUN"], rows)


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
