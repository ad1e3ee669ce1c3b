"""The events that the main thread of a service waits for: signals, and what its other threads put.

A pipe and not a queue: the kernel may hand a signal to any thread, and a main thread that sleeps on a lock would
then not wake for it before the next one. Python writes each signal's number to the pipe from whichever thread.
"""

import os
import queue
import selectors
import signal
from collections import deque
from types import FrameType, TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")

_PUT = 0  # the byte of an event that was put, beside the signals' numbers
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Events(Generic[T]):
    """While entered, SIGINT and SIGTERM are events and do nothing else. To be entered in the main thread."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._pending: deque[T | signal.Signals] = deque()

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._read, selectors.EVENT_READ)
        self._fd_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, _ignore) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        self._selector.close()
        os.close(self._read)
        write, self._write = self._write, -1
        os.close(write)

    def put(self, event: T) -> None:
        """Put an event for the main thread, in its turn. From any thread; after the block has ended it is dropped."""
        self._queue.put(event)
        if self._write >= 0:
            os.write(self._write, bytes([_PUT]))

    def get(self, timeout_seconds: float | None = None) -> T | signal.Signals | None:
        """Return the next event, or None when there is none for `timeout_seconds`."""
        while not self._pending:
            if not self._selector.select(timeout_seconds):
                return None
            self._take()
        return self._pending.popleft()

    def _take(self) -> None:
        for byte in os.read(self._read, 4096):
            if byte == _PUT:
                self._pending.append(self._queue.get_nowait())
            elif byte in _SIGNALS:
                self._pending.append(signal.Signals(byte))


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: its number is in the pipe by now."""
