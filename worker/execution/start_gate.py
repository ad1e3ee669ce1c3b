"""The start gate: what stands against a command immediately before its process is made.

Between the start script's answer and the process lies time in which the worker may have been stopped or cut off, and in which
the run may have been taken away or its stop asked for. Such a stop finds no command to end, so it is remembered here.
"""

from collections import OrderedDict
from collections.abc import Callable

from kuber_cron.worker.execution.outcome import Cause, Outcome

# Most remembered stops are of executions that have just ended; one that is not waits here until its start.
_REMEMBERED = 1000


class StartGate:
    """Asked once for each start, in the supervisor's thread."""

    def __init__(self, hindrance: Callable[[str], str]) -> None:
        """``hindrance``: why the worker may not start this execution now; empty where it may."""
        self._hindrance = hindrance
        self._stops: OrderedDict[str, Cause] = OrderedDict()

    def remember(self, execution_id: str, cause: Cause) -> None:
        """Keep a stop of an execution that is not known: it has ended, or has yet to be started."""
        self._stops.setdefault(execution_id, cause)
        if len(self._stops) > _REMEMBERED:
            self._stops.popitem(last=False)

    def refusal(self, execution_id: str) -> tuple[Outcome, str] | None:
        """Return the outcome of an attempt that must not be started, and why; None where it may be.

        An interrupted attempt that has no process is no attempt: its run returns to its queue.
        """
        cause = self._stops.pop(execution_id, None)
        if cause in {"stopped", "replaced"}:
            return Outcome.of(None, cause=cause), "its end was asked for"
        reason = "its run was taken away" if cause is not None else self._hindrance(execution_id)
        return (Outcome(kind="interrupted"), reason) if reason else None
