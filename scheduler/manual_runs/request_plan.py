"""Request plans: which manual runs a request creates (spec: reliability.md §4). Pure.

A trigger creates one run, due when it was requested, and with ``chain`` one of each job that comes after it. A backfill
creates one for each instant of the job's present schedule in its span. What becomes of each is the script's to decide, by
the same rules as for occurrences (common/redis_store/lua/create_manual_runs.lua).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kuber_cron.common.runs import manual_request, signing
from kuber_cron.common.runs.manual_request import ManualRequest, RequestError
from kuber_cron.common.runs.run_id import run_id
from kuber_cron.common.time_format import iso
from kuber_cron.scheduler.decisions.planner import CatalogEntry

MOST_FOLLOWERS = 100
"""Jobs of one chain: it is created in one call, and Redis is not to be held for long."""

# Requester and leader both go by Redis' clock; what is off by more has been kept, or made up.
_SLACK = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """One manual run to be created.

    Attributes:
        instant: Of a backfill, the id of the run of the occurrence at that instant; else empty.
        after: Runs of the same request that it waits for.
    """

    entry: CatalogEntry
    at: datetime
    run: str
    instant: str = ""
    after: tuple[str, ...] = ()


def verified(
    request_id: str, body: bytes, signature: str, keys: Sequence[bytes], now: datetime, *, is_begun: bool
) -> ManualRequest:
    """Return the request in ``body`` if the leader may act on it.

    Args:
        request_id: The id of the key it was found under.
        body: Its bytes.
        signature: In hexadecimal, or empty.
        keys: Those that may have signed it; none where nothing is signed.
        now: Redis' time.
        is_begun: An earlier leader has created a part of it, so its time may be over.

    Raises:
        RequestError: It may not; with the answer to whoever request.
    """
    found = ManualRequest.from_bytes(body)
    if found.id != request_id:
        raise RequestError("bad-request", "the request cannot be read: it has another id than its key")
    if not is_begun and not found.asked_at - _SLACK <= now <= found.until_at:
        raise RequestError(
            "request-expired",
            f"the request counted until {iso(found.until_at)}, and it is {iso(now)}",
            hint="ask again",
        )
    if found.env and keys and not signing.is_signed(body, signature, keys, signing.REQUEST):
        raise RequestError(
            "unsigned-variables",
            "variables could run anything on the workers, so the scheduler takes them only signed with its own key",
            hint="name the key by KUBER_CRON_SIGNING_KEY_FILE, where a scheduler is: kubectl exec, docker compose exec",
        )
    return found


def plan(request: ManualRequest, entries: Mapping[str, CatalogEntry], now: datetime) -> list[PlannedRun]:
    """Return the runs of the request, in the order in which they are to be created.

    Raises:
        RequestError: ``unknown-job``, ``no-instants``, or ``too-many`` of them.
    """
    if request.job not in entries:
        raise RequestError("unknown-job", f'the scheduler has no job "{request.job}"')
    if request.action == "backfill":
        return _backfill(request, entries[request.job], now)
    return _trigger(request, entries)


def _trigger(request: ManualRequest, entries: Mapping[str, CatalogEntry]) -> list[PlannedRun]:
    at = request.asked_at.replace(microsecond=0)
    jobs = _followers(request.job, entries) if request.chain else [request.job]
    if len(jobs) > MOST_FOLLOWERS:
        raise RequestError(
            "too-many",
            f"{len(jobs) - 1} jobs come after {request.job}, directly or not: --chain takes {MOST_FOLLOWERS - 1}",
            hint="trigger it without --chain, and the others as they are wanted",
        )
    made = {job: request.run_id(job, at) for job in jobs}
    return [
        PlannedRun(
            entry=entries[job],
            at=at,
            run=run,
            after=tuple(made[other] for other in entries[job].job.after if other in made),
        )
        for job, run in made.items()
    ]


def _followers(first: str, entries: Mapping[str, CatalogEntry]) -> list[str]:
    """Return the job and all that come after it, directly or not, each after those that it comes after."""
    found = {first}
    for job in sorted(entries, key=lambda name: entries[name].relations.rank):
        if not found.isdisjoint(entries[job].job.after):
            found.add(job)
    return [first, *sorted(found - {first}, key=lambda name: (entries[name].relations.rank, name))]


def _backfill(request: ManualRequest, entry: CatalogEntry, now: datetime) -> list[PlannedRun]:
    if request.from_at is None or request.to_at is None:
        raise RequestError("bad-request", "the request cannot be read: its span is none")
    job = entry.job
    if entry.schedule.kind == "reboot":
        raise RequestError("no-instants", f"{job.id} runs at reboot: its schedule names no instants")
    found: list[PlannedRun] = []
    start = request.from_at - timedelta(microseconds=1)
    for at in entry.occurrences_after(start):
        if at >= request.to_at or at > now:
            break
        if len(found) == request.most:
            raise RequestError(
                "too-many",
                f"{job.id} has more than {request.most} instants from {iso(request.from_at)} to {iso(request.to_at)}",
                hint=f"ask for a shorter span, or for more with --max (at most {manual_request.MAX_RUNS})",
            )
        found.append(
            PlannedRun(entry=entry, at=at, run=request.run_id(job.id, at), instant=run_id(job.id, at))
        )
    if not found:
        raise RequestError(
            "no-instants",
            f"{job.id} has no instant from {iso(request.from_at)} to {iso(min(request.to_at, now.replace(microsecond=0)))}",
            hint="kuber-cron next shows when it runs; the schedule as it is now is what counts",
        )
    return found
