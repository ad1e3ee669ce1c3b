"""A service's life on the command line: started, drained by a signal, ended at once by a second Ctrl-C.

The first SIGTERM or SIGINT drains: nothing new starts, commands may finish within the grace. A Ctrl-C while it
drains ends every command now. A second SIGTERM changes nothing: process managers repeat themselves. So do
``timeout`` and ``make`` with a Ctrl-C, within microseconds; what follows that fast is the same one.
"""

import signal
import threading
from typing import Literal, Protocol

from kuber_cron.cli.process.signals import Events
from kuber_cron.cli.terminal import errors
from kuber_cron.common.clock import SystemClock

ONE_PRESS_SECONDS = 0.2  # no hand presses Ctrl-C twice within it
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


Ending = BaseException | Literal["ended"]


def serve(service: Service) -> int:
    """Run `service` to its end in the main thread; return the exit status: 0, or 130 after a second Ctrl-C.

    Raises:
        Exception: what ended the service other than a signal.
    """
    clock = SystemClock()
    with Events[Ending]() as events:
        service.start()
        threading.Thread(
            target=_tell_the_end, args=(service, events), name="service-end", daemon=True
        ).start()
        drained_at: float | None = None
        while (event := events.get()) != "ended":
            if isinstance(event, BaseException):
                raise event
            now = clock.elapsed()
            if drained_at is None:
                drained_at = now
                service.drain()
            elif event is signal.SIGINT and now - drained_at > ONE_PRESS_SECONDS:
                return _abort(service, events)
    return errors.OK


def _abort(service: Service, events: Events[Ending]) -> int:
    service.abort()
    while isinstance(events.get(_LAST_WAIT_SECONDS), signal.Signals):
        pass
    return errors.INTERRUPTED


def _tell_the_end(service: Service, events: Events[Ending]) -> None:
    try:
        service.wait()
    except Exception as error:  # noqa: BLE001 -- handed to the main thread, which raises it
        events.put(error)
    else:
        events.put("ended")
