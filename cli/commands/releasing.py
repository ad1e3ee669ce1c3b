"""``kuber-cron quarantine release`` and ``drop``: what becomes of a run that no worker could read or verify."""

from kuber_cron.cli.arguments import identity
from kuber_cron.cli.commands import stopping
from kuber_cron.cli.terminal import errors, output
from kuber_cron.common.errors import KuberCronError, UnknownRunError


class PutAsideError(KuberCronError):
    """What was found under the run's name is no run."""

    code = "put-aside"


def release(run: str, *, redis_url: str | None, as_json: bool) -> int:
    """The run is queued again, for a worker to judge anew.

    Raises:
        KuberCronError: it is not in quarantine, or is none that could be queued.
    """
    with identity.acting(redis_url) as (_, acts):
        from kuber_cron.control.actions.results import Retried

        done = acts.release(run)
        if done.word == "UNKNOWN":
            raise _unknown(run)
        if done.word == "ASIDE":
            raise PutAsideError(
                f"what stood under the name {run} was no run, so there is nothing to queue",
                hint=f"kuber-cron quarantine drop {run} takes it away; trigger its job for a new run",
            )
        answer = Retried(run=run, verdict=stopping.queued(run, done))
    if as_json:
        from kuber_cron.control import documents

        output.write_document(documents.document(answer))
    else:
        output.write_lines([f"{run}: {stopping.QUEUED[answer.verdict]}"])
    return errors.OK


def drop(run: str, *, yes: bool, redis_url: str | None, as_json: bool) -> int:
    """The run is off the list, and what was put aside for it is gone.

    Raises:
        KuberCronError: it is not in quarantine, or that was not confirmed.
    """
    with identity.acting(redis_url) as (_, acts):
        identity.confirm(f"take {run} off the list, with what was put aside for it?", yes=yes)
        if acts.drop(run).word == "UNKNOWN":
            raise _unknown(run)
    if as_json:
        from kuber_cron.control import documents
        from kuber_cron.control.actions.results import Dropped

        output.write_document(documents.document(Dropped(run=run)))
    else:
        output.write_lines([f"{run}: dropped"])
    return errors.OK


def _unknown(run: str) -> UnknownRunError:
    return UnknownRunError(
        f'there is no run "{run}" in quarantine', hint="kuber-cron quarantine list names them"
    )
