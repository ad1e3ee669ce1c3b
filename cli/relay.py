"""Output of commands on its way to our own stdout, without ever holding up the loop that runs them.

A collector that stalls must not stall every command's time limit, so a thread writes and the queue is bounded:
what exceeds it is dropped, counted, and said in the place where it is missing.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence

from kuber_cron.worker.command import Launch
from kuber_cron.worker.excerpt import Stream
from kuber_cron.worker.output import JsonLines, Sink

_LIMIT_BYTES = 8 * 1024 * 1024  # some seconds of a chatty command; log files have all of it


class Relay:
    """Writes pieces to a descriptor, in order, from a thread of its own."""

    def __init__(self, descriptor: int, limit_bytes: int = _LIMIT_BYTES) -> None:
        self._descriptor = descriptor
        self._limit = limit_bytes
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._dropped = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write_all, name="relay", daemon=True)
        self._thread.start()

    def put(self, data: bytes) -> None:
        """The piece is written soon, or dropped and counted where the reader is too slow. Never blocks."""
        with self._changed:
            if self._bytes + len(data) > self._limit:
                self._dropped += len(data)
                return
            if self._dropped:
                data = f"kuber-cron: {self._dropped} bytes not shown\n".encode() + data
                self._dropped = 0
            self._pieces.append(data)
            self._bytes += len(data)
            self._changed.notify()

    def close(self, timeout_seconds: float = 2.0) -> None:
        """What was put is written, as far as the reader takes it within the time."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout_seconds)

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pieces or self._closed)
                if not self._pieces:
                    return
                piece = self._pieces.popleft()
            view = memoryview(piece)
            try:
                while view:
                    view = view[os.write(self._descriptor, view) :]
            except OSError:
                return  # nobody reads any more; the limit bounds what is kept
            with self._changed:
                self._bytes -= len(piece)


class _Raw:
    """A sink that passes on what arrives, as it is; commands that write at once interleave."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def write(self, _stream: Stream, data: bytes) -> None:
        """The piece is on its way."""
        self._relay.put(data)

    def close(self) -> None:
        """Nothing: the relay serves every command."""


def sinks_for(relay: Relay, form: str, launch: Launch) -> Sequence[Sink]:
    """Return where an attempt's output goes beside its log file: ``json`` lines, or ``raw``."""
    if form == "raw":
        return [_Raw(relay)]
    emit = _emitter(relay)
    return [JsonLines(emit, job=launch.job, run_id=launch.run_id, attempt=launch.attempt)]


def _emitter(relay: Relay) -> Callable[[str], None]:
    def emit(document: str) -> None:
        relay.put(document.encode("utf-8", "replace") + b"\n")

    return emit
