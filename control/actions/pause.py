"""Pausing jobs, so that nothing of them is queued by their schedules, and resuming them. Needs no leader."""

from datetime import datetime

from kuber_cron.common import time_format
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.control.actions import operator_scripts
from kuber_cron.control.actions.operator_scripts import ScriptReply
from kuber_cron.control.actions.results import PauseState
from kuber_cron.control.queries.names import UnknownJobError

_ALL_JOBS = "*"


def pause(store: Store, job: str | None, *, operator: str, until_at: datetime | None = None) -> PauseState:
    """Let the job's instants pass without a run until then, or until it is resumed. A repetition sets the end anew.

    Args:
        store: The installation's Redis.
        job: The job's name; None for every job, also those that are added meanwhile.
        operator: Who acts: ``user@host``.
        until_at: When the pause ends by itself, aware; None: never.

    Raises:
        UnknownJobError: No leader has decided anything of the job.
    """
    until_ms = 0 if until_at is None else max(1, int(until_at.timestamp() * 1000))
    detail = "" if until_at is None else time_format.iso(until_at, "seconds")
    _call(store, "pause", job, until_ms, detail, operator=operator)
    return PauseState(job=job, paused=True, until_at=until_at)


def resume(store: Store, job: str | None, *, operator: str) -> PauseState:
    """Let a paused job go on with its next instant; what was skipped is not caught up with.

    A pause of one job and a pause of all are ended each by itself.

    Args:
        store: The installation's Redis.
        job: The job's name; None for the pause of all.
        operator: Who acts: ``user@host``.

    Raises:
        UnknownJobError: No leader has decided anything of the job.
    """
    reply = _call(store, "resume", job, operator=operator)
    return PauseState(job=job, paused=False, changed=reply.word == "RESUMED", all_paused="1" in reply.details)


def _call(store: Store, action: str, job: str | None, *args: str | int, operator: str) -> ScriptReply:
    reply = operator_scripts.call(
        store, "pause_job", action, _ALL_JOBS if job is None else job, *args, operator=operator
    )
    if reply.word == "UNKNOWN":
        raise UnknownJobError(f'there is no job "{job}" any more', hint="kuber-cron jobs lists them")
    return reply
