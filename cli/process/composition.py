"""From settings to services: the one place where the command line knows how a tier is put together.

RQ reads its key prefix when it is imported, so what imports RQ is imported here after the prefix is set.
"""

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import structlog

from kuber_cron.common.clock import SystemClock
from kuber_cron.common.config import signing_keys
from kuber_cron.common.config.settings import Settings

if TYPE_CHECKING:
    from kuber_cron.cli.process.services import AllInOneService, SchedulerService, WorkerService
    from kuber_cron.common.observability.health import Health
    from kuber_cron.scheduler.decisions.catalog import CatalogWatcher
    from kuber_cron.scheduler.election.election import Election, ElectionContext
    from kuber_cron.scheduler.election.fence import Fence
    from kuber_cron.scheduler.election.redis_clock import RedisClock
    from kuber_cron.scheduler.service import Scheduler
    from kuber_cron.worker.execution.launch import Launch
    from kuber_cron.worker.output.capture import Sink
    from kuber_cron.worker.service import Worker

log = structlog.get_logger(__name__)

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def configure_logs(settings: Settings, stream: TextIO) -> None:
    """Log lines go to `stream`, in the format and from the level that the settings name."""
    from kuber_cron.common.observability import logging_setup

    logging_setup.configure(settings.log_format, settings.log_level, stream)
    for warning in settings.warnings:
        log.warning(warning)


@contextmanager
def all_in_one(settings: Settings, data_dir: Path) -> "Iterator[AllInOneService]":
    """Redis (unless a URL names one), scheduler and worker as one service; all of it has ended after the block.

    Raises:
        KuberCronError: Redis cannot be started or used, or the metrics port is taken.
    """
    with ExitStack() as stack:
        redis = None
        if settings.redis_url is None:
            from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis

            redis = stack.enter_context(EmbeddedRedis(data_dir / "redis"))
            # Nobody else can reach this Redis, so in a pod too there is nobody to contest a Lease with.
            settings = settings.model_copy(
                update={"redis_url": redis.url, "redis_password_file": None, "election": "redis"}
            )
        tier = _Tier(settings, stack)
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
        tier.serve_telemetry("run", scheduler=scheduler, worker=worker)
        yield service


@contextmanager
def scheduler(settings: Settings) -> "Iterator[SchedulerService]":
    """One replica of the scheduler as a service; it has ended after the block."""
    with ExitStack() as stack:
        tier = _Tier(settings, stack)
        _, made = tier.scheduler(boot_token="installation", alone=True)  # noqa: S106 -- names a boot, opens nothing
        from kuber_cron.cli.process.services import SchedulerService

        service = SchedulerService(made)
        stack.callback(service.close)
        tier.serve_telemetry("scheduler", scheduler=made)
        yield service


@contextmanager
def worker(settings: Settings) -> "Iterator[WorkerService]":
    """One worker as a service; it and its commands have ended after the block."""
    with ExitStack() as stack:
        tier = _Tier(settings, stack)
        made = tier.worker(alone=True)
        from kuber_cron.cli.process.services import WorkerService

        service = WorkerService(made, settings.grace_seconds)
        stack.callback(service.close)
        tier.serve_telemetry("worker", worker=made)
        yield service


class _Tier:
    """What both tiers share: the way to Redis, the registry, the keys. Checks that Redis is fit."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        from kuber_cron.common.notifications.sender import NotificationSender
        from kuber_cron.common.notifications.webhook import Webhook
        from kuber_cron.common.observability import http_server
        from kuber_cron.common.observability.job_metrics import JobMetrics
        from kuber_cron.common.redis_store import connections, server_check
        from kuber_cron.common.redis_store.keys import Keys
        from kuber_cron.common.redis_store.scripts import Store

        self.settings = settings
        self.stack = stack
        self.clock = SystemClock()
        self.keys = Keys(connections.set_key_prefix(settings.instance))
        with self.connect("general") as client:
            facts = server_check.check_server(client, allow_volatile=settings.redis_allow_volatile)
            server_check.check_access(Store(client, self.keys))
        for warning in server_check.warnings(facts):
            log.warning(warning)
        self.signing_keys = signing_keys.required(settings.signing_key_file, insecure=settings.insecure)
        if not self.signing_keys:
            log.warning(
                "runs are not signed: whoever can write to Redis can run commands here", setting="insecure"
            )
        self.registry = http_server.make_registry()
        self.measures = JobMetrics(self.registry, max_jobs=settings.metrics_max_jobs)
        self.messenger = NotificationSender(Webhook.of(settings), clock=self.clock, registry=self.registry)
        stack.callback(self.messenger.close)  # after the services, whose last runs have to be told

    def connect(self, purpose: str) -> Any:  # a redis.Redis, which is not for this tier to know
        """Return a client for `purpose`. The process's end closes it: a service's threads use it to their last."""
        from kuber_cron.common.redis_store import connections

        return connections.connect(self.settings, purpose, name=self.settings.instance)  # type: ignore[arg-type] # the services name purposes as text

    def scheduler(self, *, boot_token: str, alone: bool) -> "tuple[CatalogWatcher, Scheduler]":
        """Return the catalog, loaded, and a scheduler that follows it; `alone` where it is one of several replicas."""
        from kuber_cron.common.records.history_limits import DAY_SECONDS, HistoryLimits
        from kuber_cron.scheduler.decisions.catalog import CatalogWatcher
        from kuber_cron.scheduler.election.election import identity
        from kuber_cron.scheduler.election.redis_clock import RedisClock
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
            election=self._election(holder, server_clock, wake, alone=alone),
            server_clock=server_clock,
            watcher=watcher,
            clock=self.clock,
            metrics=SchedulerMetrics(self.registry, self.measures),
            messenger=self.messenger,
        )
        watcher.load()
        _settle_memory()
        return watcher, replica

    def _election(
        self, holder: str, server_clock: "RedisClock", on_change: "Callable[[], None]", *, alone: bool
    ) -> "Election":
        from kuber_cron.scheduler.election.election import ElectionContext
        from kuber_cron.scheduler.election.metrics import LeaseMetrics
        from kuber_cron.scheduler.election.release_listener import ReleaseListener

        context = ElectionContext(
            holder=holder,
            clock=self.clock,
            server_clock=server_clock,
            metrics=LeaseMetrics(self.registry),
            listen=lambda heard: ReleaseListener(partial(self.connect, "deciding"), self.keys, heard),
            on_change=on_change,
            hands_over_quietly=alone,
        )
        return self._kubernetes(context) if self.settings.election == "kubernetes" else self._redis(context)

    def _kubernetes(self, context: "ElectionContext") -> "Election":
        from kuber_cron.scheduler.election import kubernetes_lease
        from kuber_cron.scheduler.election.lease_election import LeaseElection

        settings, timing = self.settings, self.settings.lease_timing
        store = kubernetes_lease.KubernetesLease(
            kubernetes_lease.find(os.environ, home=Path(os.environ.get("HOME", "/"))),
            namespace=settings.namespace,
            name=settings.lease_name,
            request_seconds=timing.request,
        )
        return LeaseElection(
            context,
            store=store,
            fence=self._fence(context, cluster=store.cluster(), ttl_seconds=timing.lease),
            timing=timing,
        )

    def _redis(self, context: "ElectionContext") -> "Election":
        from kuber_cron.scheduler.election.redis_election import TTL_SECONDS, RedisElection

        return RedisElection(
            context, self._fence(context, cluster=self.settings.instance, ttl_seconds=TTL_SECONDS)
        )

    def _fence(self, context: "ElectionContext", *, cluster: str, ttl_seconds: float) -> "Fence":
        from kuber_cron.common.redis_store.scripts import Store
        from kuber_cron.scheduler.election.fence import Fence

        return Fence(
            Store(self.connect("deciding"), self.keys),
            clock=context.clock,
            server_clock=context.server_clock,
            holder=context.holder,
            cluster=cluster,
            ttl_seconds=ttl_seconds,
        )

    def worker(self, *, alone: bool) -> "Worker":
        """Return a worker; `alone` where no scheduler shares its metrics."""
        from kuber_cron.worker.metrics import WorkerMetrics
        from kuber_cron.worker.output.log_retention import LogRetention
        from kuber_cron.worker.service import Worker, WorkerOptions

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
                keys_for_signatures=self.signing_keys,
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
            measures=self.measures,
            sinks=self._sinks(metrics.log_dropped.labels("reader").inc),
            messenger=self.messenger,
        )

    def _sinks(self, on_dropped: "Callable[[int], None]") -> "Callable[[Launch], Sequence[Sink]]":
        from kuber_cron.worker.output.stdout_relay import Relay, sinks_for

        if self.settings.worker_output == "off":
            return lambda _: ()
        relay = Relay(1, on_dropped=on_dropped)
        self.stack.callback(relay.close)
        return partial(sinks_for, relay, self.settings.worker_output)

    def serve_telemetry(
        self, name: str, *, scheduler: "Scheduler | None" = None, worker: "Worker | None" = None
    ) -> None:
        """Metrics and health are served until the block ends."""
        from kuber_cron.common.observability import http_server

        settings = self.settings
        server = http_server.start(
            self.registry, settings.metrics_host, settings.metrics_port, _health(name, scheduler, worker)
        )
        self.stack.callback(server.stop)


def _health(name: str, scheduler: "Scheduler | None", worker: "Worker | None") -> "Health":
    from kuber_cron.common.observability.health import Health

    def term_epoch() -> int | None:
        term = scheduler.term() if scheduler is not None else None
        return None if term is None else term.epoch

    health = Health(
        name,  # type: ignore[arg-type] # one of the three, by the callers above
        leader=lambda: None if scheduler is None else scheduler.term() is not None,
        epoch=term_epoch,
    )
    for tier in (scheduler, worker):
        for check, ask in (tier.checks() if tier is not None else {}).items():
            health.add(check, ask, live=check in {"loop", "election"})
    return health


def _settle_memory() -> None:
    """The jobs, hundreds of objects for each, are no garbage: Python need not look through them at an instant.

    It would, for as long as all of them take (40 ms for 10,000 jobs), whenever an instant makes many new objects.
    """
    gc.collect()
    gc.freeze()


def _boot_token() -> str:
    """Return what names this boot of the machine; its start time where the kernel has no name for it (macOS)."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        import psutil

        return f"booted-{psutil.boot_time():.0f}"
