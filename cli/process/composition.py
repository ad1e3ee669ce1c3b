"""The composition root: the one place where the command line puts the tiers together, from settings to services.

RQ reads its key prefix when it is imported, so what imports RQ is imported here after the prefix is set.
"""

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import structlog

from kuber_cron.cli.process import election, telemetry
from kuber_cron.cli.process.shared_parts import SharedParts
from kuber_cron.common.config.settings import Settings

if TYPE_CHECKING:
    from kuber_cron.cli.process.services import AllInOneService, SchedulerService, WorkerService
    from kuber_cron.scheduler.decisions.catalog import CatalogWatcher
    from kuber_cron.scheduler.service import Scheduler
    from kuber_cron.worker.execution.launch import Launch
    from kuber_cron.worker.output.capture import Sink
    from kuber_cron.worker.service import Worker

log = structlog.get_logger(__name__)

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def configure_logs(settings: Settings, stream: TextIO) -> None:
    """Write log lines to `stream`, in the format and from the level that the settings name."""
    from kuber_cron.common.observability import logging_setup

    logging_setup.configure(settings.log_format, settings.log_level, stream)
    for warning in settings.warnings:
        log.warning(warning)


@contextmanager
def all_in_one(settings: Settings, data_dir: Path) -> "Iterator[AllInOneService]":
    """Yield Redis (unless a URL names one), scheduler and worker as one service; all of it has ended after the block.

    Raises:
        KuberCronError: Redis cannot be started or used, or the metrics port is taken.
    """
    with ExitStack() as stack:
        redis = None
        if settings.redis_url is None:
            from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis

            redis = stack.enter_context(EmbeddedRedis(data_dir / "redis"))
            # No other process can reach this Redis, so in a pod too there is no other candidate for a Lease.
            settings = settings.model_copy(
                update={"redis_url": redis.url, "redis_password_file": None, "election": "redis"}
            )
        tier = _Tiers(settings, stack)
        watcher, scheduler = tier.scheduler(boot_token=_boot_token(), alone=False)
        worker = tier.worker(alone=False)
        from kuber_cron.cli.process.services import AllInOneService

        service = AllInOneService(
            scheduler,
            worker,
            watcher,
            slots=settings.worker_slots,
            grace_seconds=settings.grace_seconds,
            redis=redis,
        )
        stack.callback(service.close)
        telemetry.serve(tier, "run", scheduler=scheduler, worker=worker)
        yield service


@contextmanager
def scheduler(settings: Settings) -> "Iterator[SchedulerService]":
    """Yield one replica of the scheduler as a service; it has ended after the block."""
    with ExitStack() as stack:
        tier = _Tiers(settings, stack)
        _, made = tier.scheduler(boot_token="installation", alone=True)  # noqa: S106 -- names a boot, opens nothing
        from kuber_cron.cli.process.services import SchedulerService

        service = SchedulerService(made)
        stack.callback(service.close)
        telemetry.serve(tier, "scheduler", scheduler=made)
        yield service


@contextmanager
def worker(settings: Settings) -> "Iterator[WorkerService]":
    """Yield one worker as a service; it and its commands have ended after the block."""
    with ExitStack() as stack:
        tier = _Tiers(settings, stack)
        made = tier.worker(alone=True)
        from kuber_cron.cli.process.services import WorkerService

        service = WorkerService(made, settings.grace_seconds)
        stack.callback(service.close)
        telemetry.serve(tier, "worker", worker=made)
        yield service


class _Tiers(SharedParts):
    """Puts the tiers of one process together, of the parts that they share."""

    def scheduler(self, *, boot_token: str, alone: bool) -> "tuple[CatalogWatcher, Scheduler]":
        """Return the catalog, loaded, and a scheduler that follows it; `alone` where it is one of several replicas."""
        from kuber_cron.common.records.history_limits import DAY_SECONDS, HistoryLimits
        from kuber_cron.common.redis_store.redis_clock import RedisClock
        from kuber_cron.scheduler.decisions.catalog import CatalogWatcher
        from kuber_cron.scheduler.election.election import identity
        from kuber_cron.scheduler.metrics import SchedulerMetrics
        from kuber_cron.scheduler.service import Scheduler, SchedulerOptions

        settings = self.settings
        holder = identity(os.environ)
        server_clock = RedisClock(self.clock)

        def wake() -> None:
            replica.wake()

        def changed() -> None:
            _settle_memory()
            replica.wake()

        watcher = CatalogWatcher(
            settings.jobs,
            clock=self.clock,
            system=settings.jobs_format == "system",
            timezone=settings.timezone,
            empty_seconds=settings.empty_jobs_seconds,
            on_change=changed,
        )
        replica = Scheduler(
            SchedulerOptions(
                keys=self.keys,
                boot_token=boot_token,
                holder=holder,
                worker_ttl_seconds=settings.worker_ttl_seconds,
                signing_key=self.signing_keys[0] if self.signing_keys else None,
                accepted_keys=self.signing_keys,
                limits=HistoryLimits(
                    runs=settings.history_runs,
                    seconds=max(1, int(settings.history_days * DAY_SECONDS)),
                    size=settings.history_bytes,
                ),
            ),
            connect=partial(self.connect, "deciding"),
            election=election.election_of(
                self, holder=holder, server_clock=server_clock, on_change=wake, alone=alone
            ),
            server_clock=server_clock,
            watcher=watcher,
            clock=self.clock,
            metrics=SchedulerMetrics(self.registry, self.job_metrics),
            sender=self.sender,
        )
        watcher.load()
        _settle_memory()
        return watcher, replica

    def worker(self, *, alone: bool) -> "Worker":
        """Return a worker; `alone` where no scheduler shares its metrics."""
        from kuber_cron.worker.coordination.worker_context import WorkerOptions
        from kuber_cron.worker.metrics import WorkerMetrics
        from kuber_cron.worker.output.log_retention import LogRetention
        from kuber_cron.worker.service import Worker

        settings = self.settings
        metrics = WorkerMetrics(self.registry, slots=settings.worker_slots, alone=alone)
        return Worker(
            WorkerOptions(
                keys=self.keys,
                queues=settings.worker_queues,
                slots=settings.worker_slots,
                ttl_seconds=settings.worker_ttl_seconds,
                log_dir=settings.log_dir,
                environ=dict(os.environ),
                signing_keys=self.signing_keys,
                user_required=settings.user == "require",
                redact=settings.redact,
                retention=LogRetention(
                    max_files=settings.log_keep_runs or None,
                    max_age_seconds=settings.log_keep_days * 86400 or None,
                    max_bytes=settings.log_keep_bytes or None,
                ),
            ),
            connect=self.connect,
            clock=self.clock,
            metrics=metrics,
            job_metrics=self.job_metrics,
            sinks=self._sinks(metrics.log_dropped.labels("reader").inc),
            sender=self.sender,
        )

    def _sinks(self, on_dropped: "Callable[[int], None]") -> "Callable[[Launch], Sequence[Sink]]":
        from kuber_cron.worker.output.stdout_relay import Relay

        form = self.settings.worker_output
        if form == "off":
            return lambda _: ()
        relay = Relay(1, on_dropped=on_dropped)
        self.stack.callback(relay.close)
        return lambda launch: [relay.lane(form, job=launch.job, run_id=launch.run_id, attempt=launch.attempt)]


def _settle_memory() -> None:
    """Exempt the jobs, hundreds of objects for each, from garbage collection.

    An optimisation: otherwise Python would traverse all of them (40 ms for 10,000 jobs) whenever an instant makes many
    new objects.
    """
    gc.collect()
    gc.freeze()


def _boot_token() -> str:
    """Return the name of this boot of the machine; its start time where the kernel has no name for it (macOS)."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        import psutil

        return f"booted-{psutil.boot_time():.0f}"
