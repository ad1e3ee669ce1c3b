"""The due queue: which job is to be planned when. Pure.

A heap of instants, each with its jobs: thousands that are due at one instant cost one step of the heap. Only the newest
entry of each job counts; the others are passed over when their instant comes.
"""

import heapq
from datetime import datetime

# At least so many replaced entries are kept.
_SPARE = 100


class DueQueue:
    """The jobs by when they are due. Not safe for several threads; the deciding loop owns it."""

    def __init__(self) -> None:
        self._instants: list[datetime] = []
        self._jobs: dict[datetime, list[str]] = {}
        self._kept = 0
        self._at: dict[str, datetime] = {}

    def put(self, job: str, at: datetime | None) -> None:
        """Make the job due at ``at`` instead of whenever it was; None removes it."""
        if at is None:
            self._at.pop(job, None)
            return
        self._at[job] = at
        self._enter(job, at)
        if self._kept > 2 * len(self._at) + _SPARE:
            # Entries that were replaced before their instant: a job that is put off again and again leaves many.
            self._instants, self._jobs, self._kept = [], {}, 0
            for name, then in self._at.items():
                self._enter(name, then)

    def _enter(self, job: str, at: datetime) -> None:
        self._kept += 1
        jobs = self._jobs.get(at)
        if jobs is None:
            self._jobs[at] = [job]
            heapq.heappush(self._instants, at)
        else:
            jobs.append(job)

    def clear(self) -> None:
        """Forget all jobs."""
        self._instants.clear()
        self._jobs.clear()
        self._kept = 0
        self._at.clear()

    def next_at(self) -> datetime | None:
        """Return when the first job is due, None when there is none."""
        while self._instants:
            at = self._instants[0]
            jobs = self._jobs[at]
            while jobs and self._at.get(jobs[-1]) != at:
                jobs.pop()
                self._kept -= 1
            if jobs:
                return at
            del self._jobs[heapq.heappop(self._instants)]
        return None

    def due(self, now: datetime, limit: int | None = None) -> list[str]:
        """Take out the jobs that are due at ``now``, earliest first; at most ``limit`` of them."""
        found: list[str] = []
        while (at := self.next_at()) is not None and at <= now and (limit is None or len(found) < limit):
            jobs = self._jobs[at]
            taken = jobs if limit is None else jobs[: limit - len(found)]
            for job in taken:
                if self._at.get(job) == at:
                    del self._at[job]
                    found.append(job)
            self._kept -= len(taken)
            del jobs[: len(taken)]
        return found

    def at(self, job: str) -> datetime | None:
        """Return when the job is due, None for never."""
        return self._at.get(job)

    def upcoming(self) -> dict[str, datetime]:
        """Return when each job is due, a copy."""
        return dict(self._at)
