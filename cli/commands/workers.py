"""``kuber-cron workers``: who works, and on what."""

from typing import TYPE_CHECKING

from kuber_cron.cli import options
from kuber_cron.cli.command import Command
from kuber_cron.cli.commands import _query
from kuber_cron.cli.terminal import errors, output
from kuber_cron.cli.terminal.table import Column, Terminal, style_of

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.scripts import Store
    from kuber_cron.control.queries.results import WorkersView


def workers(
    *,
    watch: options.WatchOption = False,
    absolute: options.AbsoluteOption = False,
    redis_url: options.RedisUrlOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Show each worker: its slots and queues, what it has done, its release, whether it is alive."""
    return _query.run_query(
        _fetch, render, redis_url=redis_url, format_=format_, absolute=absolute, watch=watch
    )


def _fetch(store: "Store") -> "WorkersView":
    from kuber_cron.control.queries import processes

    return processes.workers(store)


def render(view: "WorkersView", terminal: Terminal) -> list[str]:
    """Return the workers as a table, their problems below."""
    if not view.workers:
        errors.complain("no workers")
        return []
    columns = (
        Column("WORKER"),
        Column("STATE", style=style_of),
        Column("RUNNING", right=True),
        Column("SLOTS", right=True),
        Column("QUEUES", rank=3),
        Column("SUCCEEDED", rank=5, right=True),
        Column("FAILED", rank=4, right=True),
        Column("STARTED", rank=2),
        Column("SEEN", rank=1),
        Column("VERSION"),
    )
    rows = [
        [
            each.worker,
            each.state,
            str(each.running),
            "-" if each.slots is None else str(each.slots),
            ",".join(each.queues),
            str(each.succeeded),
            str(each.failed),
            terminal.moment(each.started_at, view.now),
            terminal.moment(each.seen_at, view.now),
            each.version or "-",
        ]
        for each in view.workers
    ]
    told = [terminal.styled(f"! {output.printable(trouble)}", "bad") for trouble in view.troubles]
    return [*terminal.table(columns, rows), *(["", *told] if told else [])]


COMMAND = Command(
    name="workers",
    function=workers,
    summary="Show who works, and on what.",
    examples=(
        ("kuber-cron workers", "all of them"),
        (
            "kuber-cron workers --format json | jq -r '.workers[] | select(.state == \"lost\") | .worker'",
            "for a program",
        ),
    ),
    notes=_query.NOTES,
)
