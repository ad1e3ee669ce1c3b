"""The errors of Kuber-Cron: one root, one class per thing that a caller can do something about.

Messages name the object, the value and the remedy. Foreign exceptions are translated in the adapter that
meets them and chained.
"""

import json
from collections.abc import Callable


class KuberCronError(Exception):
    """Kuber-Cron could not do what was asked.

    Attributes:
        code: A stable word for programs (``redis-unreachable``), shown by ``--format json``.
        hint: What to do about it, or None.
    """

    code = "error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(KuberCronError):
    """The command was called in a way that has no meaning: exit status 2."""

    code = "usage"


class SettingsError(KuberCronError):
    """One or more settings are invalid; the message lists all of them."""

    code = "bad-settings"


class RedisUnreachableError(KuberCronError):
    """Redis did not answer, or not as a Redis would."""

    code = "redis-unreachable"


class RedisRefusedError(KuberCronError):
    """Redis answered, and is set up in a way that would break the promise (eviction, cluster mode, ACL)."""

    code = "redis-refused"


class EmbeddedRedisError(KuberCronError):
    """The Redis server of the one-machine mode could not be started or is in use."""

    code = "embedded-redis"


class PortInUseError(KuberCronError):
    """The port for metrics and health is taken."""

    code = "port-in-use"


class FencedError(KuberCronError):
    """A larger epoch has claimed the schedule: this process is no longer the leader and must not decide."""

    code = "fenced"


class TermOverError(KuberCronError):
    """The own term ended before all was decided: nothing was refused, the rest is left to the next term."""

    code = "term-over"


class StateLostError(KuberCronError):
    """Redis holds a smaller epoch than ours, or none: it has lost acknowledged writes (reliability.md §8)."""

    code = "state-lost"


class UnknownJobError(KuberCronError):
    """No job has the name that was asked for."""

    code = "unknown-job"


class UnknownRunError(KuberCronError):
    """No run has the name that was asked for, or its record is not kept any more."""

    code = "unknown-run"


class AmbiguousRunError(KuberCronError):
    """The names of several runs begin as what was asked for."""

    code = "ambiguous-run"


class PayloadError(KuberCronError):
    """A run's payload cannot be read or its signature does not match: the run goes to quarantine.

    ``reason`` is one of the closed set that labels ``cron_quarantined_total``.
    """

    code = "bad-payload"

    def __init__(self, message: str, *, reason: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason

    def to_note(self) -> str:
        """What the quarantine's record says of it, as JSON."""
        return json.dumps({"reason": self.reason, "message": self.message})


class ScheduleError(KuberCronError, ValueError):
    """A schedule or a time zone cannot be understood, so nothing will run by it: no time is ever guessed.

    Attributes:
        about: The part that is wrong: ``minute``, ``hour``, ``day-of-month``, ``month``, ``day-of-week``,
            ``schedule``, ``nickname`` or ``timezone``.
        code: The diagnostic's stable code; ``kuber_cron.common.schedule.fields.Code`` is the table.
        offset: 0-based character offset of the offending field or item in the text that was parsed.
    """

    def __init__(
        self,
        message: str,
        *,
        about: str,
        code: str,
        hint: str | Callable[[], str | None] | None = None,
        offset: int = 0,
    ) -> None:
        super().__init__(message)
        self.about = about
        self.code = code
        self.offset = offset
        self._hint: str | Callable[[], str | None] | None = hint

    @property
    def hint(self) -> str | None:
        """What to write instead. A search by similarity runs when it is first asked for: it is dear."""
        hint = self._hint
        if callable(hint):
            hint = self._hint = hint()
        return hint

    @hint.setter
    def hint(self, hint: str | Callable[[], str | None] | None) -> None:
        self._hint = hint
