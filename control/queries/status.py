"""The whole installation: the query behind ``kuber-cron status``, from Redis alone."""

from dataclasses import replace

from kuber_cron import __version__
from kuber_cron.common.records.processes import QueueInfo
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.control.queries import jobs, problems, processes, runs
from kuber_cron.control.queries.results import RunCounts, StatusView

_FAILURES = 5


def status(store: Store) -> StatusView:
    """Return who leads, who works, what waits and what failed last, and the problems among them."""
    leader, now = processes.leader(store)
    queues = processes.queue_infos(store)
    view = StatusView(
        now=now,
        instance=store.keys.instance,
        client_version=__version__,
        redis=processes.server_info(store),
        leader=leader,
        schedulers=tuple(processes.scheduler_infos(store)),
        workers=tuple(processes.worker_infos(store)),
        queues=tuple(queues),
        jobs=jobs.counts(store, now),
        runs=_open_runs(queues),
        quarantined=int(store.client.xlen(store.keys.quarantine)),
        failures=runs.newest_failures(store, _FAILURES),
    )
    return replace(view, troubles=problems.problems(view))


def _open_runs(queues: list[QueueInfo]) -> RunCounts:
    return RunCounts(
        running=sum(queue.running for queue in queues),
        queued=sum(queue.queued for queue in queues),
        waiting=sum(queue.waiting for queue in queues),
        held=sum(queue.held for queue in queues),
    )
