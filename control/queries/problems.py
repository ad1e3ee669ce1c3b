"""Problems of an installation that an operator should look at, a sentence each. Pure."""

from collections.abc import Iterator, Sequence

from kuber_cron.common import time_format
from kuber_cron.common.records.processes import SchedulerInfo, WorkerInfo
from kuber_cron.control.explain.sentences import leaderless
from kuber_cron.control.queries.results import StatusView

_NEARLY_FULL = 0.9
_OLD_SECONDS = 60.0  # a run that has waited longer for a worker is a problem
_LATE_SECONDS = 2.0
_LOSS_SECONDS = 86400.0  # a night's loss is still a problem in the morning


def problems(status: StatusView) -> tuple[str, ...]:
    """Return the problems, the worst first."""
    return tuple(_found(status))


def _found(status: StatusView) -> Iterator[str]:
    alive = [each for each in status.schedulers if each.is_alive(status.now)]
    if sentence := leaderless(status.leader, status.now):
        yield sentence
    if not [worker for worker in status.workers if worker.state != "lost"]:
        yield "no worker is there: what is queued waits for one"
    yield from of_workers(status.workers)
    yield from _of_files(alive)
    yield from _of_queues(status)
    if status.jobs.paused and status.jobs.paused == status.jobs.total:
        yield "all jobs are paused: kuber-cron resume --all ends that"
    if status.quarantined:
        yield f"{status.quarantined} in quarantine: kuber-cron quarantine list"
    late = max((each.late_seconds or 0.0 for each in alive), default=0.0)
    if late >= _LATE_SECONDS:
        yield f"a run was queued {time_format.duration(late)} late within the last minutes"
    yield from _of_redis(status)
    yield from version_skew(status.client_version, alive, status.workers)


def of_workers(workers: Sequence[WorkerInfo]) -> Iterator[str]:
    """Yield a sentence for each worker that lives and starts nothing."""
    for each in workers:
        if each.problem and each.state not in {"lost", "draining"}:
            yield f"worker {each.worker} starts nothing: {each.problem}"


def _of_files(alive: Sequence[SchedulerInfo]) -> Iterator[str]:
    for each in alive:
        if not each.is_valid:
            yield f"the job files of {each.holder} hold errors, so its last good jobs run: {each.problem or 'see its log'}"
    jobs = {each.jobs for each in alive}
    if len(jobs) > 1:
        yield f"the schedulers have loaded different numbers of jobs: {', '.join(map(str, sorted(jobs)))}"


def _of_queues(status: StatusView) -> Iterator[str]:
    for queue in status.queues:
        if queue.queued and not queue.workers:
            yield f"no worker serves queue {queue.queue}, where {queue.queued} wait"
        elif queue.oldest_queued_at is not None:
            seconds = (status.now - queue.oldest_queued_at).total_seconds()
            if seconds >= _OLD_SECONDS:
                yield f"the first in queue {queue.queue} has waited for {time_format.span(seconds)}: all slots are busy"


def _of_redis(status: StatusView) -> Iterator[str]:
    lost_at = status.redis.lost_at
    if lost_at is not None and (ago := (status.now - lost_at).total_seconds()) < _LOSS_SECONDS:
        yield f"Redis had lost writes, found {time_format.span(ago)} ago: each job went on by its on_state_loss"
    used, most = status.redis.memory_bytes, status.redis.memory_max_bytes
    if used is not None and most and used > _NEARLY_FULL * most:
        yield f"Redis uses {used / most:.0%} of its maxmemory: when it is full, nothing can be queued"


def version_skew(
    client: str, schedulers: Sequence[SchedulerInfo], workers: Sequence[WorkerInfo]
) -> Iterator[str]:
    """Yield a sentence if releases differ: fine for the time of an update, workers first."""
    tiers = {
        "schedulers": {each.version for each in schedulers if each.version},
        "workers": {each.version for each in workers if each.version and each.state != "lost"},
        "this command": {client},
    }
    if len(set().union(*tiers.values())) > 1:
        named = [f"{name} {' and '.join(sorted(found))}" for name, found in tiers.items() if found]
        yield f"releases differ: {', '.join(named)}; update workers first, then schedulers"
