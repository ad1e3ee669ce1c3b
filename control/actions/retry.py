"""Retrying a run that has ended: queued anew with all its budgets. Needs no leader."""

from typing import Literal

from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.control.actions import operator_scripts
from kuber_cron.control.actions.errors import OverlapError, RunLiveError, RunSucceededError
from kuber_cron.control.actions.operator_scripts import ScriptReply
from kuber_cron.control.actions.results import RetriedRun


def retry_run(
    store: Store, run: str, *, operator: str, even_succeeded: bool = False, force: bool = False
) -> RetriedRun:
    """Queue a run that has ended as if it were attempted for the first time.

    Args:
        store: The installation's Redis.
        run: The run's id.
        operator: Who acts: ``user@host``.
        even_succeeded: Run again also one that has succeeded.
        force: Queue it beside other runs of its job, whatever the job's policy says of overlap.

    Raises:
        RunSucceededError: The run has succeeded, and not ``even_succeeded``.
        RunLiveError: It has not ended: a repetition is answered so.
        OverlapError: Its job forbids overlap, and another run has not ended.
        ForeignRunError: It is one of RQ's own.
        UnknownRunError: There is no record of it.
    """
    reply = operator_scripts.call(store, "retry_run", run, int(even_succeeded), int(force), operator=operator)
    return RetriedRun(run=run, verdict=queued_or_held(run, reply))


def queued_or_held(run: str, reply: ScriptReply) -> Literal["queued", "held"]:
    """Return where a run is that was to be queued again.

    Raises:
        KuberCronError: It was not queued; the classes are those of :func:`retry_run`.
    """
    match reply.word, reply.details:
        case "QUEUED", _:
            return "queued"
        case "HELD", _:
            return "held"
        case "SUCCEEDED", _:
            raise RunSucceededError(
                f"{run} has succeeded", hint="say that it is to be run again all the same"
            )
        case "LIVE", (status, *_):
            raise RunLiveError(
                f"{run} has not ended: its status is {status}", hint=f"kuber-cron stop {run} ends it"
            )
        case "OVERLAP", (other, *_):
            raise OverlapError(
                f"{run}: its job forbids overlap, and {other} has not ended",
                hint="wait for that, or run this beside it with --force",
            )
        case _:
            raise operator_scripts.run_error(run, reply)
