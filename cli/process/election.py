"""The election of a scheduler's replica: by a Lease of Kubernetes or by a key in Redis, as the settings name it."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kuber_cron.cli.process.shared_parts import SharedParts
    from kuber_cron.common.redis_store.redis_clock import RedisClock
    from kuber_cron.scheduler.election.election import Election, ElectionContext
    from kuber_cron.scheduler.election.fence import Fence


def election_of(
    parts: "SharedParts",
    *,
    holder: str,
    server_clock: "RedisClock",
    on_change: Callable[[], None],
    alone: bool,
) -> "Election":
    """Return the election that the settings name.

    Args:
        parts: What the tiers of this process share.
        holder: This replica's name in the lease.
        server_clock: Measures Redis' clock.
        on_change: Called when leadership begins or ends.
        alone: Whether the scheduler is one of several replicas, each a process of its own.
    """
    from kuber_cron.scheduler.election.election import ElectionContext
    from kuber_cron.scheduler.election.metrics import LeaseMetrics
    from kuber_cron.scheduler.election.release_listener import ReleaseListener

    context = ElectionContext(
        holder=holder,
        clock=parts.clock,
        server_clock=server_clock,
        metrics=LeaseMetrics(parts.registry),
        listen=lambda heard: ReleaseListener(partial(parts.connect, "deciding"), parts.keys, heard),
        on_change=on_change,
        hands_over_quietly=alone,
    )
    return (
        _by_kubernetes(parts, context)
        if parts.settings.election == "kubernetes"
        else _by_redis(parts, context)
    )


def _by_kubernetes(parts: "SharedParts", context: "ElectionContext") -> "Election":
    from kuber_cron.scheduler.election import kubernetes_lease
    from kuber_cron.scheduler.election.lease_election import LeaseElection

    settings, timing = parts.settings, parts.settings.lease_timing
    store = kubernetes_lease.KubernetesLease(
        kubernetes_lease.find(os.environ, home=Path(os.environ.get("HOME", "/"))),
        namespace=settings.namespace,
        name=settings.lease_name,
        request_seconds=timing.request,
    )
    return LeaseElection(
        context,
        store=store,
        fence=_fence(parts, context, cluster=store.cluster(), ttl_seconds=timing.lease),
        timing=timing,
    )


def _by_redis(parts: "SharedParts", context: "ElectionContext") -> "Election":
    from kuber_cron.scheduler.election.redis_election import TTL_SECONDS, RedisElection

    return RedisElection(
        context, _fence(parts, context, cluster=parts.settings.instance, ttl_seconds=TTL_SECONDS)
    )


def _fence(parts: "SharedParts", context: "ElectionContext", *, cluster: str, ttl_seconds: float) -> "Fence":
    from kuber_cron.common.redis_store.scripts import Store
    from kuber_cron.scheduler.election.fence import Fence

    return Fence(
        Store(parts.connect("deciding"), parts.keys),
        clock=context.clock,
        server_clock=context.server_clock,
        holder=context.holder,
        cluster=cluster,
        ttl_seconds=ttl_seconds,
    )
