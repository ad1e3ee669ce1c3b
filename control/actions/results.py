"""The results of the operator's verbs, for people and programs. Pure.

Each acting command's JSON document is one of these records, and their ``Attributes:`` are its documentation
(:mod:`kuber_cron.control.documents`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from kuber_cron.common import time_format
from kuber_cron.common.records.parsing import seconds_as_instant

ActionVerdict = Literal["queued", "held", "known", "planned", "succeeded", "live", "refused", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedRun:
    """The decision on one run that was requested.

    Attributes:
        run: Its id.
        job: Its job.
        scheduled_at: The instant that it is the run of; of a trigger, when it was requested.
        verdict: ``queued`` or ``held`` where it is made, ``known`` where it had been before; ``planned`` in a dry run;
            ``succeeded`` or ``live`` where its instant has a run that has succeeded, or has not ended; ``refused`` or
            ``error``.
        reason: Why it was refused: ``overlap``, ``suspended`` or ``predecessor``; or what the error is; else empty.
    """

    run: str
    job: str
    scheduled_at: datetime | None
    verdict: ActionVerdict
    reason: str = ""

    @property
    def is_made(self) -> bool:
        """Return whether there is a run."""
        return self.verdict in {"queued", "held", "known"}

    @classmethod
    def from_text(cls, item: str) -> "CreatedRun":
        """Return the run of one item of a request's answer (common/redis_store/lua/create_manual_runs.lua)."""
        values: Mapping[str, Any] = json.loads(item)
        return cls(
            run=str(values["run"]),
            job=str(values["job"]),
            scheduled_at=seconds_as_instant(values["at"]),
            verdict=values["verdict"],
            reason=str(values["reason"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The end of a run that was awaited.

    Attributes:
        run: Its id.
        outcome: How the run ended: its last attempt's outcome, or why there was no further attempt.
        attempt: How many attempts it has had.
        exit_code: What the last attempt's command returned, or null.
        signal: The signal that ended it, or null.
        seconds: How long it took, or null.
        exit_status: As a shell reports it: the command's exit code, 128 and the signal's number, 124 after its time
            limit; 1 where the run has ended otherwise, or never ran.
    """

    run: str
    outcome: str
    attempt: int
    exit_code: int | None
    signal: int | None
    seconds: float | None
    exit_status: int

    @property
    def summary(self) -> str:
        """The end in words, for people: ``failed (exit code 3) after 1.0 s``."""
        if self.exit_code is not None and self.outcome not in {"success", "timed_out"}:
            how = f"{self.outcome} (exit code {self.exit_code})"
        elif self.signal is not None:
            how = f"{self.outcome} (signal {self.signal})"
        else:
            how = self.outcome
        return how if self.seconds is None else f"{how} after {time_format.duration(self.seconds)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerResult:
    """The result of a trigger.

    Attributes:
        runs: The job's run first, then with ``--chain`` those of the jobs that come after it.
        ends: With ``--wait``, how each that was made has ended.
        exit_status: The command's own.
    """

    runs: tuple[CreatedRun, ...]
    ends: tuple[RunResult, ...] = ()
    exit_status: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillResult:
    """The result of a backfill.

    Attributes:
        job: Its job.
        from_at: The first instant that may be in it.
        to_at: The end of its span, which is not in it.
        dry_run: Whether nothing was made.
        runs: One for each instant of the schedule in the span.
    """

    job: str
    from_at: datetime
    to_at: datetime
    dry_run: bool
    runs: tuple[CreatedRun, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedRun:
    """A run that was stopped, or is to be.

    Attributes:
        run: Its id.
        state: ``stopped`` where it had not been running, and is over; ``stopping`` where its worker is to end it.
        worker: The worker, or null.
        end: With ``--wait``, how it has ended; else null.
    """

    run: str
    state: Literal["stopped", "stopping"]
    worker: str | None = None
    end: RunResult | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedRuns:
    """All runs of a job that were stopped.

    Attributes:
        job: The job.
        runs: Its runs that had not ended.
    """

    job: str
    runs: tuple[StoppedRun, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetriedRun:
    """A run that is queued again.

    Attributes:
        run: Its id.
        verdict: ``queued``, or ``held`` in line behind other runs of its job.
        end: With ``--wait``, how it has ended; else null.
    """

    run: str
    verdict: Literal["queued", "held"]
    end: RunResult | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseState:
    """The pause of a job, or its end.

    Attributes:
        job: The job; null for all.
        paused: Whether it is paused by this name: with all, or by itself.
        until_at: Until when; null: until it is resumed.
        changed: Whether that was otherwise before; a pause always counts as a change.
        all_paused: Whether a pause of all jobs holds it, too.
    """

    job: str | None
    paused: bool
    until_at: datetime | None = None
    changed: bool = True
    all_paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedRun:
    """A run whose quarantine records were deleted.

    Attributes:
        run: Its id.
    """

    run: str
