"""Cursors as this process knows them: read at the start of a term, believed in between, read again after a doubt."""

from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime

import structlog

from kuber_cron.common.runs.cursor import Cursor, has_gone_back, is_readable
from kuber_cron.scheduler.decisions.planner import Decision
from kuber_cron.scheduler.decisions.state_loss import gone_back

log = structlog.get_logger(__name__)

_NEVER = datetime.min.replace(tzinfo=UTC)


class KnownCursors:
    """Every job's cursor as text. Owned by the deciding loop.

    Attributes:
        texts: By job; whoever sends decisions reads it, nobody else writes it.
        timings: Each cursor's timing, by job, as text.
    """

    def __init__(self, read: Callable[[str], str]) -> None:
        """``read`` returns a job's cursor as Redis holds it, ``""`` for none."""
        self._read = read
        self.texts: dict[str, str] = {}
        self.timings: dict[str, str] = {}
        self._farthest = _NEVER

    def replace(self, texts: dict[str, str], timings: dict[str, str]) -> None:
        """Believe these. A cursor that cannot be read is logged: its job starts anew."""
        self.texts, self.timings = texts, timings
        for job, text in texts.items():
            if not is_readable(text):
                log.error("cursor unreadable: the job starts anew", job=job, cursor=text)

    def of(self, job: str) -> str:
        """Return the job's cursor, ``""`` for none."""
        return self.texts.get(job, "")

    def timing(self, job: str) -> str:
        """Return the timing of the job's cursor, ``""`` where none is known."""
        return self.timings.get(job, "")

    def readable(self, job: str) -> str:
        """Return the job's cursor, ``""`` where there is none or it cannot be read."""
        stored = self.of(job)
        return stored if is_readable(stored) else ""

    def advance(self, decision: Decision) -> None:
        """Note that the decision was applied."""
        if decision.kind in {"move", "complete"}:
            self.timings[decision.job] = decision.timing
        if decision.kind == "drop":
            self.drop(decision.job)
        else:
            self.texts[decision.job] = decision.cursor
            self._farthest = max(self._farthest, decision.last)

    def drop(self, job: str) -> None:
        """Note that the job's cursor was dropped, perhaps by another leader."""
        self.texts.pop(job, None)
        self.timings.pop(job, None)

    def correct(self, decision: Decision, stored: str) -> None:
        """Believe what the script found in the place of the cursor that the decision named.

        Raises:
            StateLostError: That is smaller than what Redis has acknowledged to us.
        """
        known = self.of(decision.job)
        # Where they differ an earlier decision of the same batch was not applied, which says nothing of Redis.
        if known and known == decision.believed and has_gone_back(stored, known):
            raise gone_back(decision.job)
        self.texts[decision.job] = stored

    def read_again(self, job: str) -> None:
        """Believe what Redis holds now.

        Raises:
            StateLostError: That is smaller than what was known.
            redis.RedisError: Redis did not answer.
        """
        known = self.of(job)
        stored = self._read(job)
        if is_readable(known) and has_gone_back(stored, known):
            raise gone_back(job)
        self.texts[job] = stored

    # --- a clock that has stepped back ---------------------------------------------------------------

    def measure(self, jobs: Iterable[str]) -> None:
        """Find the farthest cursor of these jobs."""
        known = (self.of(job) for job in jobs)
        self._farthest = max((Cursor.from_text(one).at for one in known if is_readable(one)), default=_NEVER)

    def ahead_seconds(self, now: datetime) -> float:
        """Return how far the farthest cursor is ahead of Redis' clock, which has stepped back; 0 normally."""
        ahead = (self._farthest - now).total_seconds()
        return ahead if ahead >= 1 else 0.0

    def is_ahead_of(self, now: datetime) -> bool:
        """Return True if a cursor is later than ``now``."""
        return self._farthest > now

    def without(self, jobs: Collection[str]) -> dict[str, str]:
        """Return a copy without these jobs."""
        return {job: text for job, text in self.texts.items() if job not in jobs}
