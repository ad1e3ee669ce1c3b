"""Telling: what the attempts of this worker mean to those who are to be notified.

A run's *final* end is told, not each attempt: what will be tried again is nobody's news yet. Whether it is final has
been decided by the end script, which may know of a stop that the worker has not heard of, so Redis is asked for it.
Nothing here fails a run or holds one up: an error is logged, and the messenger only takes a note.
"""

import structlog
from redis.exceptions import RedisError

from kuber_cron.common.jobs.options import OPTIONS
from kuber_cron.common.notifications import events
from kuber_cron.common.notifications.events import Ping, RunEnded
from kuber_cron.common.notifications.sender import NotificationSender
from kuber_cron.common.runs.run_id import job_of_run
from kuber_cron.worker.coordination.run_store import RunStore
from kuber_cron.worker.coordination.slots import RunningAttempt
from kuber_cron.worker.execution.launch import AttemptResult

log = structlog.get_logger(__name__)

# Of a run that cannot be read, nobody knows what its job asks for.
_NOTIFY = str(OPTIONS["notify"].default)


class WorkerNotifications:
    """Tells of one worker's runs. ``started`` and ``ended`` are called in different threads."""

    def __init__(self, messenger: NotificationSender | None, ledger: RunStore, *, worker: str) -> None:
        """``ledger`` is asked in the thread that calls ``ended``. Without a messenger nothing is told."""
        self._messenger = messenger
        self._ledger = ledger
        self._worker = worker

    def started(self, held: RunningAttempt) -> None:
        """The first attempt of a run has started, or a later one, which is not told."""
        payload = held.payload
        if self._messenger is None or payload is None or not payload.ping or held.started.attempt != 1:
            return
        try:
            self._messenger.ping(Ping(url=payload.ping, job=held.job, run=held.run, sign="start"))
        except Exception:  # as below
            log.exception("a start could not be told", run=held.run)

    def ended(self, held: RunningAttempt, ended: AttemptResult, *, verdict: str, is_final: bool) -> None:
        """An attempt has ended and is recorded.

        Args:
            held: The attempt.
            ended: How it ended.
            verdict: The end script's answer.
            is_final: Whether it was asked to end the run for good.
        """
        if self._messenger is None or verdict in {"LATE", "UNSENT"}:
            return
        try:
            self._tell(self._messenger, held, ended, recovered=verdict == "RECOVERED", is_final=is_final)
        except (
            Exception
        ):  # the runs that follow have to be recorded, whatever is wrong with this one's notice
            log.exception("an end could not be told", run=held.run)

    def _tell(
        self,
        messenger: NotificationSender,
        held: RunningAttempt,
        ended: AttemptResult,
        *,
        recovered: bool,
        is_final: bool,
    ) -> None:
        payload, words = held.payload, held.payload.notify if held.payload else _NOTIFY
        url = payload.ping if payload else None
        if ended.outcome.is_success:
            if not url and not messenger.wants(words, "recovery" if recovered else "success"):
                return
            outcome: str | None = "success"
        else:
            if not url and not messenger.wants(words, "failure"):
                return
            outcome = self._outcome(held, ended, is_final=is_final)
        if outcome is None:
            return
        notice = RunEnded(
            job=held.job or job_of_run(held.run),
            team=payload.team if payload else None,
            description=payload.description if payload else None,
            run=held.run,
            attempt=held.started.attempt,
            outcome=outcome,
            recovered=recovered,
            exit_code=ended.outcome.exit_code,
            signal=ended.outcome.signal,
            scheduled_at=payload.scheduled_at if payload else None,
            started_at=ended.started_at,
            ended_at=ended.ended_at,
            duration_seconds=ended.elapsed_seconds if ended.pid is not None else None,
            worker=self._worker,
            output=events.end_of(ended.captured.text),
        )
        messenger.tell(words, notice)
        sign = events.sign_of(notice)
        if url and sign is not None:
            messenger.ping(Ping(url=url, job=notice.job, run=held.run, sign=sign, output=notice.output))

    def _outcome(self, held: RunningAttempt, ended: AttemptResult, *, is_final: bool) -> str | None:
        """The run's outcome, if it is over; None if it goes on."""
        try:
            return self._ledger.outcome_if_over(held.run, held.execution)
        except RedisError:
            return ended.outcome.kind if is_final else None
