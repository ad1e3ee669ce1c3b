"""The scripts of an operator's verbs that no leader has to decide: one call each, recorded with who did it."""

from dataclasses import dataclass

from kuber_cron.common.errors import KuberCronError
from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.scripts import Store, Value
from kuber_cron.common.time_format import rq_instant
from kuber_cron.control.actions.errors import ForeignRunError
from kuber_cron.control.queries import redis_time
from kuber_cron.control.queries.names import UnknownRunError


@dataclass(frozen=True, slots=True)
class ScriptReply:
    """A script's reply: its word, and the details that the script's header lists for that word."""

    word: str
    details: tuple[str, ...] = ()


def call(store: Store, script: str, *args: Value, operator: str) -> ScriptReply:
    """Return the reply of an operator's script; a repetition does no harm.

    Args:
        store: The installation's Redis.
        script: ``stop_run``, ``retry_run``, ``pause_job`` or ``quarantine_action`` (``common/redis_store/lua``).
        args: What the script's header lists behind the operator and the time.
        operator: Who acts, as the operator log records it: ``user@host``.
    """
    now = redis_time.now(store)
    reply = store.call(script, operator, rq_instant(now), now.timestamp(), *args)
    word, *details = (text(part) for part in reply)
    return ScriptReply(word, tuple(details))


def run_error(run: str, reply: ScriptReply) -> KuberCronError:
    """Return why nothing can be done with the run, for a reply that is none of the script's successes."""
    if reply.word == "FOREIGN":
        return ForeignRunError(
            f"{run} is RQ's, of no job of Kuber-Cron's", hint="rq and rq-dashboard can stop and requeue it"
        )
    return UnknownRunError(
        f"there is no record of {run} any more", hint="kuber-cron runs shows the newest ones"
    )
