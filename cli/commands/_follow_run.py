"""Following a run at a terminal: its output as it was written, and each attempt's end on standard error."""

import sys
import threading
from typing import TYPE_CHECKING, TextIO

from kuber_cron.cli.terminal import errors
from kuber_cron.common.clock import SystemClock

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.scripts import Store
    from kuber_cron.control.actions.results import RunResult


def follow(
    store: "Store", run: str, *, since: str = "", as_json: bool = False, is_silent: bool = False
) -> "RunResult":
    """Return how the run has ended; meanwhile its output is passed on, each stream to the one it came from.

    Args:
        store: Where the run is.
        run: Its id.
        since: Only attempts whose result is later than this one are shown, and counted.
        as_json: Keep standard output free: both streams are written to standard error.
        is_silent: Show nothing.

    Raises:
        RunGoneError: The run was deleted.
        RedisUnreachableError: Redis was away for a minute.
        KeyboardInterrupt: Ctrl-C; the run goes on, and standard error says so.
    """
    from kuber_cron.control.actions import await_run

    streams = {"stdout": sys.stderr if as_json else sys.stdout}
    events = await_run.follow(
        store, run, clock=SystemClock(), wait=threading.Event().wait, since=since, with_output=not is_silent
    )
    try:
        for event in events:
            match event:
                case await_run.OutputPiece(stream=stream, text=text):
                    _write(streams.get(stream, sys.stderr), text)
                case await_run.EndedAttempt(attempt=attempt, outcome=outcome):
                    if not is_silent:
                        errors.complain(f"kuber-cron: attempt {attempt}: {outcome}, there will be another")
                case result:
                    return result
    except KeyboardInterrupt:
        errors.complain(f"kuber-cron: {run} goes on without being waited for; kuber-cron stop {run} ends it")
        raise
    raise AssertionError("a followed run ends with its result")


def _write(target: TextIO, text: str) -> None:
    target.write(text)
    target.flush()
