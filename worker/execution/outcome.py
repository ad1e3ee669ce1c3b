"""The outcome of an attempt, as a pure value (spec: interface.md, outcomes; reliability.md §6).

A run may also end as ``replaced``, ``removed`` or ``predecessor``; those are decisions about runs and never the
end of an attempt: an attempt that was ended in favour of a newer run is ``stopped`` with the cause ``replaced``.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, Self

from kuber_cron.common.runs.retry_policy import OutcomeKind

Cause = Literal["timeout", "stopped", "replaced", "interrupted", "lost"]
"""Why we ended a command: its timeout, an operator, a newer run, our own drain, or a lost heartbeat (another worker may
own the run by now)."""

_KINDS: dict[Cause, OutcomeKind] = {
    "timeout": "timed_out",
    "stopped": "stopped",
    "replaced": "stopped",
    "interrupted": "interrupted",
    "lost": "lost",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one attempt.

    Attributes:
        kind: success, failed, timed_out, signalled, lost, stopped or interrupted.
        exit_code: The command's exit code; None if a signal ended it or it never ran.
        signal: The number of the signal that ended the command, or None.
        cause: Why we ended it, or None where it ended by itself.
    """

    kind: OutcomeKind
    exit_code: int | None = None
    signal: int | None = None
    cause: Cause | None = None

    @classmethod
    def of(
        cls, returncode: int | None, *, cause: Cause | None = None, success: Collection[int] = (0,)
    ) -> Self:
        """Return the outcome of a command that ended with ``returncode``.

        Args:
            returncode: As Python has it: negative for the signal that ended it; None if it never ran.
            cause: Why we asked it to end, or None. It decides: a command that answers TERM with a neat exit 0
                may still not have finished its work.
            success: The exit codes that count as success.
        """
        exit_code = returncode if returncode is not None and returncode >= 0 else None
        signal = -returncode if returncode is not None and returncode < 0 else None
        if cause is not None:
            return cls(kind=_KINDS[cause], exit_code=exit_code, signal=signal, cause=cause)
        if signal is not None:
            return cls(kind="signalled", signal=signal)
        if exit_code is None:
            return cls(kind="lost")
        return cls(kind="success" if exit_code in success else "failed", exit_code=exit_code)

    @property
    def is_success(self) -> bool:
        """True for a success."""
        return self.kind == "success"

    @property
    def reason(self) -> OutcomeKind | None:
        """The label of ``cron_job_failures_total``; None for a success and for an interruption."""
        return None if self.kind in {"success", "interrupted"} else self.kind

    def __str__(self) -> str:
        if self.signal is not None:
            return f"{self.kind} (signal {self.signal})"
        return self.kind if self.exit_code in {None, 0} else f"{self.kind} (exit code {self.exit_code})"
