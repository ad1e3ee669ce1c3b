"""``kuber-cron queues``: what waits in which queue, and how many workers serve it."""

from typing import TYPE_CHECKING

from kuber_cron.cli import options
from kuber_cron.cli.command import Command
from kuber_cron.cli.commands import _query
from kuber_cron.cli.terminal import errors, output
from kuber_cron.cli.terminal.table import Column, Terminal

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.scripts import Store
    from kuber_cron.control.queries.results import QueuesView


def queues(
    *,
    watch: options.WatchOption = False,
    absolute: options.AbsoluteOption = False,
    redis_url: options.RedisUrlOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Show each queue: what waits, what runs, who serves it. Low priority has a list of its own, QUEUE-low."""
    return _query.run_query(
        _fetch, render, redis_url=redis_url, format_=format_, absolute=absolute, watch=watch
    )


def _fetch(store: "Store") -> "QueuesView":
    from kuber_cron.control.queries import processes

    return processes.queues(store)


def render(view: "QueuesView", terminal: Terminal) -> list[str]:
    """Return the queues as a table."""
    if not view.queues:
        errors.complain("no queues")
        return []
    columns = (
        Column("QUEUE"),
        Column("QUEUED", right=True),
        Column("OLDEST"),
        Column("RUNNING", right=True),
        Column("WAITING", rank=1, right=True),
        Column("HELD", rank=1, right=True),
        Column("WORKERS", right=True),
        Column("KEPT", rank=3, right=True),
        Column("FAILED", rank=2, right=True),
    )
    rows = [
        [
            each.queue,
            str(each.queued),
            terminal.moment(each.oldest_queued_at, view.now),
            str(each.running),
            str(each.waiting),
            str(each.held),
            str(each.workers),
            str(each.kept),
            str(each.kept_failed),
        ]
        for each in view.queues
    ]
    return terminal.table(columns, rows)


COMMAND = Command(
    name="queues",
    function=queues,
    summary="Show what waits in which queue.",
    examples=(
        ("kuber-cron queues", "all of them"),
        ("kuber-cron queues --watch", "as they fill and empty"),
    ),
    notes=_query.NOTES,
)
