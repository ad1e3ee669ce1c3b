"""A service's life on the command line: started, drained by a signal, ended at once by a second Ctrl-C.

The first SIGTERM or SIGINT drains: nothing new starts, commands may finish within the grace. A Ctrl-C while it
drains ends every command now. A second SIGTERM changes nothing: process managers repeat themselves.
"""

import contextlib
import queue
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Protocol

from kuber_cron.cli import failures

_LAST_WAIT_SECONDS = 10.0  # after an abort: KILL is sent, so what takes longer is not a command of ours


class Service(Protocol):
    """What a service does for `serve`. All but `wait` return at once, and may be called from the main thread."""

    def start(self) -> None:
        """It works from now on. What hinders it is raised as a ``KuberCronError``."""

    def drain(self) -> None:
        """It starts nothing new, lets commands finish within the grace, then ends by itself."""

    def abort(self) -> None:
        """It ends every command now, and then itself."""

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Whether it has ended, by drain or abort; raises what else ended it. Called from a thread of its own."""


Event = signal.Signals | BaseException | None  # None: it has ended


def serve(service: Service) -> int:
    """Run `service` to its end in the main thread; return the exit status: 0, or 130 after a second Ctrl-C.

    Raises:
        Exception: what ended the service other than a signal.
    """
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()  # its put is safe in a signal handler
    with signals_into(events):
        service.start()
        threading.Thread(
            target=_tell_the_end, args=(service, events), name="service-end", daemon=True
        ).start()
        is_draining = False
        while (event := events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            if not is_draining:
                is_draining = True
                service.drain()
            elif event is signal.SIGINT:
                return _abort(service, events)
    return failures.OK


def _abort(service: Service, events: "queue.SimpleQueue[Event]") -> int:
    service.abort()
    with contextlib.suppress(queue.Empty):
        while events.get(timeout=_LAST_WAIT_SECONDS) in {signal.SIGINT, signal.SIGTERM}:
            pass
    return failures.INTERRUPTED


def _tell_the_end(service: Service, events: "queue.SimpleQueue[Event]") -> None:
    try:
        service.wait()
    except Exception as error:  # noqa: BLE001 -- handed to the main thread, which raises it
        events.put(error)
    else:
        events.put(None)


@contextlib.contextmanager
def signals_into(events: "queue.SimpleQueue[Any]") -> Iterator[None]:
    """While the block runs, SIGINT and SIGTERM are put on `events` and do nothing else."""

    def put(number: int, _frame: FrameType | None) -> None:
        events.put(signal.Signals(number))

    before = {number: signal.signal(number, put) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
