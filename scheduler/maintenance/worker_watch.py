"""The leader's watch on the workers: the judgement of which of them are dead (spec: reliability.md §6, Heartbeats).

A worker's heartbeat is a counter. It is dead once the leader itself has seen the counter stand still for the worker's ttl,
by the leader's own interval clock. No key that expires decides, and no wall clock. What Redis or this process
missed counts against nobody: the watch begins anew, and a living worker has the whole ttl to be seen again.

The worker ends its commands two seconds before that, counted from the sending of its last acknowledged heartbeat
(``worker/coordination/self_fencing.py``), which lies before anything that is seen here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

# One look counts for at most this much, because workers may have stood still together with this process.
_MOST_SECONDS_A_LOOK = 2.0
# A gap between two looks that is longer makes the watch begin anew: this process, or its machine, was asleep.
_GAP_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class WorkerMark:
    """A worker's heartbeats as they stand in Redis.

    Attributes:
        text: The counter as Redis has it; empty where Redis has none of this worker.
        ttl_seconds: The worker's own ttl; 0 where it is not known.
    """

    text: str
    ttl_seconds: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "WorkerMark":
        """Read ``<count> <ttl in ms>``; a worker of the version before wrote an instant, which changes as a counter does."""
        count, _, ttl = text.partition(" ")
        if count.isascii() and count.isdigit() and ttl.isascii() and ttl.isdigit():
            return cls(text, int(ttl) / 1000)
        return cls(text)


@dataclass(slots=True)
class _Watched:
    mark: WorkerMark
    still_seconds: float = 0.0


class WorkerWatch:
    """The workers' counters as one leader has seen them. A pure thing: the caller brings clock and marks."""

    def __init__(self, ttl_seconds: float) -> None:
        """``ttl_seconds`` holds for a worker that does not say its own, and is the least for one that does."""
        self._ttl_seconds = ttl_seconds
        self._looked_at: float | None = None
        self._watched: dict[str, _Watched] = {}

    def begin_anew(self) -> None:
        """Forget what was seen: leading has begun, or Redis was away or may be another."""
        self._looked_at = None
        self._watched.clear()

    def look(self, now: float, marks: Mapping[str, WorkerMark]) -> dict[str, WorkerMark]:
        """Return the workers that are dead, with the mark at which each has stood still.

        Args:
            now: The interval clock when the marks had arrived, in seconds.
            marks: Every worker that may own something, with its mark.
        """
        gap = 0.0 if self._looked_at is None else now - self._looked_at
        if not 0.0 <= gap <= max(_GAP_SECONDS, self._ttl_seconds / 3):
            self.begin_anew()
            gap = 0.0
        self._looked_at = now
        counted = min(gap, _MOST_SECONDS_A_LOOK)
        before, self._watched = self._watched, {}
        for name, mark in marks.items():
            known = before.get(name)
            still = known.still_seconds + counted if known is not None and known.mark == mark else 0.0
            self._watched[name] = _Watched(mark, still)
        return {
            name: each.mark
            for name, each in self._watched.items()
            if each.still_seconds >= max(self._ttl_seconds, each.mark.ttl_seconds)
        }
