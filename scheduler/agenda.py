"""The agenda: which job is to be planned when, as a heap that knows only the newest appointment of each job."""

import heapq
from collections.abc import Iterator
from datetime import datetime

# So many replaced appointments are kept in any case.
_SPARE = 100


class Agenda:
    """Appointments by job. Not safe for several threads; the deciding loop owns it."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, str]] = []
        self._at: dict[str, datetime] = {}

    def put(self, job: str, at: datetime | None) -> None:
        """Replace the job's appointment; None removes it."""
        if at is None:
            self._at.pop(job, None)
            return
        self._at[job] = at
        heapq.heappush(self._heap, (at, job))
        if len(self._heap) > 2 * len(self._at) + _SPARE:
            # Appointments that were replaced before they came: a job that is put off again and again leaves many.
            self._heap = [(then, name) for name, then in self._at.items()]
            heapq.heapify(self._heap)

    def clear(self) -> None:
        """Forget all appointments."""
        self._heap.clear()
        self._at.clear()

    def next_at(self) -> datetime | None:
        """The earliest appointment, None when there is none."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    def due(self, now: datetime) -> Iterator[str]:
        """Take out the jobs whose appointment is not later than ``now``, earliest first."""
        while (at := self.next_at()) is not None and at <= now:
            _, job = heapq.heappop(self._heap)
            del self._at[job]
            yield job

    def _drop_stale(self) -> None:
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)

    def at(self, job: str) -> datetime | None:
        """The job's appointment."""
        return self._at.get(job)

    def upcoming(self) -> dict[str, datetime]:
        """Every job's appointment, a copy."""
        return dict(self._at)
