"""Each job's longest gap between two runs, worked out a few jobs at a time.

One gap looks eight years ahead and costs about 0.7 ms: 10,000 jobs at once would hold up whoever asks for 7 s,
so the deciding loop never asks, and housekeeping takes a slice a round. The dead man's switch that reads
``cron_job_interval_seconds`` can wait for that.
"""

from collections.abc import Mapping
from datetime import datetime

from kuber_cron.scheduler.planner import Entry

# About 70 ms a round.
_SLICE = 100


class Gaps:
    """Remembers what has been worked out; an edited schedule is worked out anew."""

    def __init__(self) -> None:
        self._entries: Mapping[str, Entry] | None = None
        self._left: list[str] = []
        self._known: dict[str, tuple[tuple[str, str], float | None]] = {}
        self._told: dict[str, float] = {}

    def after_a_slice(self, entries: Mapping[str, Entry], now: datetime) -> Mapping[str, float]:
        """The gaps known so far of these jobs, in seconds, a hundred more than before; without those that have none."""
        if entries is not self._entries:
            self._known = {
                job: known
                for job, known in self._known.items()
                if job in entries and known[0] == entries[job].cursor_schedule
            }
            self._entries, self._left = (
                entries,
                [job for job in reversed(list(entries)) if job not in self._known],
            )
            self._tell()
        if self._left:
            for job in reversed(self._left[-_SLICE:]):
                entry = entries[job]
                self._known[job] = entry.cursor_schedule, entry.schedule.longest_gap_seconds(now)
            del self._left[-_SLICE:]
            self._tell()
        return self._told

    def _tell(self) -> None:
        # Replaced as a whole: a scrape may be reading what was told before.
        self._told = {job: seconds for job, (_, seconds) in self._known.items() if seconds is not None}
