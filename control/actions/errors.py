"""The errors of the operator's verbs: a class for each thing that a caller can do something about.

Every one carries ``code``, a stable word for programs, its message and a hint (:class:`KuberCronError`). That a job or
a run is not known is an error of the queries.
"""

from kuber_cron.common.errors import KuberCronError


class NotDecidedError(KuberCronError):
    """No leader has decided the request, and none will: it is withdrawn."""

    code = "no-leader"


class HalfDecidedError(KuberCronError):
    """A leader has begun to decide the request and not finished; whoever leads next goes on."""

    code = "no-answer"


class RefusedError(KuberCronError):
    """The leader has refused the request; ``code`` says why."""

    def __init__(self, code: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class OverlapError(KuberCronError):
    """The job's rules forbid a run beside another one that has not ended."""

    code = "overlap"


class SuspendedError(KuberCronError):
    """The job is paused, or suspended in its file."""

    code = "suspended"


class RunOverError(KuberCronError):
    """The run has ended already."""

    code = "run-over"


class RunLiveError(KuberCronError):
    """The run has not ended yet."""

    code = "run-live"


class RunSucceededError(KuberCronError):
    """The run has succeeded, and the retry was not asked for all the same."""

    code = "run-succeeded"


class RunGoneError(KuberCronError):
    """The run was deleted while its end was awaited."""

    code = "run-gone"


class ForeignRunError(KuberCronError):
    """The run is one of RQ's own and belongs to no job of Kuber-Cron's."""

    code = "not-ours"


class PutAsideError(KuberCronError):
    """The key of the run's name held no run, so it can only be dropped."""

    code = "put-aside"
