"""Metrics and health of a process, over HTTP."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from kuber_cron.cli.process.shared_parts import SharedParts
    from kuber_cron.common.observability.health import Health, Tier
    from kuber_cron.scheduler.service import Scheduler
    from kuber_cron.worker.service import Worker


def serve(
    parts: "SharedParts",
    process: "Tier",
    *,
    scheduler: "Scheduler | None" = None,
    worker: "Worker | None" = None,
) -> None:
    """Serve metrics and health until the parts' stack is closed.

    Raises:
        PortInUseError: The port is taken.
    """
    from kuber_cron.common.observability import http_server

    settings = parts.settings
    health = _health(process, scheduler, worker)
    health.add("connections", _connections_check(parts, scheduler, worker), live=True)
    server = http_server.start(parts.registry, settings.metrics_host, settings.metrics_port, health)
    parts.stack.callback(server.stop)


def _connections_check(
    parts: "SharedParts", scheduler: "Scheduler | None", worker: "Worker | None"
) -> "Callable[[], str]":
    from kuber_cron.common.redis_store.fresh_connection import FreshConnectionCheck

    tiers = [tier for tier in (scheduler, worker) if tier is not None]
    check = FreshConnectionCheck(
        lambda: parts.connect("deciding"),
        parts.keys,
        failing_seconds=lambda: max(tier.failing_seconds() for tier in tiers),
    )
    check.start()
    parts.stack.callback(check.stop)
    return check.check


def _health(process: "Tier", scheduler: "Scheduler | None", worker: "Worker | None") -> "Health":
    from kuber_cron.common.observability.health import Health

    def term_epoch() -> int | None:
        term = scheduler.term() if scheduler is not None else None
        return None if term is None else term.epoch

    health = Health(
        process,
        leader=lambda: None if scheduler is None else scheduler.term() is not None,
        epoch=term_epoch,
    )
    for tier in (scheduler, worker):
        for check, ask in (tier.checks() if tier is not None else {}).items():
            health.add(check, ask, live=check in {"loop", "election"})
    return health
