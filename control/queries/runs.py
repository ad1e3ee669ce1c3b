"""A look at runs: lists of them, and one with all its attempts, from Redis alone.

There is no list of all runs. Those of a job are its open ones and its history; over all jobs, RQ's own lists and registries
of each queue have them in order, so that the newest few cost the same whatever is kept.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Any, Literal

from kuber_cron.common.records import decision_log
from kuber_cron.common.records.attempt import AttemptRecord, attempts
from kuber_cron.common.records.decision_log import LogEntry
from kuber_cron.common.records.parsing import number, seconds_as_instant, text, told, told_all
from kuber_cron.common.records.run import RUN_FIELDS, RunRecord
from kuber_cron.common.redis_store.keys import Registry
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs.payload import decode_unverified
from kuber_cron.control.queries import names

RunKind = Literal["running", "queued", "waiting", "held", "failed", "ended"]
"""``failed`` ones are among the ``ended``."""

KINDS: tuple[RunKind, ...] = ("running", "queued", "waiting", "held", "ended")
_PAGE = 200
_KEPT_SECONDS = 2_592_000  # how long ended runs are kept, where the leader has not said so
_RUNNING = 5000  # more commands at once than any installation that we know of has


@dataclass(frozen=True, slots=True, kw_only=True)
class RunListing:
    """Runs in the order in which a person wants to see them: open ones first, then the newest ends.

    Attributes:
        runs: The runs.
        has_more: Whether there are more than were asked for.
    """

    runs: tuple[RunRecord, ...]
    has_more: bool


def of_job(
    store: Store, job: str, kinds: Sequence[RunKind], *, limit: int, since: datetime | None = None
) -> RunListing:
    """The job's runs of these kinds; those that ended before ``since`` are left out."""
    found = (run for run in _records(store, names.runs_of(store, [job])) if _is_wanted(run, kinds, since))
    ordered = sorted(found, key=_by_state)
    return RunListing(runs=tuple(ordered[:limit]), has_more=len(ordered) > limit)


def of_all(
    store: Store, kinds: Sequence[RunKind], *, limit: int, since: datetime | None = None
) -> RunListing:
    """Runs of all jobs of these kinds."""
    found: list[RunRecord] = []
    queues = queues_of(store)
    for kind in (each for each in (*KINDS, "failed") if each in kinds):
        if kind == "failed" and "ended" in kinds:
            continue
        ids = (
            _ended(store, queues, kind, since) if kind in {"ended", "failed"} else _open(store, queues, kind)
        )
        wanted = (run for run in _records(store, ids) if _is_wanted(run, (kind,), since))
        found += islice(wanted, limit + 1 - len(found))
        if len(found) > limit:
            break
    return RunListing(runs=tuple(sorted(found[:limit], key=_by_state)), has_more=len(found) > limit)


def queues_of(store: Store) -> list[str]:
    """The names of all queues that RQ knows."""
    return sorted(store.keys.queue_name(key) for key in store.client.smembers(store.keys.queues))


def record(store: Store, run: str) -> RunRecord | None:
    """The run's record, None where there is none of ours."""
    return next(_records(store, [run]), None)


def records(store: Store, ids: Sequence[str]) -> list[RunRecord]:
    """The records of these runs that have one."""
    return list(_records(store, ids))


# --- one run -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetail:
    """One run and all that is kept of it.

    Attributes:
        run: The run itself.
        command: What it executes: a shell's text, or the words of a command.
        retries_allowed: How many retries its policy gives it; null where its payload cannot be read.
        timeout_seconds: Its time limit, null for none.
        attempts: Its newest ten attempts, oldest first; the last may be running still.
        decisions: What the log of its job's decisions tells of it, oldest first.
    """

    run: RunRecord
    command: str | tuple[str, ...] | None
    retries_allowed: int | None
    timeout_seconds: float | None
    attempts: tuple[AttemptRecord, ...]
    decisions: tuple[LogEntry, ...]


def detail(store: Store, run: str) -> RunDetail | None:
    """All that is kept of the run; None where there is no record of ours."""
    found = record(store, run)
    if found is None:
        return None
    with store.client.pipeline(transaction=False) as pipe:
        pipe.hget(store.keys.run(run), "data")
        pipe.xrange(store.keys.results(run))
        pipe.get(store.keys.output(found.execution or ""))
        pipe.xrange(store.keys.log(found.job))
        data, results, output, log = pipe.execute()
    payload = decode_unverified(data or b"")
    command = None if payload is None else payload.command
    return RunDetail(
        run=found,
        command=tuple(command) if isinstance(command, list) else command,
        retries_allowed=None if payload is None else payload.retries,
        timeout_seconds=None if payload is None else payload.timeout,
        attempts=tuple(_attempts(found, results, output)),
        decisions=tuple(decision_log.about(list(logged(log)), run)),
    )


def _attempts(
    run: RunRecord, results: Iterable[tuple[bytes, dict[bytes, bytes]]], output: bytes | None
) -> list[AttemptRecord]:
    is_running = run.state == "running"
    ended = attempts([told_all(fields) for _, fields in results], run.attempt - is_running)
    if is_running:
        ended.append(AttemptRecord.running(run, output))
    return ended


def logged(entries: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> Iterator[LogEntry]:
    """The entries of a log of decisions, as Redis has answered."""
    for entry, fields in entries:
        found = LogEntry.from_fields(text(entry), told_all(fields))
        if found is not None:
            yield found


# --- lists ---------------------------------------------------------------------------------------------


def _records(store: Store, ids: Iterable[str]) -> Iterator[RunRecord]:
    """Records of these runs in their order, page by page; what is gone or not ours is left out."""
    source = iter(ids)
    while page := list(islice(source, _PAGE)):
        with store.client.pipeline(transaction=False) as pipe:
            for run in page:
                pipe.hmget(store.keys.run(run), RUN_FIELDS)
            found = [
                RunRecord.from_fields(run, told(RUN_FIELDS, values))
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
    """Ids of runs that have not ended, as one kind of place holds them."""
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
                members = client.zrange(store.keys.registry("wip", queue), 0, _RUNNING)
                yield from (text(member).rpartition(":")[0] for member in members)
            case "queued":
                yield from _paged(partial(client.lrange, store.keys.queue(queue)))
            case _:
                yield from _paged(partial(client.zrange, store.keys.registry("scheduled", queue)))


def _paged(part: Callable[[int, int], Any]) -> Iterator[str]:
    """Places of a list or a set, a page at a time: most askers stop early."""
    low = 0
    while page := part(low, low + _PAGE - 1):
        yield from (text(run) for run in page)
        low += _PAGE


def _ended(store: Store, queues: Sequence[str], kind: RunKind, since: datetime | None) -> Iterator[str]:
    """Ids of ended runs, newest first over all queues and registries."""
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
    """A registry's runs with how long before the epoch they ended, smallest first."""
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
    """Running ones first, then in the order in which they go on; the newest start and end first."""
    moment = run.started_at if run.state == "running" else run.ended_at if run.state == "ended" else None
    return KINDS.index(run.state), 0.0 if moment is None else -moment.timestamp()
