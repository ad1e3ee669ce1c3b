"""A look at jobs: when each runs next, how its last run went, whether it is failing or paused. From Redis alone.

Two round trips, whatever the number of jobs. The next run is worked out from the cursor's own schedule and zone, which is
what the leader decides by; not from files.
"""

from datetime import datetime

from kuber_cron.common.records import job_state
from kuber_cron.common.records.job_state import JobState
from kuber_cron.common.records.job_summary import is_suspended
from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.control.queries.results import JobCounts


def jobs(store: Store, at: datetime) -> list[JobState]:
    """All jobs that have a cursor or a card, by name, as of now (Redis' time)."""
    client, keys = store.client, store.keys
    with client.pipeline(transaction=False) as pipe:
        pipe.hgetall(keys.cursors)
        pipe.hgetall(keys.job_summaries)
        pipe.hgetall(keys.paused)
        cursors, cards, paused = ({text(k): text(v) for k, v in found.items()} for found in pipe.execute())
    names = sorted(cursors.keys() | cards.keys())
    stats = store.ask_each([("HMGET", keys.stats(name), *job_state.STATS) for name in names])
    return [
        job_state.state_of(
            name, cursors.get(name, ""), cards.get(name, ""), job_state.pause_of(name, paused, at), found
        )
        for name, found in zip(names, stats, strict=True)
    ]


def counts(store: Store, at: datetime) -> JobCounts:
    """How many of them there are; without working out when each runs next."""
    client, keys = store.client, store.keys
    with client.pipeline(transaction=False) as pipe:
        pipe.hkeys(keys.cursors)
        pipe.hgetall(keys.job_summaries)
        pipe.hgetall(keys.paused)
        names, cards, found = pipe.execute()
    jobs = {text(name) for name in names} | {text(name) for name in cards}
    paused = {text(name): text(until) for name, until in found.items()}
    failing = sum(
        found == 1 for found in store.ask_each([("HEXISTS", keys.stats(job), "failing") for job in jobs])
    )
    return JobCounts(
        total=len(jobs),
        failing=failing,
        paused=sum(job_state.pause_of(job, paused, at) is not None for job in jobs) if paused else 0,
        suspended=sum(is_suspended(text(card)) for card in cards.values()),
    )
