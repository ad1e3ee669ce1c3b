"""The live view of ``run``: what comes next, what runs, how the last runs ended; log lines scroll above it.

`Snapshot` is what the services supply, `render` turns it into something that rich can draw. Both are pure: the
same snapshot at the same instant gives the same picture. `Screen` draws it on the terminal.
"""

import dataclasses
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Self, TextIO, cast

from rich.console import Console, Group, RenderableType
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kuber_cron.cli.terminal.output import counted, printable
from kuber_cron.common import time_format
from kuber_cron.common.clock import Clock, SystemClock

_STYLES = {
    "success": "green",
    "failed": "red",
    "timed_out": "red",
    "lost": "red",
    "signalled": "red",
    "stopped": "yellow",
    "interrupted": "yellow",
    "predecessor": "yellow",
}
_NARROW = 80  # below it what one can do without is left out
_WIDEST = 120  # above it the eye loses the row between a name and its time
_FIXED_LINES = 8  # the status line, three headings, three lines "and N more", one to spare
_FEWEST_LINES = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class UpcomingRow:
    """A run that is to come. `due_at` is aware UTC; `note` says what holds it back (``paused``), if anything."""

    job: str
    due_at: datetime
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningRow:
    """A command that runs now. `started_at` is aware UTC; `attempt` counts from 1."""

    job: str
    started_at: datetime
    attempt: int = 1
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentRow:
    """An attempt that has ended. `outcome` is one of interface.md's; `detail` is the code or signal, if any."""

    job: str
    outcome: str
    ended_at: datetime
    duration_seconds: float
    attempt: int = 1
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state of a scheduler and a worker at one instant, as far as a person wants to see it.

    Attributes:
        next: Coming runs, soonest first; the supplier may cut it at a few dozen.
        running: Running commands, oldest first.
        recent: Ended attempts, newest first; the supplier may cut it at a few dozen.
        leader: Whether this process decides; None where it does not take part.
        epoch: The lease's epoch, or None before the first.
        redis: ``ok``, or a few words on what is wrong.
        jobs: How many jobs are loaded.
        slots: How many commands may run at once; 0 if unknown.
        is_draining: Whether nothing new is started any more.
    """

    next: Sequence[UpcomingRow] = field(default_factory=tuple)
    running: Sequence[RunningRow] = field(default_factory=tuple)
    recent: Sequence[RecentRow] = field(default_factory=tuple)
    leader: bool | None = None
    epoch: int | None = None
    redis: str = "ok"
    jobs: int = 0
    slots: int = 0
    is_draining: bool = False


def render(snapshot: Snapshot, now: datetime, width: int, height: int = 24) -> RenderableType:
    """Return the picture of `snapshot` at `now`, no wider than `width` cells and no higher than `height` lines.

    Long lists are cut and say by how much; every text is made printable, so that no job can move the cursor.
    """
    width = min(width, _WIDEST)
    lists = (len(snapshot.running), len(snapshot.next), len(snapshot.recent))
    running, coming, ended = _shares(lists, max(height - _FIXED_LINES, 3 * _FEWEST_LINES))
    return Group(
        _status(snapshot, width),
        *_section("running", _running(snapshot, now, width, running), len(snapshot.running), running),
        *_section("next", _next(snapshot, now, width, coming), len(snapshot.next), coming),
        *_section("last", _recent(snapshot, now, width, ended), len(snapshot.recent), ended),
    )


def _shares(lengths: Sequence[int], lines: int) -> list[int]:
    """Deal `lines` out over the lists, one at a time to each that still has rows to show; each gets at least one."""
    shares = [_FEWEST_LINES for _ in lengths]
    left = lines - sum(shares)
    while left > 0:
        hungry = [index for index, length in enumerate(lengths) if shares[index] < length]
        if not hungry:
            break
        for index in hungry[:left]:
            shares[index] += 1
            left -= 1
    return shares


def _status(snapshot: Snapshot, width: int) -> Text:
    busy = f"{len(snapshot.running)}/{snapshot.slots}" if snapshot.slots else str(len(snapshot.running))
    words = [counted(snapshot.jobs, "job"), f"{busy} running", f"redis {printable(snapshot.redis)}"]
    if width >= _NARROW and snapshot.leader is not None:
        words.append("leader" if snapshot.leader else "standby")
    if width >= _NARROW and snapshot.epoch is not None:
        words.append(f"epoch {snapshot.epoch}")
    if snapshot.is_draining:
        words.insert(0, "stopping, Ctrl-C again ends at once")
    else:
        words.append("Ctrl-C stops")
    style = "bold red" if snapshot.redis != "ok" else "bold yellow" if snapshot.is_draining else "bold"
    return Text(" · ".join(words), style=style, no_wrap=True, overflow="ellipsis")


def _section(title: str, rows: Table, total: int, shown: int) -> list[RenderableType]:
    heading = Text(title, style="bold cyan")
    if not total:
        return [heading + Text("  nothing", style="not bold dim")]
    more = [Text(f"  … and {total - shown} more", style="dim")] if total > shown else []
    return [heading, rows, *more]


def _table(width: int, columns: Sequence[tuple[int, str]]) -> Table:
    """Return an empty table: one name column that takes what is left, then columns of at least (width, justify)."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0), width=width)
    table.add_column(width=2)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for cells, justify in columns:
        table.add_column(width=cells, justify="right" if justify == "right" else "left", no_wrap=True)
    return table


def _running(snapshot: Snapshot, now: datetime, width: int, limit: int) -> Table:
    wide = width >= _NARROW
    table = _table(width, [(width // 3, "left")] * wide + [(9, "left"), (12, "right")])
    for run in snapshot.running[:limit]:
        table.add_row(
            "",
            _cell(run.job),
            *([_cell(run.command, "dim")] if wide else []),
            _attempt(run.attempt),
            Text(time_format.span((now - run.started_at).total_seconds())),
        )
    return table


def _next(snapshot: Snapshot, now: datetime, width: int, limit: int) -> Table:
    wide = width >= _NARROW
    table = _table(width, [(width // 4, "left")] * wide + [(20, "left")] * wide + [(12, "right")])
    for run in snapshot.next[:limit]:
        instant = time_format.display(run.due_at)
        table.add_row(
            "",
            _cell(run.job),
            *([_cell(run.note, "yellow"), _cell(instant, "dim")] if wide else []),
            _countdown((run.due_at - now).total_seconds()),
        )
    return table


def _recent(snapshot: Snapshot, now: datetime, width: int, limit: int) -> Table:
    wide = width >= _NARROW
    table = _table(width, [(width // 4, "left"), (9, "left"), (10, "right")] if wide else [(11, "left")])
    table.add_column(width=12, justify="right", no_wrap=True)
    for run in snapshot.recent[:limit]:
        words = f"{run.outcome} {run.detail}".strip() if wide else run.outcome
        outcome = _cell(words, _STYLES.get(run.outcome, "red"))
        details = [_attempt(run.attempt), Text(time_format.duration(run.duration_seconds))] if wide else []
        table.add_row("", _cell(run.job), outcome, *details, _ago((now - run.ended_at).total_seconds()))
    return table


def _cell(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style, no_wrap=True, overflow="ellipsis")


def _attempt(attempt: int) -> Text:
    return Text(f"attempt {attempt}" if attempt > 1 else "", style="yellow")


def _countdown(seconds: float) -> Text:
    return Text("now" if seconds < 1 else f"in {time_format.span(seconds)}")


def _ago(seconds: float) -> Text:
    return Text("now" if seconds < 1 else f"{time_format.span(seconds)} ago", style="dim")


# --- the terminal --------------------------------------------------------------------------------------

Supplier = Callable[[], Snapshot]

_PERIOD_SECONDS = 0.25  # four pictures a second: a countdown needs one, an elapsed time looks alive with four


def is_possible(stream: TextIO, term: str) -> bool:
    """Return whether a live view can be drawn: on a terminal that can move its cursor (not ``TERM=dumb``)."""
    return stream.isatty() and term.lower() not in {"dumb", "unknown", ""}


class Screen:
    """The terminal while ``run`` draws on it. Log lines written to `log_stream` appear above the view.

    While it is entered, a thread asks the supplier at most four times a second. A supplier that fails must not end the
    schedule: the last picture stays, and the failure stands in it.
    """

    def __init__(self, supplier: Supplier, stream: TextIO, clock: Clock | None = None) -> None:
        self._supplier = supplier
        self._clock = clock or SystemClock()
        self._console = Console(file=stream, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._last = Snapshot(redis="starting")
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._draw_until_closed, name="live-view", daemon=True)
        self.log_stream = cast("TextIO", FileProxy(self._console, stream))

    def __enter__(self) -> Self:
        self._live.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join(timeout=2)
        self._live.stop()

    def draw(self) -> None:
        """Draw the supplier's newest snapshot."""
        try:
            self._last = self._supplier()
        except Exception as failure:  # noqa: BLE001 -- the top of a loop: the view must outlive its supplier
            self._last = dataclasses.replace(
                self._last, redis=f"unknown: {type(failure).__name__}: {failure}"
            )
        width, height = self._console.size
        self._live.update(render(self._last, self._clock.now(), width, height), refresh=True)

    def _draw_until_closed(self) -> None:
        while not self._closed.wait(_PERIOD_SECONDS):
            self.draw()
