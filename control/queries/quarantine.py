"""A look at the quarantine: runs that no worker could read or verify, as their workers have written them down."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kuber_cron.common.records.parsing import Fields, instant, number, text, told_all
from kuber_cron.common.records.run import RunRecord
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.control.queries import runs as look_runs

_FRACTION = 1000  # milliseconds in the ids of a stream


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
    """What ``kuber-cron quarantine list`` and ``show`` answer.

    Attributes:
        now: Redis' time.
        runs: The runs in quarantine, the newest first.
        has_more: Whether there are more than were asked for.
    """

    now: datetime
    runs: tuple[Quarantined, ...]
    has_more: bool = False


def quarantined(store: Store, *, limit: int) -> list[Quarantined]:
    """The newest of them, each run once."""
    entries: Any = store.client.xrevrange(store.keys.quarantine)
    found: dict[str, tuple[str, Fields]] = {}
    for entry, fields in entries:
        told = told_all(fields)
        found.setdefault(told.get("run", ""), (text(entry), told))
    chosen = list(found.items())[:limit]
    records = {run.run: run for run in look_runs.records(store, [run for run, _ in chosen])}
    with store.client.pipeline(transaction=False) as pipe:
        for run, _ in chosen:
            pipe.exists(store.keys.aside(run))
        aside = pipe.execute()
    return [
        _quarantined(run, entry, told, records.get(run), is_aside=bool(is_aside))
        for (run, (entry, told)), is_aside in zip(chosen, aside, strict=True)
    ]


def _quarantined(
    run: str, entry: str, told: Fields, record: RunRecord | None, *, is_aside: bool
) -> Quarantined:
    note = _note(told.get("note", ""))
    at = datetime.fromtimestamp(number(entry.partition("-")[0]) / _FRACTION, UTC)
    return Quarantined(
        run=run,
        at=instant(told.get("at")) or at,
        reason=note.get("reason", "malformed"),
        message=note.get("message", ""),
        by=told.get("by", ""),
        record=record,
        is_aside=is_aside,
    )


def _note(text: str) -> Fields:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
