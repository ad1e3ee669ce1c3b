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
        self._known: dict[str, tuple[tuple[str, str], float | None]] = {}

    def after_a_slice(self, entries: Mapping[str, Entry], now: datetime) -> dict[str, float]:
        """The gaps known so far of these jobs, in seconds, a hundred more than before; without those that have none."""
        left = _SLICE
        found: dict[str, tuple[tuple[str, str], float | None]] = {}
        for job, entry in entries.items():
            known = self._known.get(job)
            if known is None or known[0] != entry.cursor_schedule:
                if not left:
                    continue
                left -= 1
                known = entry.cursor_schedule, entry.schedule.longest_gap_seconds(now)
            found[job] = known
        self._known = found
        return {job: seconds for job, (_, seconds) in found.items() if seconds is not None}
