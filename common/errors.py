"""The errors of Kuber-Cron: one root, one class per thing that a caller can do something about.

Messages name the object, the value and the remedy. Foreign exceptions are translated in the adapter that
meets them and chained.
"""


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


class FencedError(KuberCronError):
    """A larger epoch has claimed the schedule: this process is no longer the leader and must not decide."""

    code = "fenced"


class TermOverError(KuberCronError):
    """The own term ended before all was decided: nothing was refused, the rest is left to the next term."""

    code = "term-over"


class StateLostError(KuberCronError):
    """Redis holds a smaller epoch than ours, or none: it has lost acknowledged writes (reliability.md §8)."""

    code = "state-lost"
