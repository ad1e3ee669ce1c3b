"""The exit watch: notifies the loop that a process has ended, without reaping it.

Linux has pidfds for it, macOS and the BSDs kqueue; both work off the main thread and need no signal
handler. Where neither can be had (an old kernel, a sandbox, no descriptor left) a thread waits for the process.
The process stays a zombie until the supervisor reaps it, so its number cannot be given to another meanwhile.
"""

import os
import selectors
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol

Callback = Callable[[float], object]
"""Called with the interval clock's reading of this pass of the loop."""

Post = Callable[[Callback], None]
"""Runs a callback in the loop's thread, soon; may be called from any thread."""


class ExitWatch(Protocol):
    """Calls back, in the loop's thread, when a child has ended."""

    def add(self, pid: int, callback: Callback) -> None:
        """Call ``callback`` once or more often after ``pid``, a child of this process, has ended."""

    def remove(self, pid: int) -> None:
        """Forget ``pid``; harmless when it is not known."""

    def close(self) -> None:
        """Forget everything and release its descriptors."""


def choose(selector: selectors.BaseSelector, post: Post) -> ExitWatch:
    """Return the best exit watch that this machine has."""
    if sys.platform == "linux" and _has_pidfds():
        return Pidfds(selector, post)
    if sys.platform == "darwin":
        return Kqueue(selector, post)
    return Waiters(post)


class Waiters:
    """A thread for each process."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._callbacks: dict[int, Callback] = {}

    def add(self, pid: int, callback: Callback) -> None:
        """Wait for it in a thread."""
        self._callbacks[pid] = callback
        threading.Thread(target=self._wait, args=(pid,), name=f"wait-{pid}", daemon=True).start()

    def remove(self, pid: int) -> None:
        """Forget it."""
        self._callbacks.pop(pid, None)

    def close(self) -> None:
        """Forget all of them."""
        self._callbacks.clear()

    def _wait(self, pid: int) -> None:
        with suppress(ChildProcessError):  # reaped elsewhere, which is an end too
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        self._post(partial(self._notify, pid))

    def _notify(self, pid: int, now: float) -> None:
        if (callback := self._callbacks.pop(pid, None)) is not None:
            callback(now)


if sys.platform == "linux":

    def _has_pidfds() -> bool:
        try:
            os.close(os.pidfd_open(os.getpid()))
        except OSError:
            return False
        return True

    class Pidfds:
        """A descriptor for each process, readable when it has ended (Linux 5.3)."""

        def __init__(self, selector: selectors.BaseSelector, post: Post) -> None:
            self._selector = selector
            self._fds: dict[int, int] = {}
            self._spare = Waiters(post)

        def add(self, pid: int, callback: Callback) -> None:
            """Wait for it in the selector."""
            try:
                fd = os.pidfd_open(pid)
            except OSError:  # no descriptor left
                self._spare.add(pid, callback)
                return
            self._fds[pid] = fd
            self._selector.register(fd, selectors.EVENT_READ, callback)

        def remove(self, pid: int) -> None:
            """Forget it."""
            fd = self._fds.pop(pid, None)
            if fd is None:
                self._spare.remove(pid)
                return
            self._selector.unregister(fd)
            os.close(fd)

        def close(self) -> None:
            """Forget all of them."""
            for pid in tuple(self._fds):
                self.remove(pid)
            self._spare.close()


if sys.platform == "darwin":
    import select

    class Kqueue:
        """One queue of process events, itself readable in the loop's selector."""

        def __init__(self, selector: selectors.BaseSelector, post: Post) -> None:
            self._selector = selector
            self._post = post
            self._queue = select.kqueue()
            self._callbacks: dict[int, Callback] = {}
            selector.register(self._queue.fileno(), selectors.EVENT_READ, self._notify)

        def add(self, pid: int, callback: Callback) -> None:
            """Wait for it in the queue."""
            self._callbacks[pid] = callback
            event = select.kevent(
                pid,
                filter=select.KQ_FILTER_PROC,
                flags=select.KQ_EV_ADD | select.KQ_EV_ONESHOT,
                fflags=select.KQ_NOTE_EXIT,
            )
            try:
                self._queue.control([event], 0, 0)
            except ProcessLookupError:  # it has ended already
                self._post(callback)

        def remove(self, pid: int) -> None:
            """Forget it."""
            self._callbacks.pop(pid, None)

        def close(self) -> None:
            """Forget all of them."""
            self._callbacks.clear()
            self._selector.unregister(self._queue.fileno())
            self._queue.close()

        def _notify(self, now: float) -> None:
            for event in self._queue.control(None, 64, 0):
                if (callback := self._callbacks.pop(event.ident, None)) is not None:
                    callback(now)
