"""``kuber-cron runs``: what runs, what waits, what has ended and how."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import completions, instants
from kuber_cron.cli.command import Command
from kuber_cron.cli.commands import _query
from kuber_cron.cli.terminal import errors, output, run_table
from kuber_cron.cli.terminal.table import Terminal

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.scripts import Store
    from kuber_cron.control.queries.results import RunsView
    from kuber_cron.control.queries.runs import RunKind

_MOST = 10_000


def runs(
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="JOB",
            help="Runs of this job only.",
            show_default=False,
            autocompletion=completions.jobs,
        ),
    ] = None,
    *,
    running: Annotated[bool, typer.Option("--running", help="Those that run.")] = False,
    queued: Annotated[bool, typer.Option("--queued", help="Those that wait for a worker.")] = False,
    waiting: Annotated[bool, typer.Option("--waiting", help="Those between two attempts.")] = False,
    held: Annotated[
        bool, typer.Option("--held", help="Those that wait for a group, a predecessor or an earlier run.")
    ] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Those that have ended, and not well.")] = False,
    ended: Annotated[bool, typer.Option("--ended", help="All that have ended.")] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="WHEN",
            help="Of ended ones, those that ended since: 90m, 2d, or an instant.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=_MOST, help="So many at most.")] = 30,
    watch: options.WatchOption = False,
    absolute: options.AbsoluteOption = False,
    redis_url: options.RedisUrlOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Show runs, those that have not ended first, then the newest ends. Several kinds may be asked for at once."""
    given: dict[RunKind, bool] = {
        "running": running,
        "queued": queued,
        "waiting": waiting,
        "held": held,
        "failed": failed,
        "ended": ended,
    }
    since_at = None if since is None else _since(since)

    def fetch(store: "Store") -> "RunsView":
        from kuber_cron.control.queries import runs as query

        kinds = [kind for kind, is_given in given.items() if is_given]
        return query.runs(store, job=job, kinds=kinds, since=since_at, limit=limit)

    return _query.run_query(
        fetch, render, redis_url=redis_url, format_=format_, absolute=absolute, watch=watch
    )


def _since(text: str) -> datetime | timedelta:
    """Return the instant that is meant, or how long ago it was.

    Raises:
        UsageError: the text is neither.
    """
    from kuber_cron.common.jobs.option_types import BadValueError
    from kuber_cron.common.jobs.time_types import duration_seconds

    try:
        return timedelta(seconds=duration_seconds(text))
    except BadValueError:
        return instants.parse(text, ZoneInfo("UTC")).instants[0]


def render(view: "RunsView", terminal: Terminal) -> list[str]:
    """Return the runs as a table."""
    if not view.runs:
        errors.complain("no runs")
        return []
    more = [terminal.styled("there are more: --limit shows more of them", "dim")] if view.has_more else []
    if more and terminal.width is None:
        errors.complain("note: there are more: --limit shows more of them")
        more = []
    return run_table.table(view.runs, view.now, terminal) + more


COMMAND = Command(
    name="runs",
    function=runs,
    summary="Show what runs, what waits, what failed.",
    examples=(
        ("kuber-cron runs --running", "what is running?"),
        ("kuber-cron runs --failed --since 12h", "what failed since last night?"),
        ("kuber-cron runs backup", "one job's runs"),
        ("kuber-cron runs --queued --held --watch", "what waits, as it moves on"),
    ),
    notes=_query.NOTES,
)
