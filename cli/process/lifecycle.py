"""A service's life on the command line: started, drained by a signal, ended at once by a second Ctrl-C.

The first SIGTERM or SIGINT drains: nothing new starts, commands may finish within the grace. A Ctrl-C while it
drains ends every command now. A second SIGTERM changes nothing, because process managers repeat themselves. So do
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
    """A service as `serve` runs it. All methods but `wait` return at once, and may be called from the main thread."""

    def start(self) -> None:
        """Begin to work.

        Raises:
            KuberCronError: Something hinders it.
        """

    def drain(self) -> None:
        """Start nothing new, let commands finish within the grace, then end."""

    def abort(self) -> None:
        """End every command now, and then end."""

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Return whether it has ended, by drain or abort. Called from a thread of its own.

        Raises:
            Exception: What else ended it.
        """


ServiceEnd = BaseException | Literal["ended"]


def serve(service: Service) -> int:
    """Run `service` to its end in the main thread; return the exit status: 0, or 130 after a second Ctrl-C.

    Raises:
        Exception: What ended the service other than a signal.
    """
    clock = SystemClock()
    with Events[ServiceEnd]() as events:
        service.start()
        threading.Thread(target=_put_end, args=(service, events), name="service-end", daemon=True).start()
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


def _abort(service: Service, events: Events[ServiceEnd]) -> int:
    service.abort()
    while isinstance(events.get(_LAST_WAIT_SECONDS), signal.Signals):
        pass
    return errors.INTERRUPTED


def _put_end(service: Service, events: Events[ServiceEnd]) -> None:
    try:
        service.wait()
    except Exception as error:  # noqa: BLE001 -- handed to the main thread, which raises it
        events.put(error)
    else:
        events.put("ended")
