"""``kuber-cron jobs``: when each job runs next, and how its last run went."""

from typing import TYPE_CHECKING, Annotated

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import completions
from kuber_cron.cli.command import Command
from kuber_cron.cli.commands import _query
from kuber_cron.cli.terminal import errors, output
from kuber_cron.cli.terminal.table import Column, Style, Terminal, style_of
from kuber_cron.common import time_format

if TYPE_CHECKING:
    from kuber_cron.common.records.job_state import JobState
    from kuber_cron.common.redis_store.scripts import Store
    from kuber_cron.control.queries.results import JobsView


def jobs(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="JOB",
            help="These jobs only; * and ? stand for anything.",
            show_default=False,
            autocompletion=completions.jobs,
        ),
    ] = None,
    *,
    failing: Annotated[
        bool, typer.Option("--failing", help="Those that have failed since they last succeeded.")
    ] = False,
    paused: Annotated[bool, typer.Option("--paused", help="Those that are paused or suspended.")] = False,
    watch: options.WatchOption = False,
    absolute: options.AbsoluteOption = False,
    redis_url: options.RedisUrlOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Show all jobs: when each runs next, how its last run went, whether it is failing or paused."""

    def fetch(store: "Store") -> "JobsView":
        from kuber_cron.control.queries import jobs as query

        return query.jobs(store, names or [], failing=failing, paused=paused)

    return _query.run_query(
        fetch, render, redis_url=redis_url, format_=format_, absolute=absolute, watch=watch
    )


def _last_style(text: str) -> Style:
    return "bad" if "failing" in text else style_of(text)


_COLUMNS = (
    Column("JOB"),
    Column("SCHEDULE", rank=2),
    Column("ZONE", rank=4),
    Column("NEXT", style=style_of),
    Column("LAST", style=_last_style),
    Column("ENDED"),
    Column("TOOK", rank=1, right=True),
    Column("QUEUE", rank=3),
    Column("TEAM", rank=5),
)


def render(view: "JobsView", terminal: Terminal) -> list[str]:
    """Return the jobs as a table; columns that are empty for all of them are left out."""
    if not view.jobs:
        errors.complain("no jobs")
        return []
    rows = [_row(job, view, terminal) for job in view.jobs]
    used = [place for place in range(len(_COLUMNS)) if any(row[place] for row in rows)]
    return terminal.table([_COLUMNS[i] for i in used], [[row[i] or "-" for i in used] for row in rows])


def _row(job: "JobState", view: "JobsView", terminal: Terminal) -> list[str]:
    return [
        job.job,
        job.schedule,
        job.timezone if job.timezone != "UTC" else "",
        _next(job, view, terminal),
        _last(job),
        terminal.moment(job.last_ended_at, view.now) if job.last_ended_at is not None else "",
        "" if job.last_seconds is None else time_format.duration(job.last_seconds),
        job.queue if job.queue is not None and job.queue != "default" else "",
        job.team or "",
    ]


def _next(job: "JobState", view: "JobsView", terminal: Terminal) -> str:
    if job.is_paused:
        return (
            "paused"
            if job.paused_until is None
            else f"paused, ends {terminal.moment(job.paused_until, view.now)}"
        )
    if job.is_suspended:
        return "suspended"
    if job.schedule == "@reboot":
        return "at a start"
    if job.decided_until is None:
        return "not seen yet"
    return "never" if job.due_at is None else terminal.moment(job.due_at, view.now)


def _last(job: "JobState") -> str:
    if job.is_failing and job.last_outcome in {None, "success", "replaced"}:
        return f"{job.last_outcome}, failing"
    return job.last_outcome or ""


COMMAND = Command(
    name="jobs",
    function=jobs,
    summary="Show when jobs run next, and how they went.",
    examples=(
        ("kuber-cron jobs", "all of them"),
        ("kuber-cron jobs --failing", "what has to be looked at"),
        ("kuber-cron jobs 'backup-*' --absolute", "some of them, with instants in full"),
        ("kuber-cron jobs --format json | jq -r '.jobs[] | select(.is_failing) | .job'", "for a program"),
    ),
    notes=_query.NOTES,
)
