"""``kuber-cron queues`` and ``kuber-cron workers``: what waits where, and who takes it."""

from typing import TYPE_CHECKING

from kuber_cron.cli import options
from kuber_cron.cli.command import Command
from kuber_cron.cli.commands import _query
from kuber_cron.cli.terminal import errors, output
from kuber_cron.cli.terminal.table import Column, Terminal, style_of

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.scripts import Store
    from kuber_cron.control.queries.results import QueuesView, WorkersView


def queues(
    *,
    watch: _query.WatchOption = False,
    absolute: _query.AbsoluteOption = False,
    redis_url: options.RedisUrlOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Show each queue: what waits, what runs, who serves it. Low priority has a list of its own, QUEUE-low."""
    return _query.answer(
        _queues, render_queues, redis_url=redis_url, format_=format_, absolute=absolute, watch=watch
    )


def _queues(store: "Store") -> "QueuesView":
    from kuber_cron.control.queries import processes, runs
    from kuber_cron.control.queries.results import QueuesView

    found = processes.queues(store, runs.queues_of(store))
    return QueuesView(now=processes.now(store), queues=tuple(found))


def render_queues(seen: "QueuesView", paper: Terminal) -> list[str]:
    """Return the queues as a table."""
    if not seen.queues:
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
            paper.moment(each.oldest_queued_at, seen.now),
            str(each.running),
            str(each.waiting),
            str(each.held),
            str(each.workers),
            str(each.kept),
            str(each.kept_failed),
        ]
        for each in seen.queues
    ]
    return paper.table(columns, rows)


def workers(
    *,
    watch: _query.WatchOption = False,
    absolute: _query.AbsoluteOption = False,
    redis_url: options.RedisUrlOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Show each worker: its slots and queues, what it has done, its release, whether it is alive."""
    return _query.answer(
        _workers, render_workers, redis_url=redis_url, format_=format_, absolute=absolute, watch=watch
    )


def _workers(store: "Store") -> "WorkersView":
    from kuber_cron import __version__
    from kuber_cron.control.queries import problems, processes
    from kuber_cron.control.queries.results import WorkersView

    found, now = processes.workers(store), processes.now(store)
    replicas = [each for each in processes.schedulers(store) if each.is_alive(now)]
    return WorkersView(
        now=now, workers=tuple(found), troubles=tuple(problems.skew(__version__, replicas, found))
    )


def render_workers(seen: "WorkersView", paper: Terminal) -> list[str]:
    """Return the workers as a table, and what is amiss with them."""
    if not seen.workers:
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
            paper.moment(each.started_at, seen.now),
            paper.moment(each.seen_at, seen.now),
            each.version or "-",
        ]
        for each in seen.workers
    ]
    told = [paper.styled(f"! {output.printable(trouble)}", "bad") for trouble in seen.troubles]
    return [*paper.table(columns, rows), *(["", *told] if told else [])]


QUEUES = Command(
    name="queues",
    function=queues,
    summary="Show what waits in which queue.",
    examples=(
        ("kuber-cron queues", "all of them"),
        ("kuber-cron queues --watch", "as they fill and empty"),
    ),
    notes=_query.NOTES,
)
WORKERS = Command(
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
