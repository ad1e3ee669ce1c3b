"""A look at a whole installation: who leads, who works, what waits, what failed last. From Redis alone."""

from dataclasses import replace

from kuber_cron import __version__
from kuber_cron.common import look_jobs, look_runs, look_tiers, troubles
from kuber_cron.common.connections import DEFAULT_INSTANCE, DEFAULT_PREFIX
from kuber_cron.common.store import Store
from kuber_cron.common.tiers import Queue
from kuber_cron.common.views import RunCounts, StatusView

_FAILURES = 5


def status(store: Store) -> StatusView:
    """What there is now, with what somebody should look at."""
    leader, now = look_tiers.leader(store)
    queues = look_tiers.queues(store, look_runs.queues_of(store))
    seen = StatusView(
        now=now,
        instance=DEFAULT_INSTANCE if store.keys.prefix == DEFAULT_PREFIX else store.keys.prefix,
        client_version=__version__,
        redis=look_tiers.server(store),
        leader=leader,
        schedulers=tuple(look_tiers.schedulers(store)),
        workers=tuple(look_tiers.workers(store)),
        queues=tuple(queues),
        jobs=look_jobs.counts(store, now),
        runs=_open(queues),
        quarantined=int(store.client.xlen(store.keys.own("quarantine"))),
        failures=look_runs.of_all(store, ("failed",), limit=_FAILURES).runs,
    )
    return replace(seen, troubles=troubles.of(seen))


def _open(queues: list[Queue]) -> RunCounts:
    return RunCounts(
        running=sum(queue.running for queue in queues),
        queued=sum(queue.queued for queue in queues),
        waiting=sum(queue.waiting for queue in queues),
        held=sum(queue.held for queue in queues),
    )
