"""The relay of commands' output to our own stdout, which never holds up the loop that runs them.

A collector that stalls must not stall every command's time limit, so a thread encodes and writes, and what waits
for it is bounded, for all commands and for each: one that floods loses its own lines and nobody else's. What is
dropped is counted, and said in the place where it is missing. Each command's output keeps its order; between
commands none is promised, they take turns.
"""

import os
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from kuber_cron.common.records.excerpt import Stream
from kuber_cron.worker.output.capture import JsonLines

_LIMIT_BYTES = 4 * 1024 * 1024  # some seconds of a chatty command; log files have all of it
_SHARE = 2  # one command takes at most the limit divided by this


class _Form(Protocol):
    """The form of output on our stdout. Called from the relay's thread."""

    def write(self, stream: Stream, data: bytes) -> None:
        """Write this piece."""

    def gap(self, missed_bytes: int) -> None:
        """Write that bytes are missing."""

    def close(self) -> None:
        """Nothing follows."""


class _Raw:
    """Output as it is; commands that write at once interleave."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def write(self, _stream: Stream, data: bytes) -> None:
        """Write it."""
        self._write(data)

    def gap(self, missed_bytes: int) -> None:
        """Write that in a line."""
        self._write(b"kuber-cron: %d bytes not shown\n" % missed_bytes)

    def close(self) -> None:
        """Nothing is left to write."""


class Lane:
    """One command's queue in the relay: a sink that never blocks."""

    def __init__(self, relay: "Relay", form: _Form) -> None:
        self.form = form
        self.pieces: deque[tuple[int, Callable[[], None]]] = deque()  # of how many bytes; what writes it
        self.waiting_bytes = 0
        self.missed_bytes = 0
        self._relay = relay

    def write(self, stream: Stream, data: bytes) -> None:
        """Have the piece written soon, or drop and count it where the reader is too slow."""
        self._relay.put(self, stream, data)

    def close(self) -> None:
        """End: nothing follows."""
        self._relay.end(self)


class Relay:
    """Writes to a descriptor from a thread of its own."""

    def __init__(
        self,
        descriptor: int,
        *,
        limit_bytes: int = _LIMIT_BYTES,
        on_dropped: Callable[[int], None] | None = None,
    ) -> None:
        """``on_dropped`` is called with how many bytes were dropped, in the thread that put them: quick."""
        self._descriptor = descriptor
        self._limit = limit_bytes
        self._on_dropped = on_dropped
        self._ready: deque[Lane] = deque()  # those with pieces, each once
        self._bytes = 0
        self._closed = False
        self._reader_gone = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write_all, name="relay", daemon=True)
        self._thread.start()

    def lane(self, form: str, *, job: str, run_id: str, attempt: int) -> Lane:
        """Return a sink for an attempt's output: as ``json`` lines, or ``raw``."""
        if form == "raw":
            return Lane(self, _Raw(self._write))
        return Lane(self, JsonLines(self._write_text, job=job, run_id=run_id, attempt=attempt))

    def put(self, lane: Lane, stream: Stream, data: bytes) -> None:
        """Put the piece into its lane, or drop it. Never blocks."""
        with self._changed:
            size = len(data)
            room = min(self._limit - self._bytes, self._limit // _SHARE - lane.waiting_bytes)
            if size <= room and not self._reader_gone:
                self._append_gap(lane)
                self._append(lane, partial(lane.form.write, stream, data), size)
                return
            lane.missed_bytes += size
        if self._on_dropped is not None:
            self._on_dropped(size)

    def end(self, lane: Lane) -> None:
        """End a lane: nothing follows in it."""
        with self._changed:
            self._append_gap(lane)
            self._append(lane, lane.form.close)

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Write what was put, as far as the reader takes it within the time, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout_seconds)

    def _append_gap(self, lane: Lane) -> None:
        if lane.missed_bytes:
            self._append(lane, partial(lane.form.gap, lane.missed_bytes))
            lane.missed_bytes = 0

    def _append(self, lane: Lane, write: Callable[[], None], size: int = 0) -> None:
        if self._reader_gone:
            return
        if not lane.pieces:
            self._ready.append(lane)
            self._changed.notify()
        lane.pieces.append((size, write))
        lane.waiting_bytes += size
        self._bytes += size

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ready or self._closed)
                if not self._ready:
                    return
                lane = self._ready.popleft()
                size, write = lane.pieces.popleft()
                if lane.pieces:
                    self._ready.append(lane)
            try:
                write()
            except OSError:
                self._drop_all()
                return
            with self._changed:
                self._bytes -= size
                lane.waiting_bytes -= size

    def _drop_all(self) -> None:
        """Drop what waits: nobody reads any more."""
        with self._changed:
            self._reader_gone = True
            for lane in self._ready:
                lane.pieces.clear()
            self._ready.clear()

    def _write_text(self, documents: str) -> None:
        self._write(documents.encode("utf-8", "replace"))

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
