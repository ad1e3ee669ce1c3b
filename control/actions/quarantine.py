"""The operator's verbs for a run in quarantine: release it to be judged anew, or drop it. Needs no leader."""

from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.control.actions import operator_scripts
from kuber_cron.control.actions.errors import PutAsideError
from kuber_cron.control.actions.operator_scripts import ScriptReply
from kuber_cron.control.actions.results import DroppedRun, RetriedRun
from kuber_cron.control.actions.retry import queued_or_held
from kuber_cron.control.queries.names import UnknownRunError


def release(store: Store, run: str, *, operator: str) -> RetriedRun:
    """Take a run out of quarantine and queue it, for a worker to judge anew.

    Args:
        store: The installation's Redis.
        run: The run's id.
        operator: Who acts: ``user@host``.

    Raises:
        UnknownRunError: The run is not in quarantine.
        PutAsideError: What was found under its name is no run.
        KuberCronError: It cannot be queued; the classes are those of :func:`.retry.retry_run`.
    """
    reply = _call(store, "release", run, operator)
    if reply.word == "ASIDE":
        raise PutAsideError(
            f"what stood under the name {run} was no run, so there is nothing to queue",
            hint=f"kuber-cron quarantine drop {run} takes it away; trigger its job for a new run",
        )
    return RetriedRun(run=run, verdict=queued_or_held(run, reply))


def drop(store: Store, run: str, *, operator: str) -> DroppedRun:
    """Delete a run's quarantine records, and what was put aside under its name.

    Args:
        store: The installation's Redis.
        run: The run's id.
        operator: Who acts: ``user@host``.

    Raises:
        UnknownRunError: The run is not in quarantine.
    """
    _call(store, "drop", run, operator)
    return DroppedRun(run=run)


def _call(store: Store, action: str, run: str, operator: str) -> ScriptReply:
    reply = operator_scripts.call(store, "quarantine_action", action, run, operator=operator)
    if reply.word == "UNKNOWN":
        raise UnknownRunError(
            f'there is no run "{run}" in quarantine', hint="kuber-cron quarantine list names them"
        )
    return reply
