"""The request queue of a loop: any thread puts callbacks in, the loop is woken and takes them out."""

import os
import selectors
import threading
from collections import deque
from collections.abc import Callable

Request = Callable[[float], object]
"""Called in the loop's thread with the interval clock's reading."""


class RequestQueue:
    """Requests in their order. ``put`` is for any thread, the rest for the loop's."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        """``selector``: the loop's, which the queue wakes."""
        self._selector = selector
        self._lock = threading.Lock()
        self._requests: deque[Request] = deque()
        self._is_woken = False
        self._is_closed = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        selector.register(self._wake_read, selectors.EVENT_READ, self._clear_wake)

    def put(self, request: Request) -> None:
        """Add a request and wake the loop; a request to a closed queue is dropped."""
        with self._lock:
            if self._is_closed:
                return
            self._requests.append(request)
            if self._is_woken:
                return
            self._is_woken = True
            os.write(self._wake_write, b"!")

    def take(self) -> list[Request]:
        """Remove and return all requests, oldest first."""
        if not self._requests:
            return []
        with self._lock:
            requests = list(self._requests)
            self._requests.clear()
            self._is_woken = False
        return requests

    def close(self) -> None:
        """Drop what is in the queue and all that comes, and close its descriptors."""
        with self._lock:
            self._is_closed = True
            self._requests.clear()
        self._selector.unregister(self._wake_read)
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _clear_wake(self, _now: float) -> None:
        os.read(self._wake_read, 64)
