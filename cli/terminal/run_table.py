"""Runs as rows of a table, and the words that say how one stands. Pure."""

from collections.abc import Sequence
from datetime import datetime

from kuber_cron.cli.terminal.table import Column, Terminal, style_of
from kuber_cron.common import time_format
from kuber_cron.common.records.run import RunRecord

COLUMNS = (
    Column("RUN"),
    Column("STATE", style=style_of),
    Column("WHEN"),
    Column("TOOK", rank=2, right=True),
    Column("ATTEMPT", rank=1, right=True),
    Column("QUEUE", rank=3),
    Column("WORKER", rank=4),
    Column("BY", rank=5),
)


def table(runs: Sequence[RunRecord], now: datetime, terminal: Terminal) -> list[str]:
    """Return the runs as a table; columns that say nothing of any of them are left out."""
    rows = [_row(run, now, terminal) for run in runs]
    used = [place for place in range(len(COLUMNS)) if place < 3 or any(row[place] for row in rows)]
    return terminal.table([COLUMNS[i] for i in used], [[row[i] or "-" for i in used] for row in rows])


def _row(run: RunRecord, now: datetime, terminal: Terminal) -> list[str]:
    return [
        run.run,
        state(run, now),
        terminal.moment(moment(run), now),
        took(run, now),
        str(run.attempt) if run.attempt > 1 else "",
        run.queue if run.queue != "default" else "",
        run.worker or "",
        run.requested_by or "",
    ]


def state(run: RunRecord, now: datetime) -> str:
    """Return how it stands: the outcome of one that has ended."""
    if run.state == "ended":
        return run.outcome or "ended"
    if run.state == "waiting":
        if run.next_attempt_at is None:
            return "waiting to be tried again"
        seconds = (run.next_attempt_at - now).total_seconds()
        return f"waiting, again {time_format.away(seconds) if seconds > 0 else 'now'}"
    return f"{run.state}, stopping" if run.stop else run.state


def moment(run: RunRecord) -> datetime | None:
    """Return since when it stands so."""
    match run.state:
        case "running":
            return run.started_at
        case "ended" | "waiting":
            return run.ended_at
        case _:
            return run.queued_at


def took(run: RunRecord, now: datetime) -> str:
    """Return how long its last attempt took, or has taken so far."""
    if run.state == "running" and run.started_at is not None:
        return time_format.duration((now - run.started_at).total_seconds())
    return "" if run.seconds is None else time_format.duration(run.seconds)
