"""Contenders for leadership in threads of this process: what the election's tests share."""

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from tests.support.clients import clients
from tests.support.waiting import eventually

from kuber_cron.common.clock import SystemClock
from kuber_cron.common.config.lease_timing import LeaseTiming
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.common.redis_store.redis_clock import RedisClock
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.scheduler.election import kubernetes_lease
from kuber_cron.scheduler.election.election import Election, ElectionContext
from kuber_cron.scheduler.election.fence import Fence
from kuber_cron.scheduler.election.lease_election import LeaseElection
from kuber_cron.scheduler.election.lease_store import LeaseStore
from kuber_cron.scheduler.election.metrics import LeaseMetrics
from kuber_cron.scheduler.election.redis_election import TTL_SECONDS, RedisElection
from kuber_cron.scheduler.election.release_listener import ReleaseListener
from kuber_cron.scheduler.election.term import Term

KEYS = Keys("rq")
FAST = LeaseTiming(lease=3.0, renew=2.0, retry=0.5)


@dataclass
class Contender:
    """One replica's election, with its metrics."""

    election: Election
    registry: CollectorRegistry
    name: str
    log: list[tuple[float, Term]] = field(default_factory=list)

    def leads(self) -> Term | None:
        return self.election.valid_term()

    def starts(self) -> "Contender":
        self.election.start()
        return self

    def dies(self) -> None:
        """As by SIGKILL: no more turns, nothing given away."""
        self.election._stop.set()
        self.election._try_now.set()
        if self.election._listener is not None:
            self.election._listener.stop()
        if self.election._thread is not None:
            self.election._thread.join(timeout=60)

    def value(self, metric: str, **labels: str) -> float:
        return self.registry.get_sample_value(metric, labels) or 0.0


class Electorate:
    """Makes contenders for one lease, and ends those that a test has left."""

    def __init__(
        self,
        url: str,
        kubeconfig: Path | None,
        *,
        namespace: str = "default",
        store: LeaseStore | None = None,
    ) -> None:
        """The lease is in ``store``, or on the API server of ``kubeconfig``, or without both a key in Redis."""
        self.url, self.kubeconfig, self.namespace = url, kubeconfig, namespace
        self.store = store
        self.contenders: list[Contender] = []
        self.name = "kuber-cron"
        self._stack = contextlib.ExitStack()

    @property
    def takeover_seconds(self) -> float:
        """How long after a leader's death another leads, at most, with something to spare for a busy machine."""
        return (FAST.lease + 1.2 * FAST.retry if self.kubeconfig or self.store else TTL_SECONDS + 1.0) + 15.0

    def contender(self, name: str, **options: Any) -> Contender:
        """One that contests nothing yet."""
        return self.contender_by(name, self.kubeconfig, **options)

    def contender_by(self, name: str, kubeconfig: Path | None, **options: Any) -> Contender:
        registry = CollectorRegistry()
        clock = SystemClock()
        server_clock = RedisClock(clock)
        timing: LeaseTiming = replace(options.get("times", FAST), failsafe=options.get("failsafe", 60.0))

        connect = self._stack.enter_context(clients(options.get("redis_url", self.url)))
        context = ElectionContext(
            holder=name,
            clock=clock,
            server_clock=server_clock,
            metrics=LeaseMetrics(registry),
            listen=lambda heard: ReleaseListener(connect, KEYS, heard),
        )

        def fence(cluster: str, ttl: float) -> Fence:
            return Fence(
                Store(connect(), KEYS),
                clock=clock,
                server_clock=server_clock,
                holder=name,
                cluster=options.get("cluster", cluster),
                ttl_seconds=ttl,
            )

        store = self.store
        if kubeconfig is not None:
            store = kubernetes_lease.KubernetesLease(
                kubernetes_lease.find({"KUBECONFIG": str(kubeconfig)}, home=Path("/nowhere")),
                namespace=self.namespace,
                name=self.name,
                request_seconds=timing.request,
            )
        election: Election
        if store is None:
            election = RedisElection(context, fence("one", TTL_SECONDS))
        else:
            election = LeaseElection(
                context,
                store=store,
                fence=fence(store.cluster(), timing.lease),
                timing=timing,
                rng=random.Random(len(self.contenders)),
            )
        made = Contender(election, registry, name)
        self.contenders.append(made)
        return made

    def leader(self, seconds: float = 10.0) -> Contender:
        """The one that leads."""
        (leading,) = eventually(lambda: [each for each in self.contenders if each.leads()], seconds)
        return leading

    def end(self) -> None:
        for each in self.contenders:
            each.election.stop()
        self._stack.close()


@contextlib.contextmanager
def electorate(url: str, kubeconfig: Path | None, **options: Any) -> Iterator[Electorate]:
    made = Electorate(url, kubeconfig, **options)
    try:
        yield made
    finally:
        made.end()


def epoch_of(
    contender: Contender, accept: Callable[[Term], bool] = lambda _: True, seconds: float = 10.0
) -> int:
    """The epoch of the first term of this contender that is accepted."""

    def found() -> Term | None:
        term = contender.leads()
        return term if term is not None and accept(term) else None

    return eventually(found, seconds).epoch
