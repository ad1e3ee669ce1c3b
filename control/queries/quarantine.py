"""The runs in quarantine: the query behind ``kuber-cron quarantine list`` and ``show``, from Redis alone."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kuber_cron.common.records.parsing import Fields, all_fields, instant, number, text
from kuber_cron.common.records.run import RunRecord
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.control.queries import names, redis_time, runs
from kuber_cron.control.queries.names import UnknownRunError

_MAX = 2000  # more than Redis keeps
_MILLISECONDS = 1000  # a second, in the ids of a stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """One run in quarantine.

    Attributes:
        run: Its id.
        at: When it was put there.
        reason: ``malformed``, ``unsigned`` or ``signature``.
        message: What was wrong with it.
        by: The worker that found it so.
        record: The run's record, null where there is none that can be read.
        is_aside: Whether what stood under its name was no run at all, and was put aside.
    """

    run: str
    at: datetime
    reason: str
    message: str
    by: str
    record: RunRecord | None = None
    is_aside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineView:
    """The answer of ``kuber-cron quarantine list`` and ``show``.

    Attributes:
        now: Redis' time.
        runs: The runs in quarantine, the newest first.
        has_more: Whether there are more than were asked for.
    """

    now: datetime
    runs: tuple[Quarantined, ...]
    has_more: bool = False


def quarantine(store: Store, *, limit: int = 30) -> QuarantineView:
    """Return the newest runs in quarantine."""
    found = _quarantined_runs(store, limit + 1)
    return QuarantineView(now=redis_time.now(store), runs=tuple(found[:limit]), has_more=len(found) > limit)


def quarantined(store: Store, run: str) -> QuarantineView:
    """Return one run in quarantine.

    Raises:
        UnknownRunError: it is not there; the hint names the most similar one.
    """
    known = _quarantined_runs(store, _MAX)
    found = tuple(each for each in known if each.run == run)
    if not found:
        near = names.near(run, [each.run for each in known])
        hint = near or "kuber-cron quarantine list names them"
        raise UnknownRunError(f'there is no run "{run}" in quarantine', hint=hint)
    return QuarantineView(now=redis_time.now(store), runs=found)


def _quarantined_runs(store: Store, limit: int) -> list[Quarantined]:
    """Return the newest of them, each run once."""
    entries: Any = store.client.xrevrange(store.keys.quarantine)
    found: dict[str, tuple[str, Fields]] = {}
    for entry, fields in entries:
        values = all_fields(fields)
        found.setdefault(values.get("run", ""), (text(entry), values))
    chosen = list(found.items())[:limit]
    records = {run.run: run for run in runs.records(store, [run for run, _ in chosen])}
    with store.client.pipeline(transaction=False) as pipe:
        for run, _ in chosen:
            pipe.exists(store.keys.aside(run))
        aside = pipe.execute()
    return [
        _quarantined(run, entry, values, records.get(run), is_aside=bool(is_aside))
        for (run, (entry, values)), is_aside in zip(chosen, aside, strict=True)
    ]


def _quarantined(
    run: str, entry: str, values: Fields, record: RunRecord | None, *, is_aside: bool
) -> Quarantined:
    note = _note(values.get("note", ""))
    at = datetime.fromtimestamp(number(entry.partition("-")[0]) / _MILLISECONDS, UTC)
    return Quarantined(
        run=run,
        at=instant(values.get("at")) or at,
        reason=note.get("reason", "malformed"),
        message=note.get("message", ""),
        by=values.get("by", ""),
        record=record,
        is_aside=is_aside,
    )


def _note(text: str) -> Fields:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
