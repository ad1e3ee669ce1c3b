"""``kuber-cron next``: when jobs run."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import completions, instants, job_files
from kuber_cron.cli.command import Command
from kuber_cron.cli.terminal import errors, output, table
from kuber_cron.cli.terminal.table import Column
from kuber_cron.common import time_format
from kuber_cron.common.clock import SystemClock
from kuber_cron.common.errors import KuberCronError, UsageError
from kuber_cron.common.jobs.job import Job

if TYPE_CHECKING:
    from kuber_cron.control.queries.forecast import Forecast

_MOST = 1000  # a year of a job that runs every eight hours; more is a program's business, which can ask again


class BadScheduleError(KuberCronError):
    """The expression given with --schedule has no meaning."""

    code = "bad-schedule"


def next_runs(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE", help="Job files or directories of them; - is standard input.", show_default=False
        ),
    ] = None,
    *,
    schedule: Annotated[
        str | None,
        typer.Option(
            "--schedule", metavar="EXPR", help="An expression instead of files.", show_default=False
        ),
    ] = None,
    timezone: options.TimezoneOption = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="INSTANT",
            help="Show what is later than this; default: now.",
            show_default=False,
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=_MOST, help="Runs of each job.")] = 5,
    job: Annotated[
        str | None,
        typer.Option(
            "--job",
            metavar="NAME",
            help="This job only; with --schedule, whose H is meant.",
            show_default=False,
            autocompletion=completions.jobs_of_files,
        ),
    ] = None,
    system: options.SystemOption = False,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Show the coming runs of jobs, or of an expression, and change nothing."""
    if schedule is not None and files:
        raise UsageError(
            "give either job files or --schedule", hint='quote the expression: --schedule "0 6 * * *"'
        )
    if schedule is None and not files:
        raise UsageError("give job files or --schedule", hint="see kuber-cron next --help")
    now = SystemClock().now()
    if schedule is not None:
        found, start, notes = _of_expression(
            schedule, timezone=timezone, from_=from_, now=now, count=count, job=job
        )
        status = errors.OK
    else:
        loaded = job_files.load(files or [], system=system, timezone=timezone)
        status = job_files.complain(loaded)
        chosen = [job_files.job_named(loaded.jobs, job)] if job else loaded.jobs
        found, start, notes = _of_jobs(chosen, loaded.jobs, from_, now, count)
    if format_ is output.Format.JSON:
        output.write_json(_document(found, start))
    else:
        errors.complain(*[f"note: {note}" for note in notes])
        _show(found, now)
    return status


def _of_expression(
    text: str, *, timezone: str | None, from_: str | None, now: datetime, count: int, job: str | None
) -> tuple[list["Forecast"], datetime, list[str]]:
    from kuber_cron.common.schedule import Schedule, ScheduleError
    from kuber_cron.control.queries import forecast

    zone = job_files.default_timezone(timezone)
    try:
        parsed = Schedule.parse(text, timezone=zone, job_id=job or "")
    except ScheduleError as error:
        raise BadScheduleError(f'schedule "{text}": {error.message}', hint=error.hint) from error
    start, note = _start(from_, parsed.timezone, now)
    return [forecast.of_schedule(parsed, start, count, job=job)], start, [note] if note else []


def _of_jobs(
    chosen: Sequence[Job], jobs: Sequence[Job], from_: str | None, now: datetime, count: int
) -> tuple[list["Forecast"], datetime, list[str]]:
    """Forecast each job from its own start: a local time is read in the zone of the job that it is asked of."""
    from kuber_cron.control.queries import forecast

    by_id = {job.id: job for job in jobs}
    starts = {zone: _start(from_, zone, now) for zone in sorted({job.timezone for job in chosen})}
    found = [forecast.of_job(job, by_id, starts[job.timezone][0], count) for job in chosen]
    earliest = min((start for start, _ in starts.values()), default=now)
    return found, earliest, [note for _, note in starts.values() if note]


def _start(text: str | None, timezone: str, now: datetime) -> tuple[datetime, str | None]:
    if text is None:
        return now, None
    from zoneinfo import ZoneInfo

    meant = instants.parse(text, ZoneInfo(timezone))
    return meant.instants[0], meant.note


def _document(found: Sequence["Forecast"], start: datetime) -> dict[str, Any]:
    """Return the answer as interface.md spells it."""
    return {"version": 1, "from": time_format.iso(start), "jobs": [_job_document(each) for each in found]}


def _job_document(each: "Forecast") -> dict[str, Any]:
    from zoneinfo import ZoneInfo

    zone = ZoneInfo(each.timezone)
    runs = [{"at": time_format.iso(run), "local": run.astimezone(zone).isoformat()} for run in each.runs]
    return {
        "job": each.job,
        "schedule": each.schedule,
        "timezone": each.timezone,
        "never": each.never,
        "runs": runs,
    }


_COLUMNS = (
    Column("JOB", folds=True),
    Column("UTC"),
    Column("LOCAL"),
    Column("WHEN"),
    Column("NOTE", folds=True),
)


def _show(found: Sequence["Forecast"], now: datetime) -> None:
    rows = [row for each in found for row in _rows(each, now)]
    used = [place for place in range(len(_COLUMNS)) if any(row[place] for row in rows)]
    if not rows:
        errors.complain("no jobs")
        return
    table.write([_COLUMNS[i] for i in used], [[row[i] for i in used] for row in rows])


def _rows(each: "Forecast", now: datetime) -> list[list[str]]:
    from zoneinfo import ZoneInfo

    name, note = each.job or "", "; ".join(each.notes)
    if not each.runs:
        why = "never runs" if each.never else "no coming runs"
        return [[name, "-", "-", why, "; ".join(filter(None, [note, each.schedule if each.never else ""]))]]
    zone = ZoneInfo(each.timezone)
    return [
        [
            name,
            time_format.display(run),
            f"{run.astimezone(zone):%a %Y-%m-%d %H:%M:%S %Z}",
            time_format.away((run - now).total_seconds()),
            note,
        ]
        for run in each.runs
    ]


COMMAND = Command(
    name="next",
    function=next_runs,
    summary="Show the coming runs.",
    examples=(
        ("kuber-cron next crontab", "the next five runs of each job"),
        ('kuber-cron next --schedule "30 2 * * 1-5" --timezone Europe/Berlin', "try an expression out"),
        (
            "kuber-cron next crontab --job backup --from 2026-03-29 -n 3",
            "from that midnight in the job's zone",
        ),
        ("kuber-cron next crontab --format json | jq .jobs[0].runs[0].at", "for a program"),
    ),
)
