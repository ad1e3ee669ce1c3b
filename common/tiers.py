"""Replicas and workers as they tell of themselves in Redis, for people who look from elsewhere. Pure.

Nobody decides anything by it: who leads is the fence's matter, and whether a worker is alive that of its heartbeats.
"""

import json
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from kuber_cron.common.documents import iso

SEEN_SECONDS = 30.0
"""A scheduler tells of itself every few seconds; one that has not for so long is gone, or cut off from Redis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """One replica of the scheduler, by its own word.

    Attributes:
        holder: Its identity in elections and in the logs of decisions: host, and what is random.
        version: Its release of Kuber-Cron.
        started_at: When it began.
        seen_at: When it told this, by Redis' time.
        epoch: The epoch of the term that it leads in; null for a standby.
        jobs: How many jobs it has loaded.
        is_valid: Whether its job files are without errors now; while they are not, the last good jobs run.
        problem: The first error in its job files, or null.
        late_seconds: The largest lateness of a decision in its last minute or two, null where there was none.
    """

    holder: str
    version: str = ""
    started_at: datetime | None = None
    seen_at: datetime
    epoch: int | None = None
    jobs: int = 0
    is_valid: bool = True
    problem: str | None = None
    late_seconds: float | None = None

    def is_alive(self, now: datetime) -> bool:
        """Whether it has told of itself lately."""
        return (now - self.seen_at).total_seconds() < SEEN_SECONDS

    def to_text(self) -> str:
        """As Redis holds it: JSON."""
        told = asdict(self)
        for name in ("started_at", "seen_at"):
            told[name] = None if told[name] is None else iso(told[name])
        return json.dumps(told, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> "Scheduler | None":
        """What a replica has told, what a newer release may have added left out; None where it is unreadable."""
        try:
            told: dict[str, Any] = {name: value for name, value in json.loads(text).items() if name in _NAMES}
            for name in ("started_at", "seen_at"):
                told[name] = datetime.fromisoformat(told[name]) if told.get(name) else None
            return cls(**told) if told["seen_at"] is not None else None
        except (ValueError, TypeError, AttributeError):
            return None


_NAMES = frozenset(each.name for each in fields(Scheduler))
