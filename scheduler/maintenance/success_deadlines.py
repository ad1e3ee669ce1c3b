"""Success deadlines: by when each job's next success is expected, worked out a few jobs at a time.

They are the dead man's switch of monitoring.

A success is expected of the first instant after the last one, or after the job was added, edited or last suspended,
whichever came later; so a job that is new, resumed or was never meant to run yet is never overdue. From that instant
on the job has an allowance: ten minutes, a tenth of the time to its following instant (an hour at most), twice as
long as its last run took, and all the waits that its retries may make. A job that has never succeeded has not shown
how long it takes: it has until its following instant instead, a day at most.

What it does *not* know: if a run is under way. One that takes much longer than the last one did is overdue too.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice

from kuber_cron.common.runs import retry_policy
from kuber_cron.scheduler.decisions.planner import CatalogEntry
from kuber_cron.scheduler.maintenance.redis_observer import LastRun

# A takeover, a queue that was full for a moment, a slow start.
LEAST_SECONDS = 600.0
_SHARE_OF_GAP = 0.1
_MOST_OF_GAP_SECONDS = 3600.0
# The default `timeout`: no run of a job that sets none of its own takes longer.
_DAY_SECONDS = 86400.0
# Two instants are worked out for each job that has changed: about 10 ms a round.
_SLICE = 500


def expected_by(entry: CatalogEntry, run: LastRun) -> float | None:
    """Return by when a success of the job is expected, seconds since the epoch; None where none is."""
    start = max((at for at in (run.success_at, run.expected_from) if at is not None), default=None)
    if start is None:
        return None
    after = datetime.fromtimestamp(start, UTC)
    coming = [at.timestamp() for at in islice(entry.occurrences_after(after), 2)]
    if not coming:
        return None
    gap = coming[1] - coming[0] if len(coming) == 2 else 0.0
    if run.success_at is None:
        allowance = min(gap, _DAY_SECONDS)
    else:
        allowance = min(_SHARE_OF_GAP * gap, _MOST_OF_GAP_SECONDS) + 2 * run.duration_seconds
    waits = retry_policy.longest_wait_seconds(entry.job, _DAY_SECONDS)
    return coming[0] + entry.delay.total_seconds() + LEAST_SECONDS + allowance + waits


def _is_same(before: CatalogEntry | None, now: CatalogEntry | None) -> bool:
    return before is now or before == now


class SuccessDeadlines:
    """The deadlines of one term, each job's worked out anew when it has changed."""

    def __init__(self) -> None:
        self._entries: Mapping[str, CatalogEntry] | None = None
        self._runs: Mapping[str, LastRun] | None = None
        self._left: list[str] = []
        self._known: dict[str, tuple[LastRun, float | None]] = {}
        self._published: dict[str, float] = {}

    def update_some(
        self, entries: Mapping[str, CatalogEntry], runs: Mapping[str, LastRun]
    ) -> Mapping[str, float]:
        """Bring the next five hundred jobs up to date; return the deadlines known so far, seconds since the epoch."""
        if entries is not self._entries:
            # Of a job that is not as it was all is worked out again, because any policy may have a part in it.
            before = self._entries or {}
            self._known = {
                job: known
                for job, known in self._known.items()
                if _is_same(before.get(job), entries.get(job))
            }
            self._entries, self._runs = entries, None
            self._publish()
        if runs is not self._runs:
            self._runs = runs
            self._left = [job for job, run in runs.items() if job in entries and self._has_changed(job, run)]
            self._left.reverse()
        if self._left:
            for job in self._left[-_SLICE:]:
                self._known[job] = runs[job], expected_by(entries[job], runs[job])
            del self._left[-_SLICE:]
            self._publish()
        return self._published

    def _publish(self) -> None:
        # Replaced as a whole: a scrape may be reading what was published before.
        self._published = {job: at for job, (_, at) in self._known.items() if at is not None}

    def _has_changed(self, job: str, run: LastRun) -> bool:
        known = self._known.get(job)
        return known is None or (known[0] is not run and known[0] != run)
