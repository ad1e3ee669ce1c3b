"""Awaiting a run: its output as it comes, through Redis, and how it ended in the end."""

import json
import sys
import threading
from typing import TYPE_CHECKING, Any

from kuber_cron.cli.terminal import errors
from kuber_cron.common import time_format
from kuber_cron.common.clock import SystemClock
from kuber_cron.common.errors import KuberCronError, RedisUnreachableError
from kuber_cron.common.records import parsing
from kuber_cron.common.records.attempt import AttemptRecord
from kuber_cron.control.actions.results import RunResult

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.scripts import Store

_LOOKS = (0.02, 0.25)  # first and longest pause between looks, in seconds
_AWAY_SECONDS = 60.0  # Redis may be away for so long, a failover say, before the waiting is given up
_OVER = frozenset({"finished", "failed", "stopped", "canceled"})
_FIELDS = ("status", "outcome", "execution", "attempt")


class RunGoneError(KuberCronError):
    """The run was deleted while somebody waited for it."""

    code = "run-gone"


def sentence(end: RunResult) -> str:
    """Return how it went, for people."""
    if end.exit_code is not None and end.outcome not in {"success", "timed_out"}:
        how = f"{end.outcome} (exit code {end.exit_code})"
    elif end.signal is not None:
        how = f"{end.outcome} (signal {end.signal})"
    else:
        how = end.outcome
    return how if end.seconds is None else f"{how} after {time_format.duration(end.seconds)}"


def newest_result(store: "Store", run: str) -> str:
    """Return the id of the run's newest result: what comes after it belongs to later attempts."""
    found: Any = store.client.xrevrange(store.keys.results(run), count=1)
    return str(parsing.text(found[0][0])) if found else ""


def follow(
    store: "Store", run: str, *, since: str = "", as_json: bool = False, is_silent: bool = False
) -> RunResult:
    """Return how the run has ended; meanwhile its output is passed on.

    Stdout and stderr are the command's, both on stderr for a program's sake where `as_json`.

    Args:
        store: Where the run is.
        run: Its id.
        since: Only attempts whose result is later than this one are shown, and counted.
        as_json: Keep standard output free.
        is_silent: Show nothing.

    Raises:
        RunGoneError: somebody has deleted it.
        RedisUnreachableError: Redis was away for a minute.
        KeyboardInterrupt: Ctrl-C; the run goes on, and that is said.
    """
    try:
        terminal = None if is_silent else ResultWriter(as_json=as_json)
        return _Following(store, run, since, terminal).to_its_end()
    except KeyboardInterrupt:
        errors.complain(f"kuber-cron: {run} goes on without being waited for; kuber-cron stop {run} ends it")
        raise


class ResultWriter:
    """Where a command's output goes: as it came, to the stream that it came from."""

    def __init__(self, *, as_json: bool) -> None:
        self._streams = {"stdout": sys.stderr if as_json else sys.stdout, "stderr": sys.stderr}

    def show(self, stream: str, text: str) -> None:
        """The piece is written."""
        target = self._streams.get(stream, sys.stderr)
        target.write(text)
        target.flush()


class _Following:
    def __init__(self, store: "Store", run: str, since: str, terminal: ResultWriter | None) -> None:
        self._store = store
        self._run = run
        self._terminal = terminal
        self._last_result = since
        self._last: AttemptRecord | None = None
        self._shown: tuple[str, int] = ("", 0)  # an execution, and how many bytes of its output are shown
        self._unsaid: list[
            AttemptRecord
        ] = []  # ended attempts of which it is not said yet whether another follows
        self._wait = threading.Event().wait
        self._clock = SystemClock()

    def to_its_end(self) -> RunResult:
        from kuber_cron.common.redis_store import connections

        pause, longest = _LOOKS
        answered_at = self._clock.elapsed()
        while True:
            try:
                with connections.translated(self._store.client):
                    found = self._look()
                answered_at = self._clock.elapsed()
            except RedisUnreachableError:
                if self._clock.elapsed() - answered_at > _AWAY_SECONDS:
                    raise
                found = None
            if found is not None:
                return found
            self._wait(pause)
            pause = min(1.5 * pause, longest)

    def _look(self) -> RunResult | None:
        """One look: what is new is shown; how the run ended, if it has."""
        client, keys = self._store.client, self._store.keys
        # The status is read first: what had been said and recorded before a run was over is then among what follows.
        values: Any = client.hmget(keys.run(self._run), *_FIELDS)
        told = parsing.told(_FIELDS, values)
        status = told.get("status", "")
        if not status:
            raise RunGoneError(f"{self._run} was deleted before it had ended")
        is_over = status in _OVER and bool(told.get("outcome"))
        if not is_over:
            self._say_of_attempts(self._unsaid)
        self._show_results()
        if is_over:
            self._say_of_attempts(self._unsaid[:-1])
            return self._end(told)
        if status == "started" and told.get("execution"):
            self._show_running(told["execution"])
        return None

    def _say_of_attempts(self, ended: list[AttemptRecord]) -> None:
        for each in ended if self._terminal is not None else ():
            errors.complain(f"kuber-cron: attempt {each.attempt}: {each.outcome}, there will be another")
        self._unsaid = self._unsaid[len(ended) :]

    def _show_results(self) -> None:
        start = f"({self._last_result}" if self._last_result else "-"
        entries: Any = self._store.client.xrange(self._store.keys.results(self._run), start)
        for place, (entry, fields) in enumerate(entries):
            self._last_result = parsing.text(entry)
            attempt = AttemptRecord.from_fields(parsing.told_all(fields), place + 1)
            self._show(attempt.execution or "", _document(attempt))
            self._last = attempt
            self._unsaid.append(attempt)

    def _show_running(self, execution: str) -> None:
        document: Any = self._store.client.get(self._store.keys.output(execution))
        if document is not None:
            self._show(execution, json.loads(document))

    def _show(self, execution: str, document: dict[str, Any]) -> None:
        if self._terminal is None:
            return
        from kuber_cron.common.records.excerpt import Excerpt

        excerpt = Excerpt.from_fields(document)
        position = self._shown[1] if self._shown[0] == execution else 0
        for stream, text in excerpt.since(position):
            self._terminal.show(stream, text)
        self._shown = (execution, max(position, excerpt.total_bytes))

    def _end(self, told: parsing.Fields) -> RunResult:
        outcome, last = told["outcome"], self._last
        own = last if last is not None and last.outcome == outcome else None
        return RunResult(
            run=self._run,
            outcome=outcome,
            attempt=parsing.number(told.get("attempt")),
            exit_code=None if own is None else own.exit_code,
            signal=None if own is None else own.signal,
            seconds=None if own is None else own.seconds,
            exit_status=errors.PROBLEM if own is None else _exit_status(own),
        )


def _document(attempt: AttemptRecord) -> dict[str, Any]:
    return {
        "head": attempt.head,
        "tail": attempt.tail,
        "streams": attempt.streams,
        "omitted_bytes": attempt.omitted_bytes,
        "total_bytes": attempt.kept_bytes,
    }


def _exit_status(attempt: AttemptRecord) -> int:
    if attempt.outcome == "timed_out":
        return errors.TIMED_OUT
    if attempt.signal is not None:
        return errors.SIGNALLED + attempt.signal
    if attempt.outcome == "success":
        return attempt.exit_code or errors.OK
    return attempt.exit_code or errors.PROBLEM  # one that was stopped may have returned 0, and is no success
