"""A look at a whole installation: who leads, who works, what waits, what failed last. From Redis alone."""

from dataclasses import replace

from kuber_cron import __version__
from kuber_cron.common.records.processes import QueueInfo
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.control.queries import jobs, problems, processes, runs
from kuber_cron.control.queries.results import RunCounts, StatusView

_FAILURES = 5


def status(store: Store) -> StatusView:
    """What there is now, with what somebody should look at."""
    leader, now = processes.leader(store)
    queues = processes.queues(store, runs.queues_of(store))
    seen = StatusView(
        now=now,
        instance=store.keys.instance,
        client_version=__version__,
        redis=processes.server(store),
        leader=leader,
        schedulers=tuple(processes.schedulers(store)),
        workers=tuple(processes.workers(store)),
        queues=tuple(queues),
        jobs=jobs.counts(store, now),
        runs=_open(queues),
        quarantined=int(store.client.xlen(store.keys.quarantine)),
        failures=runs.of_all(store, ("failed",), limit=_FAILURES).runs,
    )
    return replace(seen, troubles=problems.of(seen))


def _open(queues: list[QueueInfo]) -> RunCounts:
    return RunCounts(
        running=sum(queue.running for queue in queues),
        queued=sum(queue.queued for queue in queues),
        waiting=sum(queue.waiting for queue in queues),
        held=sum(queue.held for queue in queues),
    )
