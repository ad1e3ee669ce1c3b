"""The function whose name stands in every run: ``kuber_cron.worker.entry.run``.

Our worker never calls it; it executes the signed payload. A stock ``rq worker`` on our queues would call it,
in a process and with rules of its own (no claim list, no retry policy, a killed worker's run noticed after
13 minutes), so it refuses and says what to use.
"""

from kuber_cron.common.errors import KuberCronError


class WrongWorkerError(KuberCronError):
    """A stock RQ worker took a run of ours."""

    code = "wrong-worker"


def run(payload: str, signature: str) -> None:  # noqa: ARG001 - the wire format's signature
    """Refuse to execute under a stock RQ worker.

    Raises:
        WrongWorkerError: Always.
    """
    raise WrongWorkerError(
        "this run belongs to Kuber-Cron and a stock RQ worker has taken it from the queue",
        hint="stop that worker and start `kuber-cron worker`; then requeue the run",
    )
