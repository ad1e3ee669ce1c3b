"""One run with all that is kept of it: the query behind ``kuber-cron show``, from Redis alone."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from kuber_cron.common.records import decision_log
from kuber_cron.common.records.attempt import AttemptRecord, attempts
from kuber_cron.common.records.decision_log import LogEntry
from kuber_cron.common.records.parsing import all_fields, text
from kuber_cron.common.records.run import Gate, Group, RunRecord
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs.payload import decode_unverified
from kuber_cron.control.queries import names, redis_time, runs
from kuber_cron.control.queries.names import UnknownRunError
from kuber_cron.control.queries.results import RunView


def run(store: Store, name: str, *, started: bool = False) -> RunView:
    """Return what is kept of a run.

    Args:
        store: Where the installation is.
        name: The run's id, a beginning that only it has, or a job's name for its newest run.
        started: Of a job, the newest run that has begun.

    Raises:
        UnknownRunError: there is none.
        AmbiguousRunError: there are several.
    """
    name = names.run_named(store, name, or_newest=True, started=started)
    found = runs.record(store, name)
    if found is None:
        raise UnknownRunError(f'"{name}" is no run of Kuber-Cron\'s', hint="kuber-cron quarantine list")
    with store.client.pipeline(transaction=False) as pipe:
        pipe.hget(store.keys.run(name), "data")
        pipe.xrange(store.keys.results(name))
        pipe.get(store.keys.output(found.execution or ""))
        pipe.xrange(store.keys.log(found.job))
        data, results, output, log = pipe.execute()
    planned = decode_unverified(data or b"")
    command = None if planned is None else planned.command
    is_held = found.state == "held"
    return RunView(
        now=redis_time.now(store),
        run=found,
        command=tuple(command) if isinstance(command, list) else command,
        retries_allowed=None if planned is None else planned.retries,
        timeout_seconds=None if planned is None else planned.timeout,
        attempts=tuple(_attempts(found, results, output)),
        waits_for=gates(store, found) if is_held else (),
        group=group(store, found) if is_held else None,
        decisions=tuple(decision_log.about(list(log_entries(log)), name)),
    )


def gates(store: Store, held: RunRecord) -> tuple[Gate, ...]:
    """Return the other runs that a held run waits for, and how they stand."""
    found: Mapping[Any, Any] = store.client.hgetall(store.keys.gates(held.run))
    others = {each.run: each for each in runs.records(store, [text(other) for other in found])}
    awaited = []
    for key, value in found.items():
        other = others.get(text(key))
        kind: Literal["after", "line"] = "after" if text(value) == "after" else "line"
        awaited.append(Gate(run=text(key), kind=kind, state="gone" if other is None else _state(other)))
    return tuple(awaited)


def _state(other: RunRecord) -> str:
    if other.state == "ended":
        return f"over ({other.outcome})"
    return "between two attempts" if other.state == "waiting" else other.state


def group(store: Store, held: RunRecord) -> Group | None:
    """Return the group that a held run waits for room in; None where it waits for none."""
    if held.group is None:
        return None
    keys = store.keys
    with store.client.pipeline(transaction=False) as pipe:
        pipe.zrank(keys.waiting(held.group), held.run)
        pipe.hget(keys.groups, held.group)
        pipe.smembers(keys.group(held.group))
        place, limit, members = pipe.execute()
    if place is None:
        return None
    running = tuple(sorted(text(member) for member in members))
    return Group(name=held.group, limit=int(limit or 1), running=running, place=place + 1)


def log_entries(reply: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> Iterator[LogEntry]:
    """Yield the entries of a decision log, of Redis' reply to XRANGE."""
    for entry, fields in reply:
        found = LogEntry.from_fields(text(entry), all_fields(fields))
        if found is not None:
            yield found


def _attempts(
    found: RunRecord, results: Iterable[tuple[bytes, dict[bytes, bytes]]], output: bytes | None
) -> list[AttemptRecord]:
    is_running = found.state == "running"
    ended = attempts([all_fields(fields) for _, fields in results], found.attempt - is_running)
    if is_running:
        ended.append(AttemptRecord.running(found, output))
    return ended
