"""Notifications of this worker's runs: a ping at the first start, a notification and a ping at the end.

Notified is a run's *final* end, not each attempt, because one that will be tried again is no news yet. Whether an end is
final has been decided by the end script, which may know of a stop that the worker does not, so Redis is asked for it.
Nothing here fails a run or holds one up: an error is logged, and the sender only puts a delivery into its queue.
"""

import structlog
from redis.exceptions import RedisError

from kuber_cron.common.jobs.options import OPTIONS
from kuber_cron.common.notifications import events
from kuber_cron.common.notifications.events import EventKind, RunEnded
from kuber_cron.common.notifications.healthchecks import Ping, signal_of
from kuber_cron.common.notifications.sender import NotificationSender
from kuber_cron.common.runs.run_id import job_of_run
from kuber_cron.worker.coordination.run_store import RunStore
from kuber_cron.worker.coordination.slots import RunningAttempt
from kuber_cron.worker.execution.launch import AttemptResult

log = structlog.get_logger(__name__)

# For a run that cannot be read: nobody knows what its job asks for.
_NOTIFY = str(OPTIONS["notify"].default)


class WorkerNotifications:
    """The notifications of one worker's runs. ``started`` and ``ended`` are called in different threads."""

    def __init__(self, sender: NotificationSender | None, run_store: RunStore, *, worker: str) -> None:
        """``run_store`` is read in the thread that calls ``ended``. Without a sender nothing is sent."""
        self._sender = sender
        self._run_store = run_store
        self._worker = worker

    def started(self, attempt: RunningAttempt) -> None:
        """Ping for the start of a run's first attempt; a later attempt is no start of the run."""
        payload = attempt.payload
        if self._sender is None or payload is None or not payload.ping or attempt.start.attempt != 1:
            return
        try:
            self._sender.ping(Ping(url=payload.ping, job=attempt.job, run=attempt.run_id, signal="start"))
        except Exception:  # as below
            log.exception("notifying of a start failed", run=attempt.run_id)

    def ended(
        self, attempt: RunningAttempt, result: AttemptResult, *, recovered: bool, is_final: bool
    ) -> None:
        """Notify of an attempt's end, which has been recorded, if it was its run's.

        Args:
            attempt: The attempt.
            result: How it ended.
            recovered: True for a success after a failure.
            is_final: Whether the run was to end for good.
        """
        if self._sender is None:
            return
        try:
            self._notify(self._sender, attempt, result, recovered=recovered, is_final=is_final)
        except (
            Exception
        ):  # the results that follow have to be recorded, whatever is wrong with this notification
            log.exception("notifying of an end failed", run=attempt.run_id)

    def _notify(
        self,
        sender: NotificationSender,
        attempt: RunningAttempt,
        result: AttemptResult,
        *,
        recovered: bool,
        is_final: bool,
    ) -> None:
        payload = attempt.payload
        notify, url = (payload.notify, payload.ping) if payload else (_NOTIFY, None)
        is_success = result.outcome.is_success
        success: EventKind = "recovery" if recovered else "success"
        if not url and not sender.is_wanted(notify, success if is_success else "failure"):
            return
        outcome = "success" if is_success else self._outcome(attempt, result, is_final=is_final)
        if outcome is None:
            return
        notification = RunEnded(
            job=attempt.job or job_of_run(attempt.run_id),
            team=payload.team if payload else None,
            description=payload.description if payload else None,
            run=attempt.run_id,
            attempt=attempt.start.attempt,
            outcome=outcome,
            recovered=recovered,
            exit_code=result.outcome.exit_code,
            signal=result.outcome.signal,
            scheduled_at=payload.scheduled_at if payload else None,
            started_at=result.started_at,
            ended_at=result.ended_at,
            duration_seconds=result.elapsed_seconds if result.pid is not None else None,
            worker=self._worker,
            output=events.end_of(result.captured.text),
        )
        sender.notify(notify, notification)
        signal = signal_of(notification)
        if url and signal is not None:
            sender.ping(
                Ping(
                    url=url,
                    job=notification.job,
                    run=attempt.run_id,
                    signal=signal,
                    output=notification.output,
                )
            )

    def _outcome(self, attempt: RunningAttempt, result: AttemptResult, *, is_final: bool) -> str | None:
        """Return the run's outcome if it has ended, None if it goes on."""
        try:
            return self._run_store.outcome_if_ended(attempt.run_id, attempt.execution_id)
        except RedisError:
            return result.outcome.kind if is_final else None
