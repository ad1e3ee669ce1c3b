"""The terminal while ``run`` draws on it: the live view at the bottom, log lines above it.

A thread asks the supplier at most four times a second. What it cannot get, it does not show: a supplier that
fails once must not end the schedule, so the last picture stays and the failure stands in the view.
"""

import dataclasses
import threading
from types import TracebackType
from typing import Self, TextIO, cast

from rich.console import Console
from rich.file_proxy import FileProxy
from rich.live import Live

from kuber_cron.cli.terminal.live_view import Snapshot, Supplier, render
from kuber_cron.common.clock import Clock, SystemClock

_PERIOD_SECONDS = 0.25  # four pictures a second: a countdown needs one, an elapsed time looks alive with four


def is_possible(stream: TextIO, term: str) -> bool:
    """Whether a live view can be drawn: a terminal that can move its cursor (not ``TERM=dumb``)."""
    return stream.isatty() and term.lower() not in {"dumb", "unknown", ""}


class Screen:
    """While entered, the view is drawn; `log_stream` is where log lines must go to appear above it."""

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
        """The picture on the terminal is the supplier's newest."""
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
