"""Stopping runs: one by its id, or all of a job. Needs no leader, and a repetition does no harm."""

from collections.abc import Sequence
from typing import Any

from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.control.actions import operator_scripts
from kuber_cron.control.actions.errors import RunOverError
from kuber_cron.control.actions.operator_scripts import ScriptReply
from kuber_cron.control.actions.results import StoppedRun, StoppedRuns

MAX_RUNS = 10_000
"""How many runs of a job :func:`live_runs` lists at most, and so how many one call stops."""


def stop_run(store: Store, run: str, *, operator: str) -> StoppedRun:
    """End a run that waits at once, or record durably that the one which runs is to end.

    Args:
        store: The installation's Redis.
        run: The run's id.
        operator: Who acts: ``user@host``.

    Raises:
        RunOverError: The run has ended already.
        ForeignRunError: It is one of RQ's own.
        UnknownRunError: There is no record of it.
    """
    return _result(run, operator_scripts.call(store, "stop_run", run, operator=operator))


def live_runs(store: Store, job: str) -> list[str]:
    """Return the ids of the job's runs that have not ended, the newest instant first, at most :data:`MAX_RUNS`."""
    runs: Any = store.client.zrevrange(store.keys.active(job), 0, MAX_RUNS - 1)
    return [text(run) for run in runs]


def stop_runs(store: Store, job: str, runs: Sequence[str], *, operator: str) -> StoppedRuns:
    """Stop these runs of a job, in this order; those that have ended meanwhile are left out.

    Args:
        store: The installation's Redis.
        job: The job's name.
        runs: The ids of its runs. The last in line should come first, as in :func:`live_runs`: the end of a run lets
            the next in line go on, which would be running when its turn to be stopped comes.
        operator: Who acts: ``user@host``.
    """
    replies = {run: operator_scripts.call(store, "stop_run", run, operator=operator) for run in runs}
    stopped = [_result(run, reply) for run, reply in replies.items() if reply.word in _STATES]
    return StoppedRuns(job=job, runs=tuple(stopped))


_STATES = frozenset({"STOPPED", "STOPPING"})


def _result(run: str, reply: ScriptReply) -> StoppedRun:
    match reply.word, reply.details:
        case "STOPPED", _:
            return StoppedRun(run=run, state="stopped")
        case "STOPPING", (worker, *_):
            return StoppedRun(run=run, state="stopping", worker=worker or None)
        case "OVER", (status, outcome, *_):
            raise RunOverError(
                f"{run} has ended already: {outcome or status}", hint=f"kuber-cron show {run} tells how"
            )
        case _:
            raise operator_scripts.run_error(run, reply)
