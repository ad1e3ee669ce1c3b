"""Awaiting a run: its output as it comes, through Redis, each attempt's end, and the run's.

An outage of Redis is outlived for a minute, a failover for instance. Nothing is written anywhere: whoever follows a run
may stop at any event, and the run goes on.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kuber_cron.common.clock import Clock
from kuber_cron.common.errors import RedisUnreachableError
from kuber_cron.common.records import parsing
from kuber_cron.common.records.attempt import AttemptRecord
from kuber_cron.common.records.parsing import all_fields, fields
from kuber_cron.control.actions import exit_status
from kuber_cron.control.actions.errors import RunGoneError
from kuber_cron.control.actions.results import RunResult

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.scripts import Store

_POLL_SECONDS = (0.02, 0.25)  # first and longest pause between two polls
_AWAY_SECONDS = 60.0  # for so long Redis may be away before the waiting is given up
_ENDED = frozenset({"finished", "failed", "stopped", "canceled"})
_FIELDS = ("status", "outcome", "execution", "attempt")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPiece:
    """A piece of what the run's command has written.

    Attributes:
        stream: ``stdout`` or ``stderr``; ``gap`` where ``text`` stands for what was not kept.
        text: The piece, in the order in which it was written.
    """

    stream: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedAttempt:
    """The end of an attempt that another one follows.

    Attributes:
        attempt: Its number, from 1.
        outcome: How it ended.
    """

    attempt: int
    outcome: str


RunEvent = OutputPiece | EndedAttempt | RunResult


def newest_result(store: "Store", run: str) -> str:
    """Return the id of the run's newest attempt result: what comes after it belongs to later attempts."""
    found: Any = store.client.xrevrange(store.keys.results(run), count=1)
    return str(parsing.text(found[0][0])) if found else ""


def follow(
    store: "Store",
    run: str,
    *,
    clock: Clock,
    wait: Callable[[float], object],
    since: str = "",
    with_output: bool = True,
) -> Iterator[RunEvent]:
    """Yield what happens to the run, its :class:`RunResult` last.

    Args:
        store: The installation's Redis.
        run: The run's id.
        clock: Measures how long Redis has been away.
        wait: Lets some seconds pass, at most as many as it is given.
        since: Only attempts whose result is later than this one are followed and counted (:func:`newest_result`).
        with_output: Yield the output, too.

    Raises:
        RunGoneError: The run was deleted.
        RedisUnreachableError: Redis was away for a minute.
    """
    poll = _Poll(store, run, since, with_output=with_output)
    pause, longest = _POLL_SECONDS
    answered_at = clock.elapsed()
    while True:
        result = None
        try:
            with store.translated():
                result = poll.once()
            answered_at = clock.elapsed()
        except RedisUnreachableError:
            if clock.elapsed() - answered_at > _AWAY_SECONDS:
                raise
        yield from poll.taken_events()
        if result is not None:
            yield result
            return
        wait(pause)
        pause = min(1.5 * pause, longest)


class _Poll:
    """The state of the run as known so far; each poll adds the events since the one before, also one that fails halfway."""

    def __init__(self, store: "Store", run: str, since: str, *, with_output: bool) -> None:
        self._store = store
        self._run = run
        self._with_output = with_output
        self._last_result = since
        self._last: AttemptRecord | None = None
        # An execution, and how many bytes of its output are in events.
        self._position: tuple[str, int] = ("", 0)
        # Ended attempts of which the run's state will say whether another follows.
        self._undecided: list[AttemptRecord] = []
        self._events: list[OutputPiece | EndedAttempt] = []

    def taken_events(self) -> "list[OutputPiece | EndedAttempt]":
        """Return the events that nobody has taken yet."""
        events, self._events = self._events, []
        return events

    def once(self) -> RunResult | None:
        """Return how the run has ended, or None when it has not.

        Raises:
            RunGoneError: The run was deleted.
        """
        # The status is read first: so what was written and recorded before the run's end is among what is read then.
        values: Any = self._store.client.hmget(self._store.keys.run(self._run), *_FIELDS)
        state = fields(_FIELDS, values)
        status = state.get("status", "")
        if not status:
            raise RunGoneError(f"{self._run} was deleted before it had ended")
        has_ended = status in _ENDED and bool(state.get("outcome"))
        if not has_ended:
            self._add_ends(self._undecided)
        self._read_results()
        if has_ended:
            self._add_ends(self._undecided[:-1])
            return self._result(state)
        if status == "started" and state.get("execution") and self._with_output:
            self._read_running(state["execution"])
        return None

    def _add_ends(self, attempts: list[AttemptRecord]) -> None:
        self._events += [EndedAttempt(attempt=each.attempt, outcome=each.outcome or "") for each in attempts]
        self._undecided = self._undecided[len(attempts) :]

    def _read_results(self) -> None:
        start = f"({self._last_result}" if self._last_result else "-"
        entries: Any = self._store.client.xrange(self._store.keys.results(self._run), start)
        for place, (entry, values) in enumerate(entries):
            self._last_result = parsing.text(entry)
            attempt = AttemptRecord.from_fields(all_fields(values), place + 1)
            self._add_output(attempt.execution or "", _excerpt_fields(attempt))
            self._last = attempt
            self._undecided.append(attempt)

    def _read_running(self, execution: str) -> None:
        document: Any = self._store.client.get(self._store.keys.output(execution))
        if document is not None:
            self._add_output(execution, json.loads(document))

    def _add_output(self, execution: str, fields: dict[str, Any]) -> None:
        if not self._with_output:
            return
        from kuber_cron.common.records.excerpt import Excerpt

        excerpt = Excerpt.from_fields(fields)
        position = self._position[1] if self._position[0] == execution else 0
        self._events += [OutputPiece(stream=stream, text=text) for stream, text in excerpt.since(position)]
        self._position = (execution, max(position, excerpt.total_bytes))

    def _result(self, state: parsing.Fields) -> RunResult:
        outcome, last = state["outcome"], self._last
        own = last if last is not None and last.outcome == outcome else None
        return RunResult(
            run=self._run,
            outcome=outcome,
            attempt=parsing.number(state.get("attempt")),
            exit_code=None if own is None else own.exit_code,
            signal=None if own is None else own.signal,
            seconds=None if own is None else own.seconds,
            exit_status=exit_status.NOT_RUN
            if own is None
            else exit_status.of_attempt(outcome, own.exit_code, own.signal),
        )


def _excerpt_fields(attempt: AttemptRecord) -> dict[str, Any]:
    return {
        "head": attempt.head,
        "tail": attempt.tail,
        "streams": attempt.streams,
        "omitted_bytes": attempt.omitted_bytes,
        "total_bytes": attempt.kept_bytes,
    }
