"""Waiting for what is bound to happen: a condition with a deadline, never a sleep of guessed length."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 60.0
"""How long a test waits at least for what comes at once on a quiet machine: only a test that fails waits that long."""


def eventually(
    predicate: Callable[[], T], seconds: float = 0.0, *, every: float = 0.01, within: float | None = None
) -> T:
    """The first true answer of ``predicate``; fails the test when there is none.

    It is waited for ``seconds``, which a busy machine never makes too few: at least ``PATIENCE_SECONDS``. Where the
    time itself is what is tested, ``within`` says it, and is kept to.
    """
    pause = threading.Event()
    patience = max(seconds, PATIENCE_SECONDS) if within is None else within
    deadline = time.monotonic() + patience
    while True:
        if answer := predicate():
            return answer
        if time.monotonic() > deadline:
            name = getattr(predicate, "__name__", repr(predicate))
            raise AssertionError(f"{name} is still {answer!r} after {patience:g} s")
        pause.wait(every)
