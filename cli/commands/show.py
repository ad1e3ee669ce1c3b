"""``kuber-cron show``: one run, with all its attempts and what the log of decisions tells of it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kuber_cron.cli import options
from kuber_cron.cli.command import Command
from kuber_cron.cli.commands import _query
from kuber_cron.cli.terminal import output, run_table
from kuber_cron.cli.terminal.table import Column, Terminal, style_of
from kuber_cron.common import time_format

if TYPE_CHECKING:
    from kuber_cron.common.records.attempt import AttemptRecord
    from kuber_cron.common.redis_store.scripts import Store
    from kuber_cron.control.queries.results import RunView

_SHOWN_LINES = 10  # of an attempt's output; `logs` has the rest


def show(
    run: options.NewestRunArgument,
    *,
    watch: options.WatchOption = False,
    absolute: options.AbsoluteOption = False,
    redis_url: options.RedisUrlOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Show one run: what it executes, its attempts, who decided it, what it waits for, the end of its output."""

    def fetch(store: "Store") -> "RunView":
        from kuber_cron.control.queries import run as query

        return query.run(store, run)

    return _query.run_query(
        fetch, render, redis_url=redis_url, format_=format_, absolute=absolute, watch=watch
    )


def render(view: "RunView", terminal: Terminal) -> list[str]:
    """Return the run as a sheet."""
    run, now = view.run, view.now
    state = run_table.state(run, now)
    command = (
        view.command if isinstance(view.command, str) or view.command is None else " ".join(view.command)
    )
    lines = terminal.pairs(
        [
            ("run", run.run),
            ("job", run.job),
            ("instant", _instant(view, terminal)),
            ("state", f"{state}, {terminal.moment(run_table.moment(run), now)}"),
            ("command", command or ""),
            ("queue", run.queue),
            ("group", run.group or ""),
            ("limits", ", ".join(_limits(view))),
            ("asked by", run.requested_by or ""),
            ("stopped by", run.stopped_by or ""),
            *[("waits for", sentence) for sentence in _waits(view)],
        ]
    )
    if view.attempts:
        lines += ["", *_attempts(view, terminal)]
        lines += _output(view.attempts[-1], terminal, run.run)
    if view.decisions:
        lines += ["", *_decisions(view, terminal)]
    return lines


def _instant(view: "RunView", terminal: Terminal) -> str:
    at = view.run.scheduled_at
    if at is None:
        return ""
    return time_format.display(at) + ("" if terminal.absolute else f", {terminal.moment(at, view.now)}")


def _limits(view: "RunView") -> Iterator[str]:
    allowed = view.retries_allowed
    if allowed is not None:
        yield (
            f"{view.run.retries} of {allowed} {'retry' if allowed == 1 else 'retries'} spent"
            if allowed
            else "no retries"
        )
    if view.timeout_seconds is not None:
        yield f"time limit {time_format.span(view.timeout_seconds)}"
    if view.run.lost:
        yield f"{view.run.lost} lost with a worker"
    if view.run.interrupted:
        yield f"{view.run.interrupted} interrupted"


def _waits(view: "RunView") -> Iterator[str]:
    for gate in view.waits_for:
        yield f"{'the success' if gate.kind == 'after' else 'the end'} of {gate.run}, which is {gate.state}"
    if view.group is not None:
        running = ", ".join(view.group.running)
        yield f"room in group {view.group.name}, place {view.group.place}: {view.group.limit} at once ({running})"


_COLUMNS = (
    Column("ATTEMPT", right=True),
    Column("OUTCOME", style=style_of),
    Column("QUEUED", rank=4),
    Column("STARTED", rank=2),
    Column("ENDED"),
    Column("TOOK", right=True),
    Column("CPU", rank=6, right=True),
    Column("MEMORY", rank=7, right=True),
    Column("OUTPUT", rank=5, right=True),
    Column("WORKER", rank=3),
)


def _attempts(view: "RunView", terminal: Terminal) -> list[str]:
    return terminal.table(_COLUMNS, [_row(each, view, terminal) for each in view.attempts])


def _row(each: "AttemptRecord", view: "RunView", terminal: Terminal) -> list[str]:
    seconds = each.seconds
    if each.outcome is None and each.started_at is not None:
        seconds = (view.now - each.started_at).total_seconds()
    return [
        str(each.attempt),
        outcome_of(each),
        terminal.moment(each.queued_at, view.now),
        terminal.moment(each.started_at, view.now),
        terminal.moment(each.ended_at, view.now),
        "-" if seconds is None else time_format.duration(seconds),
        "-" if each.cpu_seconds is None else f"{each.cpu_seconds:.2f} s",
        "-" if each.max_rss_bytes is None else f"{each.max_rss_bytes / 1e6:.0f} MB",
        size(each.output_bytes),
        each.worker or "-",
    ]


def outcome_of(each: "AttemptRecord") -> str:
    """Return how the attempt ended, its exit code or signal with it."""
    if each.outcome is None:
        return "running"
    if each.signal is not None:
        return f"{each.outcome} (signal {each.signal})"
    return f"{each.outcome} (exit {each.exit_code})" if each.exit_code else each.outcome


def size(count: int) -> str:
    """Return a number of bytes for people."""
    for unit, limit in (("B", 1e3), ("kB", 1e6), ("MB", 1e9)):
        if count < limit:
            return (
                f"{count / (limit / 1e3):.0f} {unit}"
                if unit == "B"
                else f"{count / (limit / 1e3):.1f} {unit}"
            )
    return f"{count / 1e9:.1f} GB"


def _output(each: "AttemptRecord", terminal: Terminal, run: str) -> list[str]:
    told = [*([each.reason] if each.reason else []), *each.warnings]
    lines = [terminal.styled(output.printable(sentence), "wait") for sentence in told]
    text = (each.head if not each.tail else each.tail).splitlines()
    is_part = bool(each.omitted_bytes) or len(text) > _SHOWN_LINES or bool(each.tail and each.head)
    if each.log:
        lines.append(f"{terminal.styled('log', 'dim')}  {output.printable(each.log)}")
    if text:
        title = f"end of its output, kuber-cron logs {run} has more" if is_part else "its output"
        lines += ["", terminal.styled(title, "dim")]
        lines += [f"  {output.printable(line)}" for line in text[-_SHOWN_LINES:]]
    return lines if not lines or lines[0] == "" else ["", *lines]


_DECISIONS = (Column("DECIDED"), Column("DECISION", style=style_of), Column("REASON"), Column("BY", rank=1))


def _decisions(view: "RunView", terminal: Terminal) -> list[str]:
    rows = [
        [
            terminal.moment(each.decided_at, view.now),
            each.decision,
            each.reason or "-",
            each.who or f"{each.by}, epoch {each.epoch}",
        ]
        for each in view.decisions
    ]
    return terminal.table(_DECISIONS, rows)


COMMAND = Command(
    name="show",
    function=show,
    summary="Show one run, with all its attempts.",
    examples=(
        ("kuber-cron show backup-20260329T013000Z", "one run"),
        ("kuber-cron show backup", "the newest run of a job"),
        ("kuber-cron show backup --format json | jq '.attempts[-1].exit_code'", "for a program"),
    ),
    notes=_query.NOTES,
)
