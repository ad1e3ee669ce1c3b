"""Why an instant of a job did, or did not, run: the query behind ``kuber-cron why``.

Everything that Redis holds of the job and the instant is gathered into :class:`Facts`, which
:mod:`kuber_cron.control.explain` judges. Two round trips gather what is always asked; one or two more are made where a run
is queued or held, or earlier runs stood in the way of it.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from kuber_cron.common.records import job_state
from kuber_cron.common.records.decision_log import LogEntry
from kuber_cron.common.records.job_summary import JobSummary
from kuber_cron.common.records.parsing import milliseconds_as_instant, text
from kuber_cron.common.records.run import RunRecord
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs import cursor as cursors
from kuber_cron.common.runs.run_id import run_id
from kuber_cron.control.explain import sentences
from kuber_cron.control.explain.verdict import Facts, Verdict, explain, newest_occurrence
from kuber_cron.control.queries import names, processes, runs
from kuber_cron.control.queries import run as run_query
from kuber_cron.control.queries.results import ExplainedOccurrence, WhyView

_EARLIER_RUNS = 5  # at most so many are read, to name those that stood in the way of a skipped instant
_NEVER_DUE: frozenset[Verdict] = frozenset({"no_instant", "before_first_seen", "not_in_files"})


def why(store: Store, job: str, instants: Sequence[datetime] = (), *, note: str | None = None) -> WhyView:
    """Return what became of these instants of the job.

    Args:
        store: Where the installation is.
        job: The job's name.
        instants: Aware; none asks for the newest occurrence.
        note: A remark on how the instants were read, which the answer repeats.

    Raises:
        UnknownJobError: there is no such job.
    """
    facts = facts_of_job(store, names.job_named(store, job))
    return WhyView(
        now=facts.now,
        job=facts.job,
        schedule=None if facts.cursor is None else facts.cursor.schedule,
        timezone=None if facts.cursor is None else facts.cursor.timezone,
        leader=facts.leader,
        note=note,
        answers=tuple(_explained(store, facts, at) for at in instants or [newest_occurrence(facts)]),
    )


def local_clock(store: Store, job: str) -> tuple[datetime, ZoneInfo]:
    """Return Redis' time and the job's zone: a local time of the job is read by both.

    Raises:
        UnknownJobError: there is no such job.
    """
    facts = facts_of_job(store, names.job_named(store, job))
    return facts.now, facts.zone


def _explained(store: Store, known: Facts, at: datetime) -> ExplainedOccurrence:
    facts = facts_of_instant(store, known, at)
    found = explain(facts, at)
    entry, due_at = found.entry, at + facts.delay
    run = run_id(facts.job, at)
    return ExplainedOccurrence(
        at=at,
        local=facts.local(at),
        verdict=found.verdict,
        sentence=sentences.headline(facts, at, found),
        details=tuple(sentences.details(facts, at, found)),
        reason=entry.reason if entry is not None and entry.decision == "skipped" else None,
        due_at=None if found.verdict in _NEVER_DUE else due_at,
        decided_at=None if entry is None else entry.decided_at,
        late_seconds=None if entry is None else max(0.0, (entry.decided_at - due_at).total_seconds()),
        epoch=None if entry is None else entry.epoch,
        by=None if entry is None else entry.by,
        run=facts.run,
        before_at=found.before_at,
        after_at=found.after_at,
        decisions=tuple(each for each in facts.entries if each is entry or each.run == run),
    )


def facts_of_job(store: Store, job: str) -> Facts:
    """Return what Redis holds of the job, whatever the instant."""
    client, keys = store.client, store.keys
    with client.pipeline(transaction=False) as pipe:
        pipe.hget(keys.cursors, job)
        pipe.hget(keys.job_summaries, job)
        pipe.hmget(keys.paused, [job, job_state.ALL])
        pipe.xrange(keys.log(job))
        pipe.hget(keys.fence, "lost_at")
        cursor, summary, paused, log, lost_at = pipe.execute()
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
        summary=JobSummary.from_text(text(summary)) if summary else None,
        entries=tuple(run_query.log_entries(log)),
        leader=leader,
        pause=job_state.pause_of(job, known, at),
        lost_at=milliseconds_as_instant(lost_at),
    )


def facts_of_instant(store: Store, known: Facts, at: datetime) -> Facts:
    """Return the facts with what Redis holds of the job's run of that instant, and of what it waits for."""
    run = runs.record(store, run_id(known.job, at))
    with_run = replace(known, run=run, earlier_runs=_earlier_runs(store, known.entries, at))
    if run is None:
        return with_run
    if run.state == "held":
        return replace(with_run, gates=run_query.gates(store, run), group=run_query.group(store, run))
    if run.state == "queued":
        place = store.client.lpos(store.keys.queue(run.queue), run.run)
        return replace(
            with_run,
            queue_place=place + 1 if isinstance(place, int) else None,
            queue_workers=store.client.scard(store.keys.queue_workers(run.queue)),
        )
    return with_run


def _earlier_runs(store: Store, entries: Sequence[LogEntry], at: datetime) -> list[RunRecord]:
    """Return the runs of the newest decisions before the instant."""
    before = [each.run for each in entries if each.run and each.first_at < at]
    return runs.records(store, list(dict.fromkeys(reversed(before)))[:_EARLIER_RUNS])
