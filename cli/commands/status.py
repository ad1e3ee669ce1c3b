"""``kuber-cron status``: the whole installation, and its problems."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kuber_cron.cli import options
from kuber_cron.cli.command import Command
from kuber_cron.cli.commands import _query
from kuber_cron.cli.terminal import output, run_table
from kuber_cron.cli.terminal.table import Terminal
from kuber_cron.common import time_format

if TYPE_CHECKING:
    from kuber_cron.common.records.processes import SchedulerInfo
    from kuber_cron.common.redis_store.scripts import Store
    from kuber_cron.control.queries.results import StatusView


def status(
    *,
    watch: options.WatchOption = False,
    absolute: options.AbsoluteOption = False,
    redis_url: options.RedisUrlOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Show who leads, what runs and waits, what failed last, and what somebody should look at."""
    return _query.run_query(
        _fetch, render, redis_url=redis_url, format_=format_, absolute=absolute, watch=watch
    )


def _fetch(store: "Store") -> "StatusView":
    from kuber_cron.control.queries import status as query

    return query.status(store)


def render(view: "StatusView", terminal: Terminal) -> list[str]:
    """Return the installation as a sheet, its problems below."""
    lines = terminal.pairs(
        [
            ("leader", _leader(view)),
            ("schedulers", ", ".join(_scheduler(each, view, terminal) for each in view.schedulers) or "none"),
            ("workers", _workers(view)),
            ("queues", ", ".join(_queues(view)) or "none"),
            ("jobs", _jobs(view)),
            ("runs", _runs(view)),
            ("lateness", _lateness(view)),
            ("redis", _redis(view)),
        ]
    )
    if view.troubles:
        lines += [
            "",
            *(terminal.styled(f"! {output.printable(trouble)}", "bad") for trouble in view.troubles),
        ]
    if view.failures:
        lines += [
            "",
            terminal.styled("failed last", "bold"),
            *run_table.table(view.failures, view.now, terminal),
        ]
    return lines


def _leader(view: "StatusView") -> str:
    leader = view.leader
    if not leader.is_alive:
        return f"none (the last: {leader.holder})" if leader.holder else "none"
    told = {each.holder: each.elected_by for each in view.schedulers}  # nothing from a release before
    return f"{leader.holder}, epoch {leader.epoch}, elected by {told.get(leader.holder) or leader.election}"


def _scheduler(each: "SchedulerInfo", view: "StatusView", terminal: Terminal) -> str:
    role = "leads" if each.epoch is not None and each.epoch == view.leader.epoch else "standby"
    if not each.is_alive(view.now):
        role = f"last heard of {terminal.moment(each.seen_at, view.now)}"
    return f"{each.holder} ({each.version}, {role})"


def _workers(view: "StatusView") -> str:
    alive = [worker for worker in view.workers if worker.state != "lost"]
    if not view.workers:
        return "none"
    busy, slots = sum(worker.running for worker in alive), sum(worker.slots or 0 for worker in alive)
    counts = {state: sum(worker.state == state for worker in view.workers) for state in ("draining", "lost")}
    told = [f"{len(alive)}, {busy} of {output.counted(slots, 'slot')} busy"]
    told += [f"{count} {state}" for state, count in counts.items() if count]
    return ", ".join([*told, *sorted({worker.version for worker in alive if worker.version})])


def _queues(view: "StatusView") -> Iterator[str]:
    for queue in view.queues:
        waiting = f"{queue.queued} queued" if queue.queued else "empty"
        if queue.oldest_queued_at is not None:
            waiting += (
                f", the first for {time_format.span((view.now - queue.oldest_queued_at).total_seconds())}"
            )
        yield f"{queue.queue} ({waiting}, {output.counted(queue.workers, 'worker')})"


def _jobs(view: "StatusView") -> str:
    jobs = view.jobs
    told = [(jobs.failing, "failing"), (jobs.paused, "paused"), (jobs.suspended, "suspended")]
    return ", ".join([f"{jobs.total}", *(f"{count} {word}" for count, word in told if count)])


def _runs(view: "StatusView") -> str:
    runs = view.runs
    return f"{runs.running} running, {runs.queued} queued, {runs.waiting} between attempts, {runs.held} held"


def _lateness(view: "StatusView") -> str:
    late = [
        each.late_seconds
        for each in view.schedulers
        if each.late_seconds is not None and each.is_alive(view.now)
    ]
    return f"{max(late):.3f} s at most in the last minutes" if late else ""


def _redis(view: "StatusView") -> str:
    server = view.redis
    parts = [f"{server.version} at {server.address}" if server.version else server.address]
    if server.memory_bytes is not None:
        most = f" of {_megabytes(server.memory_max_bytes)}" if server.memory_max_bytes else ""
        parts.append(f"{_megabytes(server.memory_bytes)}{most}")
    return ", ".join(parts)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


COMMAND = Command(
    name="status",
    function=status,
    summary="Show who leads, what runs, what failed last.",
    examples=(
        ("kuber-cron status", "is all well?"),
        ("kuber-cron status --watch", "and now?"),
        ("kuber-cron status --format json | jq -r '.troubles[]'", "for a program"),
    ),
    notes=_query.NOTES,
)
