"""The channel ``json``: a document of our own. Pure.

Times are ISO 8601 in UTC with Z, durations are in seconds. Every key is always there, null where the value is unknown.
"""

from datetime import datetime
from typing import Any

from kuber_cron.common.notifications.events import Event, Missed, end_of, event_id, iso

VERSION = 1
"""Raised when a field changes its meaning or goes away, not when one is added."""


def document(event: Event, instance: str) -> dict[str, Any]:
    """Return the event as docs/notifications.md describes it."""
    head = {
        "version": VERSION,
        "id": event_id(event, instance),
        "kind": event.kind,
        "instance": instance,
        "job": event.job,
        "team": event.team,
        "description": event.description,
    }
    if isinstance(event, Missed):
        return head | {
            "reason": event.reason,
            "first_at": iso(event.first_at),
            "last_at": iso(event.last_at),
            "count": event.count,
            "leader": event.leader,
        }
    duration = event.duration_seconds
    return head | {
        "run": event.run,
        "attempt": event.attempt,
        "outcome": event.outcome,
        "exit_code": event.exit_code,
        "signal": event.signal,
        "scheduled_at": _iso(event.scheduled_at),
        "started_at": _iso(event.started_at),
        "ended_at": _iso(event.ended_at),
        "duration_seconds": None if duration is None else round(duration, 3),
        "worker": event.worker,
        "leader": event.leader,
        "output": end_of(event.output),
    }


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else iso(instant)
