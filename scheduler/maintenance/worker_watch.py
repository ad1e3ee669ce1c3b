"""The leader's watch on the workers: the judgement of which of them are dead (spec: reliability.md §6, Heartbeats).

A worker's heartbeat is a counter. It is dead once the leader itself has seen the counter stand still for the worker's ttl,
by the leader's own interval clock. No key that expires decides, and no wall clock. What Redis missed counts against nobody: the watch
begins anew, and a living worker has the whole ttl to be seen again. What this process missed (it was stopped, asleep or
starved) hardly counts, because the workers may have been so too; a slow leader is slow to judge, and never wrong.

The worker ends its commands two seconds before that, counted from the sending of its last acknowledged heartbeat
(``worker/coordination/self_fencing.py``), which lies before anything that is seen here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

# The longest time between two looks that counts in full. They are made once a second.
_PUNCTUAL_SECONDS = 1.5
# What a longer one counts at most. With it a worker that was in order before the gap has ttl / 2 to be heard after it
# (its own ASK_SECONDS are enough), however short the ttl is.
_LATE_SECONDS = 2.0


# The mark of a worker that has deregistered: it owns nothing any more, but a claim of it may still arrive.
_LEFT = "left"


@dataclass(frozen=True, slots=True)
class WorkerMark:
    """A worker's heartbeats as they stand in Redis.

    Attributes:
        text: The counter as Redis has it; empty where Redis has none of this worker.
        ttl_seconds: The worker's own ttl; 0 where it is not known.
    """

    text: str
    ttl_seconds: float = 0.0

    @property
    def has_left(self) -> bool:
        """Return True once it has deregistered."""
        return self.text == _LEFT

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
        if gap < 0.0:
            self.begin_anew()
        self._looked_at = now
        before, self._watched = self._watched, {}
        for name, mark in marks.items():
            known = before.get(name)
            still = 0.0
            if known is not None and known.mark == mark:
                still = known.still_seconds + _counted(gap, self._ttl_of(mark))
            self._watched[name] = _Watched(mark, still)
        return {
            name: each.mark
            for name, each in self._watched.items()
            if each.mark.has_left or each.still_seconds >= self._ttl_of(each.mark)
        }

    def _ttl_of(self, mark: WorkerMark) -> float:
        return max(self._ttl_seconds, mark.ttl_seconds)


def _counted(gap: float, ttl_seconds: float) -> float:
    """Return how much of the time between two looks counts."""
    if gap <= _PUNCTUAL_SECONDS:
        return gap
    return min(gap, _LATE_SECONDS, max(0.0, ttl_seconds / 2 - _LATE_SECONDS))
