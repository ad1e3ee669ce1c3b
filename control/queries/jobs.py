"""The jobs: the query behind ``kuber-cron jobs``, from Redis alone.

It takes two round trips, whatever the number of jobs. The next run is worked out from the cursor's own schedule and zone,
by which the leader decides; not from job files.
"""

from collections.abc import Sequence
from datetime import datetime
from fnmatch import fnmatchcase

from kuber_cron.common.records import job_state
from kuber_cron.common.records.job_state import JobState
from kuber_cron.common.records.job_summary import is_suspended
from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.control.queries import names, redis_time
from kuber_cron.control.queries.names import UnknownJobError
from kuber_cron.control.queries.results import JobCounts, JobsView


def jobs(
    store: Store, patterns: Sequence[str] = (), *, failing: bool = False, paused: bool = False
) -> JobsView:
    """Return the jobs: when each runs next, how its last run went.

    Args:
        store: Where the installation is.
        patterns: Names; ``*`` and ``?`` stand for anything. None for all jobs.
        failing: Only those that are failing; with `paused`, those of either.
        paused: Only those that are paused or suspended.

    Raises:
        UnknownJobError: no job has a name that matches one of the patterns; the hint names the most similar one.
    """
    now = redis_time.now(store)
    chosen = _matching(_states(store, now), patterns)
    if failing or paused:
        chosen = [
            job
            for job in chosen
            if (failing and job.is_failing) or (paused and (job.is_paused or job.is_suspended))
        ]
    return JobsView(now=now, jobs=tuple(chosen))


def _matching(states: list[JobState], patterns: Sequence[str]) -> list[JobState]:
    if not patterns:
        return states
    for pattern in patterns:
        if not any(fnmatchcase(state.job, pattern) for state in states):
            near = names.near(pattern, [state.job for state in states])
            raise UnknownJobError(f'there is no job "{pattern}"', hint=near or "kuber-cron jobs shows all")
    return [state for state in states if any(fnmatchcase(state.job, pattern) for pattern in patterns)]


def _states(store: Store, at: datetime) -> list[JobState]:
    """Return all jobs that have a cursor or a summary, by name."""
    client, keys = store.client, store.keys
    with client.pipeline(transaction=False) as pipe:
        pipe.hgetall(keys.cursors)
        pipe.hgetall(keys.job_summaries)
        pipe.hgetall(keys.paused)
        cursors, summaries, paused = (
            {text(k): text(v) for k, v in found.items()} for found in pipe.execute()
        )
    known = sorted(cursors.keys() | summaries.keys())
    stats = store.read_each([("HMGET", keys.stats(name), *job_state.STATS) for name in known])
    return [
        job_state.state_of(
            name, cursors.get(name, ""), summaries.get(name, ""), job_state.pause_of(name, paused, at), found
        )
        for name, found in zip(known, stats, strict=True)
    ]


def counts(store: Store, at: datetime) -> JobCounts:
    """Return how many jobs there are, without working out when each runs next."""
    client, keys = store.client, store.keys
    with client.pipeline(transaction=False) as pipe:
        pipe.hkeys(keys.cursors)
        pipe.hgetall(keys.job_summaries)
        pipe.hgetall(keys.paused)
        with_cursor, summaries, found = pipe.execute()
    jobs = {text(name) for name in with_cursor} | {text(name) for name in summaries}
    paused = {text(name): text(until) for name, until in found.items()}
    failing = sum(
        found == 1 for found in store.read_each([("HEXISTS", keys.stats(job), "failing") for job in jobs])
    )
    return JobCounts(
        total=len(jobs),
        failing=failing,
        paused=sum(job_state.pause_of(job, paused, at) is not None for job in jobs) if paused else 0,
        suspended=sum(is_suspended(text(summary)) for summary in summaries.values()),
    )
