"""Triggering a job: a manual run now, by the same rules as the runs of its schedule. The leader decides."""

from collections.abc import Mapping

from kuber_cron.common.records.skip_reason import SkipReason
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.control.actions import leader_requests
from kuber_cron.control.actions.errors import OverlapError, RefusedError, SuspendedError
from kuber_cron.control.actions.leader_requests import RequestTerms
from kuber_cron.control.actions.results import CreatedRun
from kuber_cron.control.queries import names


def trigger(
    store: Store,
    job: str,
    terms: RequestTerms,
    *,
    env: Mapping[str, str] | None = None,
    force: bool = False,
    chain: bool = False,
    request_id: str | None = None,
) -> tuple[CreatedRun, ...]:
    """Return the job's new run, and with ``chain`` those of the jobs that come after it.

    Args:
        store: The installation's Redis.
        job: The job's name.
        terms: By whom and how it is asked.
        env: Variables over the job's own.
        force: Run it also beside other runs of the job, and while it is paused.
        chain: Let the jobs that come after it follow.
        request_id: 32 hexadecimal digits; the same id makes the same run, once. Random when None.

    Raises:
        UnknownJobError: There is no such job.
        OverlapError: Its runs may not overlap, and one has not ended.
        SuspendedError: The job is paused or suspended.
        RequestError: A variable is none.
        KuberCronError: It was not decided; the classes are those of :func:`.leader_requests.submit`.
    """
    request = leader_requests.new(
        store,
        "trigger",
        names.job_named(store, job),
        terms,
        request_id=request_id,
        env=dict(env or {}),
        force=force,
        chain=chain,
    )
    runs = leader_requests.submit(store, request, terms)
    check_made(runs[0])
    return runs


def check_made(run: CreatedRun) -> None:
    """Return if the run is made, or was left out for a reason that is no error.

    Raises:
        OverlapError, SuspendedError: Its job's rules forbid it.
        RefusedError: Something else does.
    """
    match run.verdict, run.reason:
        case "refused", SkipReason.OVERLAP:
            raise OverlapError(
                f"job {run.job}: its runs may not overlap, and one has not ended",
                hint=f"kuber-cron runs {run.job} shows it; --force runs it all the same",
            )
        case "refused", SkipReason.SUSPENDED:
            raise SuspendedError(
                f"job {run.job} is paused, or suspended in its file",
                hint=f"--force runs it all the same; kuber-cron resume {run.job} ends a pause",
            )
        case (("refused" | "error"), reason):
            raise RefusedError("refused", f"job {run.job}: {reason}")
