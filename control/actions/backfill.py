"""Backfilling a job: a run for each instant of its schedule in a span of the past. The leader decides."""

from dataclasses import dataclass
from datetime import datetime

from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.control.actions import leader_requests
from kuber_cron.control.actions.leader_requests import RequestTerms
from kuber_cron.control.actions.results import BackfillResult
from kuber_cron.control.queries import names

DEFAULT_MAX_RUNS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillSpan:
    """The span that a backfill covers.

    Attributes:
        job: The job's name.
        from_at: The first instant that may be in it, aware.
        to_at: The end, which is not in it.
        max_runs: If the span has more instants, nothing is made; at most 1000.
        force: Also instants that have succeeded or have a run that has not ended, and while the job is paused.
    """

    job: str
    from_at: datetime
    to_at: datetime
    max_runs: int = DEFAULT_MAX_RUNS
    force: bool = False


def plan(store: Store, span: BackfillSpan, terms: RequestTerms) -> BackfillResult:
    """Return what :func:`backfill` would make now; nothing is made.

    :func:`.trigger.check_made` of its first run raises what would hinder all of them.

    Raises:
        KuberCronError: As :func:`backfill`.
    """
    return _submit(store, span, terms, dry_run=True)


def backfill(
    store: Store, span: BackfillSpan, terms: RequestTerms, *, request_id: str | None = None
) -> BackfillResult:
    """Make the runs of a span, oldest first, and return what became of each instant.

    Args:
        store: The installation's Redis.
        span: What it covers.
        terms: By whom and how it is asked.
        request_id: 32 hexadecimal digits; the same id makes the same runs, once. Random when None.

    Raises:
        UnknownJobError: There is no such job.
        RefusedError: The span has no instant, or too many. That one run is refused is that run's verdict.
        KuberCronError: It was not decided; the classes are those of :func:`.leader_requests.submit`.
    """
    return _submit(store, span, terms, dry_run=False, request_id=request_id)


def _submit(
    store: Store, span: BackfillSpan, terms: RequestTerms, *, dry_run: bool, request_id: str | None = None
) -> BackfillResult:
    request = leader_requests.new(
        store,
        "backfill",
        names.job_named(store, span.job),
        terms,
        request_id=request_id,
        from_at=span.from_at,
        to_at=span.to_at,
        most=span.max_runs,
        force=span.force,
        dry=dry_run,
    )
    runs = leader_requests.submit(store, request, terms)
    return BackfillResult(job=span.job, from_at=span.from_at, to_at=span.to_at, dry_run=dry_run, runs=runs)
