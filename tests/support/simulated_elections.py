"""Electors under a simulated clock, API server and Redis: every delay, loss and repetition, in microseconds of real time.

One ``History`` is one seed: a few replicas with clocks that run at different rates, a network that delays,
loses and repeats messages, outages of either server, crashes, pauses (SIGSTOP), and deciders that send a write a
while after they asked for the token. It raises ``AssertionError`` with what it saw as soon as a promise is broken.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from kuber_cron.common.config.lease_timing import LeaseTiming
from kuber_cron.common.errors import RedisUnreachableError
from kuber_cron.common.redis_store.redis_clock import RedisClock
from kuber_cron.scheduler.election import election, lease_election
from kuber_cron.scheduler.election.election import ElectionContext
from kuber_cron.scheduler.election.fence import FenceReply
from kuber_cron.scheduler.election.lease_election import LeaseElection
from kuber_cron.scheduler.election.lease_rules import LeaseError, LeaseFailure, LeaseRecord
from kuber_cron.scheduler.election.term import Term

FAST = LeaseTiming(lease=4.0, renew=3.0, retry=1.0)
REDIS_SECONDS = 1.5
LATEST_SECONDS = 4.0  # how late a message may be applied or answered
KINDS = ("crash", "leave", "pause", "api", "redis", "pause the leader", "crash the leader")
# Each takes away one of the two memories of the epochs; a history has no more than one kind of them.
DISASTERS = ("the Lease is deleted", "redis is rolled back")
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Silent:
    """A log and metrics that nobody reads."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


def silence() -> tuple[Any, Any]:
    """Ten thousand histories would write a million lines; what ``restore`` needs."""
    kept = election.log, lease_election.log
    election.log = lease_election.log = Silent()
    return kept


def restore(kept: tuple[Any, Any]) -> None:
    election.log, lease_election.log = kept


class World:
    """Time, and what happens at which."""

    def __init__(self) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, when: float, do: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (max(when, self.now), self._count, do))

    def run(self, until: float, after_each: Callable[[], None]) -> None:
        while self._queue and self._queue[0][0] <= until:
            self.now, _, do = heapq.heappop(self._queue)
            do()
            after_each()
        self.now = until


@dataclass
class SkewedClock:
    """A replica's interval clock: it began anywhere and runs a little fast or slow."""

    world: World
    rate: float
    began: float

    def now(self) -> datetime:
        return _EPOCH + timedelta(seconds=self.world.now * self.rate)

    def elapsed(self) -> float:
        return self.began + self.world.now * self.rate


@dataclass
class SimulatedApi:
    """One Lease."""

    record: LeaseRecord | None = None
    version: int = 0

    def read(self) -> LeaseRecord | None:
        return self.record

    def write(self, record: LeaseRecord) -> LeaseRecord:
        stored = self.record.version if self.record is not None else ""
        if record.version != stored:
            reason: LeaseFailure = "conflict" if self.record is not None else "not_found"
            raise LeaseError("stale", reason=reason)
        self.version += 1
        self.record = replace(record, version=str(self.version))
        return self.record


@dataclass
class SimulatedRedis:
    """The fence, by the rules of claim_fence.lua, and the writes that it let through."""

    epoch: int = 0
    holder: str = ""
    through: int = 0
    accepted: list[tuple[int, str]] = field(default_factory=list)

    def decide(self, term: Term) -> None:
        if term.epoch == self.epoch:
            self.accepted.append((term.epoch, term.holder))
            self.through += 1


class Place:
    """A server as one replica reaches it; the calls' receiver, by which the network tells them apart."""

    def __init__(self, holder: str) -> None:
        self.holder = holder


class ApiPlace(Place):
    def __init__(self, holder: str, server: SimulatedApi) -> None:
        super().__init__(holder)
        self.read, self.write = server.read, server.write


class RedisPlace(Place):
    def __init__(self, holder: str, server: SimulatedRedis, clock: SkewedClock) -> None:
        super().__init__(holder)
        self._server = server
        self._clock = clock
        self.answered_at = clock.elapsed()

    def check(self, epoch: int) -> FenceReply:  # noqa: ARG002 - the fence's own signature
        return FenceReply("CHECKED", self._server.epoch, self._server.holder, self._server.through)

    def claim(self, epoch: int) -> FenceReply:
        fence = self._server
        if epoch > fence.epoch or (epoch == fence.epoch and fence.holder == self.holder):
            fence.epoch, fence.holder = epoch, self.holder
            return FenceReply("CLAIMED", epoch, self.holder, fence.through)
        return FenceReply("STALE", fence.epoch, fence.holder, fence.through)

    def publish_release(self) -> None:
        """Nobody listens: standbys poll."""


@dataclass
class Network:
    """How one server is reached at the moment."""

    rng: random.Random
    timeout: float
    faults: float = 0.0
    is_down: bool = False

    def fate(self) -> tuple[float | None, float | None, float | None]:
        """When a call is applied, when it is applied once more, and when its answer is there; None for never."""
        rng = self.rng
        there, back = rng.uniform(0.0005, 0.02), rng.uniform(0.0005, 0.02)
        if self.is_down:
            return None, None, None
        if rng.random() >= self.faults:
            return there, None, there + back
        kind = rng.randrange(5)
        if kind == 0:
            return None, None, None  # lost on its way
        if kind == 1:
            return there, None, None  # applied, and the answer is lost
        if kind == 2:
            return there, there + rng.uniform(0.0, LATEST_SECONDS), there + back  # applied once more, later
        late = rng.uniform(0.0, LATEST_SECONDS)
        return (late, None, late + back) if kind == 3 else (there, None, there + late)


class Replica:
    """A process: an elector whose turns the world takes for it, and a decider that may act late."""

    def __init__(self, history: "History", name: str) -> None:
        self.history, self.name = history, name
        rng, world = history.rng, history.world
        self.clock = SkewedClock(world, rng.uniform(0.95, 1.05), rng.uniform(0, 1e6))
        self.api = ApiPlace(name, history.api)
        self.redis = RedisPlace(name, history.redis, self.clock)
        context = ElectionContext(
            holder=name,
            clock=self.clock,
            server_clock=RedisClock(self.clock),
            metrics=Silent(),  # type: ignore[arg-type] # answers every call
        )
        self.elector = LeaseElection(
            context,
            store=self.api,
            fence=self.redis,
            timing=replace(FAST, failsafe=history.failsafe),
            rng=random.Random(rng.random()),
        )
        self.is_dead = False
        self.paused_until = 0.0
        self.known: Term | None = None
        world.at(world.now + rng.uniform(0, 1), self.turn)

    def when_awake(self, do: Callable[[], None]) -> None:
        """Now, or at the end of the pause; never for the dead."""
        if self.is_dead:
            return
        if self.history.world.now < self.paused_until:
            self.history.world.at(self.paused_until, lambda: self.when_awake(do))
            return
        do()

    def turn(self) -> None:
        self.when_awake(lambda: self._continue(self.elector.attempt_calls(), None, None))

    def leave(self) -> None:
        """As by SIGTERM."""

        def go() -> None:
            self.elector._tenure.end()
            self.is_leaving = True
            self._continue(self.elector.release_calls(), None, None)

        self.when_awake(go)

    is_leaving = False

    def _continue(self, calls: Generator[Any, Any, Any], result: Any, error: Exception | None) -> None:
        if self.is_leaving and calls.gi_code.co_name == "attempt_calls":
            return
        try:
            call = calls.throw(error) if error is not None else calls.send(result)
        except StopIteration as ended:
            if self.is_leaving:
                self.is_dead = True
            else:
                pause = max(ended.value, 0.001) / self.clock.rate
                self.history.world.at(self.history.world.now + pause, self.turn)
            return
        self._send(calls, call)

    def _send(self, calls: Generator[Any, Any, Any], call: Callable[[], Any]) -> None:
        history, world = self.history, self.history.world
        receiver = getattr(call, "func", call).__self__
        is_api = isinstance(receiver, SimulatedApi)
        network = history.to_api if is_api else history.to_redis
        applied, again, answered = network.fate()
        outcome: list[tuple[Any, Exception | None]] = []

        def apply() -> None:
            try:
                outcome.append((call(), None))
            except LeaseError as error:
                outcome.append((None, error))

        timeout = network.timeout / self.clock.rate
        for when in (applied, again):
            if when is not None:
                world.at(world.now + when, apply)

        def answer() -> None:
            result, error = outcome[0]
            if not is_api:
                self.redis.answered_at = self.clock.elapsed()
            self._continue(calls, result, error)

        def fail() -> None:
            if is_api:
                error: Exception = LeaseError(
                    "lost", reason=history.rng.choice(("timeout", "transport", "server_error"))
                )
            else:
                error = RedisUnreachableError("lost")
            self._continue(calls, None, error)

        if answered is not None and answered < timeout:
            world.at(world.now + answered, lambda: self.when_awake(answer))
        else:
            quick = network.is_down and history.rng.random() < 0.5
            world.at(world.now + (0.001 if quick else timeout), lambda: self.when_awake(fail))

    # --- what it believes ------------------------------------------------------------------------

    def term(self) -> Term | None:
        return None if self.is_dead else self.elector.valid_term()


class History:
    """One seed's events, all within so many seconds, and the quiet after them."""

    def __init__(self, seed: int, *, events: float = 9.0) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.world = World()
        self.failsafe = self.rng.choice((0.0, 5.0, 60.0))
        self.api = SimulatedApi()
        self.redis = SimulatedRedis()
        trouble = self.rng.choice((0.0, 0.05, 0.2, 0.5))
        self.to_api = Network(self.rng, FAST.request, trouble)
        self.to_redis = Network(self.rng, REDIS_SECONDS, trouble / 2)
        self.events = events
        self.made = 0
        self.replicas = [self._new() for _ in range(self.rng.choice((2, 2, 3)))]
        self.disaster = self.rng.choice((None, None, *DISASTERS))
        self.terms: dict[int, str] = {}
        self.seen: Counter[str] = Counter()

    def run(self) -> "Counter[str]":
        """Play it; what happened, by kind."""
        for _ in range(self.rng.randrange(1, 5)):
            self.world.at(self.rng.uniform(1, self.events), self._event)
        self.world.at(0.5, self._decide)
        self.world.run(self.events, self._check)
        self._calm()
        # The latest message is there, and then a lease, a retry and the clocks' differences have to do.
        self.world.run(self.events + LATEST_SECONDS + FAST.lease * 1.1 + 2 * FAST.retry, self._check)
        leading = [each.name for each in self.replicas if each.term()]
        assert len(leading) == 1, f"seed {self.seed}: leading in the end: {leading}"
        epochs = [epoch for epoch, _ in self.redis.accepted]
        assert self.disaster or epochs == sorted(epochs), (
            f"seed {self.seed}: epochs went back: {self.redis.accepted}"
        )
        self.seen["terms"] += len(self.terms)
        self.seen["decisions"] += len(epochs)
        return self.seen

    def _new(self) -> Replica:
        self.made += 1
        return Replica(self, f"replica-{self.made}")

    def _event(self) -> None:
        kind = self.rng.choice((*KINDS, self.disaster) if self.disaster else KINDS)
        leaders = [each for each in self.replicas if each.term()]
        victim = self.rng.choice(leaders if leaders and "leader" in kind else self.replicas)
        seconds = self.rng.uniform(0.5, 12.0)
        self.seen[kind] += 1
        if kind.startswith("crash"):
            victim.is_dead = True
        elif kind == "leave":
            victim.leave()
        elif kind.startswith("pause"):
            victim.paused_until = min(self.world.now + seconds, self.events)
        elif kind == "the Lease is deleted":
            self.api.record = None
        elif kind == "redis is rolled back":
            self.redis.epoch = max(0, self.redis.epoch - self.rng.randrange(3))
            self.redis.through //= 2
        else:
            network = self.to_api if kind == "api" else self.to_redis
            network.is_down = True
            self.world.at(self.world.now + seconds, lambda: setattr(network, "is_down", False))
        if kind.startswith("crash") or kind == "leave":
            self.replicas.append(self._new())

    def _calm(self) -> None:
        for network in (self.to_api, self.to_redis):
            network.faults, network.is_down = 0.0, False

    def _decide(self) -> None:
        """Every replica that thinks it leads sends a decision, which arrives when it arrives."""
        for each in self.replicas:
            term = each.term()
            if term is not None and self.world.now >= each.paused_until:
                delay = self.rng.choice((0.001, 0.01, self.rng.uniform(0.0, LATEST_SECONDS)))
                self.world.at(self.world.now + delay, lambda term=term: self.redis.decide(term))
                each.elector.decided(self.redis.through)
        self.world.at(self.world.now + self.rng.uniform(0.3, 0.8), self._decide)

    def _check(self) -> None:
        within: str = ""
        for each in self.replicas:
            term, until = each.elector._tenure._state  # valid_term(), for half the price
            if term is None or each.is_dead or (now := each.clock.elapsed()) >= until:
                continue
            if term is not each.known:
                each.known = term
                before = self.terms.setdefault(term.epoch, each.name)
                assert before == each.name, (
                    f"seed {self.seed}: epoch {term.epoch} of {before} and {each.name}"
                )
            if now < each.elector._valid_until and not self.disaster:
                assert not within, f"seed {self.seed}: {within} and {each.name} both within their leases"
                within = each.name
