"""Lists of runs: the query behind ``kuber-cron runs``, from Redis alone.

Redis has no list of all runs. Those of a job are its open ones and its history. Over all jobs, RQ's own lists and
registries of each queue have them in order, so that reading the newest few costs the same whatever is kept.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Any, Literal

from kuber_cron.common.records.parsing import fields, number, seconds_as_instant, text
from kuber_cron.common.records.run import RUN_FIELDS, RunRecord
from kuber_cron.common.redis_store.keys import Registry
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.control.queries import names, redis_time
from kuber_cron.control.queries.results import RunsView

RunKind = Literal["running", "queued", "waiting", "held", "failed", "ended"]
"""A kind of runs to list. The ``failed`` ones are among the ``ended``."""

KINDS: tuple[RunKind, ...] = ("running", "queued", "waiting", "held", "ended")
_PAGE = 200
_KEPT_SECONDS = 2_592_000  # how long ended runs are kept, where the leader has not said so
_MAX_RUNNING = 5000  # read of each queue; more than any known installation runs at once


def runs(
    store: Store,
    *,
    job: str | None = None,
    kinds: Sequence[RunKind] = (),
    since: datetime | timedelta | None = None,
    limit: int = 30,
) -> RunsView:
    """Return runs, open ones first, then the newest ends.

    Args:
        store: Where the installation is.
        job: The runs of this job; None for those of all.
        kinds: Runs of these kinds; none for all.
        since: Leave out runs that ended before this instant, or before so long ago.
        limit: At most so many.

    Raises:
        UnknownJobError: there is no such job.
    """
    now = redis_time.now(store)
    since_at = now - since if isinstance(since, timedelta) else since
    if job is None:
        found = _of_all(store, kinds or KINDS, limit, since_at)
    else:
        found = _of_job(store, names.job_named(store, job), kinds or KINDS, since_at)
    return RunsView(now=now, runs=tuple(found[:limit]), has_more=len(found) > limit)


def newest_failures(store: Store, limit: int) -> tuple[RunRecord, ...]:
    """Return the runs that failed last, the newest first."""
    return tuple(_of_all(store, ("failed",), limit, None)[:limit])


def _of_job(store: Store, job: str, kinds: Sequence[RunKind], since: datetime | None) -> list[RunRecord]:
    found = (run for run in _records(store, names.runs_of(store, [job])) if _is_wanted(run, kinds, since))
    return sorted(found, key=_by_state)


def _of_all(store: Store, kinds: Sequence[RunKind], limit: int, since: datetime | None) -> list[RunRecord]:
    """Return runs of all jobs: `limit` of them, and one more where there are more."""
    found: list[RunRecord] = []
    queues = names.queues(store)
    for kind in (each for each in (*KINDS, "failed") if each in kinds):
        if kind == "failed" and "ended" in kinds:
            continue
        is_ended = kind in {"ended", "failed"}
        ids = _ended(store, queues, kind, since) if is_ended else _open(store, queues, kind)
        wanted = (run for run in _records(store, ids) if _is_wanted(run, (kind,), since))
        found += islice(wanted, limit + 1 - len(found))
        if len(found) > limit:
            break
    return [*sorted(found[:limit], key=_by_state), *found[limit:]]


def record(store: Store, run: str) -> RunRecord | None:
    """Return the run's record; None where there is none, or one of another tool's."""
    return next(_records(store, [run]), None)


def records(store: Store, ids: Sequence[str]) -> list[RunRecord]:
    """Return the records of those of these runs that have one."""
    return list(_records(store, ids))


# --- how Redis holds them ------------------------------------------------------------------------------


def _records(store: Store, ids: Iterable[str]) -> Iterator[RunRecord]:
    """Yield the records of these runs in their order, page by page; those that are gone or not ours are left out."""
    source = iter(ids)
    while page := list(islice(source, _PAGE)):
        with store.client.pipeline(transaction=False) as pipe:
            for run in page:
                pipe.hmget(store.keys.run(run), RUN_FIELDS)
            found = [
                RunRecord.from_fields(run, fields(RUN_FIELDS, values))
                for run, values in _pairs(page, pipe.execute())
            ]
        yield from _with_next_attempts(store, [run for run in found if run is not None])


def _pairs(
    page: Sequence[str], answers: Sequence[list[bytes | None]]
) -> Iterator[tuple[str, list[bytes | None]]]:
    return zip(page, answers, strict=True)


def _with_next_attempts(store: Store, page: Sequence[RunRecord]) -> list[RunRecord]:
    waiting = [run for run in page if run.state == "waiting"]
    if not waiting:
        return list(page)
    with store.client.pipeline(transaction=False) as pipe:
        for run in waiting:
            pipe.zscore(store.keys.registry("scheduled", run.queue), run.run)
        due = {run.run: seconds_as_instant(score) for run, score in zip(waiting, pipe.execute(), strict=True)}
    return [replace(run, next_attempt_at=due[run.run]) if run.run in due else run for run in page]


def _open(store: Store, queues: Sequence[str], kind: RunKind) -> Iterator[str]:
    """Yield the ids of runs of a kind that has not ended."""
    client: Any = store.client
    if kind == "held":
        yield from _paged(partial(client.zrange, store.keys.held))
        return
    if kind == "queued":
        workers = sorted(text(name) for name in client.smembers(store.keys.claimers))
        for worker in workers:  # claimed, and about to be started
            yield from (text(run) for run in client.lrange(store.keys.claims(worker), 0, -1))
    for queue in queues:
        match kind:
            case "running":
                members = client.zrange(store.keys.registry("wip", queue), 0, _MAX_RUNNING)
                yield from (text(member).rpartition(":")[0] for member in members)
            case "queued":
                yield from _paged(partial(client.lrange, store.keys.queue(queue)))
            case _:
                yield from _paged(partial(client.zrange, store.keys.registry("scheduled", queue)))


def _paged(part: Callable[[int, int], Any]) -> Iterator[str]:
    """Yield the members of a list or a set, read a page at a time because most callers stop early."""
    low = 0
    while page := part(low, low + _PAGE - 1):
        yield from (text(run) for run in page)
        low += _PAGE


def _ended(store: Store, queues: Sequence[str], kind: RunKind, since: datetime | None) -> Iterator[str]:
    """Yield the ids of ended runs, newest first over all queues and registries."""
    kept = number(text(store.client.hget(store.keys.history_limits, "seconds"))) or _KEPT_SECONDS
    # RQ's registries are ordered by when the record expires; the canceled ones by when they ended.
    registries: dict[Registry, int] = (
        {"failed": kept} if kind == "failed" else {"failed": kept, "finished": kept, "canceled": 0}
    )
    sources = (
        _newest_first(store, store.keys.registry(registry, queue), offset, since)
        for queue in queues
        for registry, offset in registries.items()
    )
    for _, run in heapq.merge(*sources, key=itemgetter(0)):
        yield run


def _newest_first(store: Store, key: str, offset: int, since: datetime | None) -> Iterator[tuple[float, str]]:
    """Yield a registry's runs, each with how long before the epoch it ended, the smallest first."""
    low = "-inf" if since is None else since.timestamp() + offset
    client: Any = store.client
    at = 0
    while page := client.zrevrangebyscore(key, "+inf", low, start=at, num=_PAGE, withscores=True):
        yield from ((offset - score, text(run)) for run, score in page)
        at += _PAGE


def _is_wanted(run: RunRecord, kinds: Sequence[RunKind], since: datetime | None) -> bool:
    if run.state == "ended" and since is not None and run.ended_at is not None and run.ended_at < since:
        return False
    return run.state in kinds or ("failed" in kinds and run.is_failure)


def _by_state(run: RunRecord) -> tuple[int, float]:
    """Sort by the order of kinds; running and ended runs by their newest start or end."""
    moment = run.started_at if run.state == "running" else run.ended_at if run.state == "ended" else None
    return KINDS.index(run.state), 0.0 if moment is None else -moment.timestamp()
