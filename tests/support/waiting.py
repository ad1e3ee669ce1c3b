"""Waiting for what is bound to happen: a condition with a deadline, never a sleep of guessed length."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(predicate: Callable[[], T], seconds: float = 10.0, *, every: float = 0.01) -> T:
    """The first true answer of ``predicate``; fails the test when there is none within ``seconds``."""
    pause = threading.Event()
    deadline = time.monotonic() + seconds
    while True:
        if answer := predicate():
            return answer
        if time.monotonic() > deadline:
            name = getattr(predicate, "__name__", repr(predicate))
            raise AssertionError(f"{name} is still {answer!r} after {seconds:g} s")
        pause.wait(every)
