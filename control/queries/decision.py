"""A look at one instant of a job: all that Redis holds of it, gathered for :mod:`kuber_cron.control.explain.verdict`.

Two round trips for what is always asked, and one or two more where something waits or stood in the way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from kuber_cron.common.records import job_state
from kuber_cron.common.records.decision_log import LogEntry
from kuber_cron.common.records.job_summary import JobSummary
from kuber_cron.common.records.parsing import text
from kuber_cron.common.records.run import RunRecord
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs import cursor as cursors
from kuber_cron.common.runs.run_id import run_id
from kuber_cron.control.explain.verdict import Facts, Gate, Group
from kuber_cron.control.queries import processes
from kuber_cron.control.queries import runs as look_runs

_IN_THE_WAY = 5  # so many runs before a skip are looked at for who stood in the way


def facts(store: Store, job: str) -> Facts:
    """What Redis holds of the job, whatever the instant."""
    client, keys = store.client, store.keys
    with client.pipeline(transaction=False) as pipe:
        pipe.hget(keys.cursors, job)
        pipe.hget(keys.job_summaries, job)
        pipe.hmget(keys.paused, [job, job_state.ALL])
        pipe.xrange(keys.log(job))
        cursor, card, paused, log = pipe.execute()
    leader, at = processes.leader(store)
    known = {
        name: text(until)
        for name, until in zip((job, job_state.ALL), paused, strict=True)
        if until is not None
    }
    return Facts(
        job=job,
        now=at,
        cursor=cursors.read(text(cursor)),
        card=JobSummary.from_text(text(card)) if card else None,
        entries=tuple(look_runs.logged(log)),
        leader=leader,
        pause=job_state.pause_of(job, known, at),
    )


def of_instant(store: Store, known: Facts, at: datetime) -> Facts:
    """The same, with what Redis holds of the job's run of that instant, and of what it waits for."""
    run = look_runs.record(store, run_id(known.job, at))
    found = replace(known, run=run, others=_others(store, known.entries, at))
    if run is None:
        return found
    if run.state == "held":
        return replace(found, gates=gates_of(store, run), group=group_of(store, run))
    if run.state == "queued":
        place = store.client.lpos(store.keys.queue(run.queue), run.run)
        return replace(
            found,
            queue_place=place + 1 if isinstance(place, int) else None,
            queue_workers=store.client.scard(store.keys.queue_workers(run.queue)),
        )
    return found


def _others(store: Store, entries: Sequence[LogEntry], at: datetime) -> list[RunRecord]:
    """The runs that were decided last before what is decided about the instant."""
    before = [each.run for each in entries if each.run and each.first_at < at]
    return look_runs.records(store, list(dict.fromkeys(reversed(before)))[:_IN_THE_WAY])


def gates_of(store: Store, run: RunRecord) -> tuple[Gate, ...]:
    """The other runs that a held run waits for, and how they stand."""
    found: Mapping[Any, Any] = store.client.hgetall(store.keys.gates(run.run))
    others = {each.run: each for each in look_runs.records(store, [text(other) for other in found])}
    gates = []
    for key, value in found.items():
        other = others.get(text(key))
        kind: Literal["after", "line"] = "after" if text(value) == "after" else "line"
        gates.append(Gate(run=text(key), kind=kind, state="gone" if other is None else _state(other)))
    return tuple(gates)


def _state(run: RunRecord) -> str:
    if run.state == "ended":
        return f"over ({run.outcome})"
    return "between two attempts" if run.state == "waiting" else run.state


def group_of(store: Store, run: RunRecord) -> Group | None:
    """The group that a held run waits for room in; None where it waits for none."""
    if run.group is None:
        return None
    keys = store.keys
    with store.client.pipeline(transaction=False) as pipe:
        pipe.zrank(keys.waiting(run.group), run.run)
        pipe.hget(keys.groups, run.group)
        pipe.smembers(keys.group(run.group))
        place, limit, members = pipe.execute()
    if place is None:
        return None
    running = tuple(sorted(text(member) for member in members))
    return Group(name=run.group, limit=int(limit or 1), running=running, place=place + 1)
