"""A cluster without processes: real deciders, housekeepers and ledgers over the real scripts, moved step by step.

Instants lie a minute apart in a time of the model's own that is long past on Redis' clock; so none is early, every
deadline has passed by the time a held run is released, and nothing expires by itself.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as NotConnected
from tests.support.watches import SteppedWatch

from kuber_cron.common.errors import FencedError, RedisUnreachableError
from kuber_cron.common.jobs.job import Job
from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs import retry_policy
from kuber_cron.common.runs.run_id import job_of_run
from kuber_cron.scheduler.decisions import planner
from kuber_cron.scheduler.decisions.catalog import Catalog, compile_entries
from kuber_cron.scheduler.decisions.decider import Decider
from kuber_cron.scheduler.decisions.dispatcher import BatchItem, DecisionResult, Dispatcher
from kuber_cron.scheduler.decisions.run_hash import RunHashBuilder
from kuber_cron.scheduler.election.term import Term
from kuber_cron.scheduler.maintenance.housekeeping import Housekeeper
from kuber_cron.scheduler.maintenance.reaper import MaintenanceEvent
from kuber_cron.worker.coordination.end_decider import end_action
from kuber_cron.worker.coordination.run_store import AttemptEnd, AttemptStart, NotStarted, RunStore
from kuber_cron.worker.execution.outcome import Outcome

KEYS = Keys("rq")
START = datetime(2026, 1, 1, tzinfo=UTC)
_TTL_SECONDS = 3600.0
_LONG_AGO_SETTLED = 1e6


def job(name: str, schedule: str = "* * * * *", **policy: Any) -> Job:
    """A job whose missed instants are all caught up with."""
    return Job(**{"id": name, "schedule": schedule, "command": "true", "catchup": "all", **policy})


class Clock:
    """Time as the model has it: for the deciders its own, for housekeeping Redis', to which hours may be added."""

    def __init__(self) -> None:
        self.at = START
        self.hours_ahead = 0.0
        self._elapsed = 0.0

    def now(self) -> datetime:
        return self.at

    def elapsed(self) -> float:
        # Never two readings within a worker's ttl: reaping is never at rest.
        self._elapsed += 1000.0
        return self._elapsed


class RedisClock(Clock):
    """What housekeeping reads."""

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(hours=self.hours_ahead)


class LossyStore(Store):
    """A store on a bad connection: requests and answers of the deciding script get lost, and come late."""

    def __init__(self, client: Redis) -> None:
        super().__init__(client, KEYS)
        self.fault = ""
        self.sent: list[tuple[list[Any], list[bytes], int]] = []
        """Every batch that was ever sent, whether it arrived or not."""

    def call_packed(self, script: str, head: Sequence[Any], rest: Sequence[bytes], count: int) -> Any:
        if script != "decide_batch" or not rest:
            return super().call_packed(script, head, rest, count)
        self.sent.append((list(head), list(rest), count))
        fault, self.fault = self.fault, ""
        if fault == "request lost":
            raise NotConnected(fault)
        reply = super().call_packed(script, head, rest, count)
        if fault == "answer lost":
            raise NotConnected(fault)
        return reply


class Replica:
    """One scheduler. It decides whenever it is asked to, believing in its term until Redis tells it otherwise."""

    def __init__(self, client: Redis, name: str, clock: Any, tidy_clock: Any) -> None:
        self.name = name
        self.store = LossyStore(client)
        self._dispatcher = Dispatcher(self.store, RunHashBuilder(client, None))
        self._clock = clock
        self.verdicts: list[DecisionResult] = []
        self._decider = Decider(
            self.store,
            self._dispatcher,
            self._clock,
            boot_token="boot",
            on_result=lambda v, _: self.verdicts.append(v),
        )
        self._housekeeper = Housekeeper(Store(client, KEYS), tidy_clock, 15.0)
        self._housekeeper._reaper._watch = SteppedWatch(client, KEYS)
        self.term: Term | None = None

    def claim(self, epoch: int) -> str:
        """Claim the epoch in Redis; the script's word."""
        reply = self.store.call("claim_fence", "claim", self.name, epoch, "cluster", 60_000)
        if reply[0] == b"CLAIMED":
            self.term = Term(epoch, self.name)
        return text(reply[0])

    def decide(self, catalog: Catalog, fault: str = "") -> bool:
        """Decide what is due; whether every call was answered."""
        assert self.term is not None
        self.store.fault = fault
        try:
            if self._decider.epoch != self.term.epoch:
                assert not self._decider.begin(self.term, catalog), "nothing was lost, and yet it says so"
            for _ in range(50):
                if self._decider.turn(self.term, catalog, _LONG_AGO_SETTLED, lambda: True) > 0:
                    return True
        except RedisUnreachableError:
            self._decider.forget()
            return False
        except FencedError:
            self._decider.forget()
            self.term = None
            raise
        finally:
            self.store.fault = ""
        raise AssertionError("the decider finds no rest")

    def send_swapped(self, jobs: Sequence[str], catalog: Catalog) -> None:
        """Decide each job's first due instant and its later ones in two batches, of which the second comes first."""
        assert self.term is not None
        stored = self._dispatcher.cursors()
        first: list[BatchItem] = []
        later: list[BatchItem] = []
        for name in jobs:
            entry = catalog.entries[name]
            for i, decision in enumerate(
                planner.plan(entry, stored.get(name, ""), self._clock.now()).decisions
            ):
                (later if i else first).append(self._dispatcher.item(decision, entry))
        for batch in (later, first, later):
            answers = self._dispatcher.apply(
                batch, self.term, cursors={}, leads=lambda: True, now=self._clock.now
            )
            told = [verdict for answer in answers for verdict in answer.results()]
            self.verdicts += [verdict for verdict in told if verdict.is_applied]

    def tidy(self) -> list[MaintenanceEvent]:
        """One round of housekeeping."""
        assert self.term is not None
        return list(self._housekeeper.round(self.term))


@dataclass(frozen=True, slots=True)
class Held:
    """An attempt that a worker believes to run, and how it was ended if it was."""

    run: str
    execution: str
    started: AttemptStart
    ending: AttemptEnd | None = None


@dataclass
class Worker:
    """One worker, by its ledger; dead ones are remembered for what they may still have to say."""

    name: str
    ledger: RunStore
    running: list[Held] = field(default_factory=list)
    unheard: list[tuple[str, str]] = field(default_factory=list)
    """Runs and executions that it started and may start again with the same name: the answer was lost."""


class World:
    """Two replicas, two workers and a cast of jobs."""

    def __init__(self, client: Redis, cast: Sequence[Job]) -> None:
        self.client = client
        self.clock, self.tidy_clock = Clock(), RedisClock()
        self.cast = {one.id: one for one in cast}
        self.jobs = dict(self.cast)
        self.catalog = Catalog(compile_entries(cast), 1, True, START, ())
        self.replicas = [Replica(client, name, self.clock, self.tidy_clock) for name in ("one", "two")]
        self.leader = self.replicas[0]
        self.epoch = 0
        self._numbers = iter(range(10**9))
        self.workers = [self._worker(), self._worker()]
        self.dead: list[Worker] = []
        self.ended: list[Held] = []
        self.take_over(0)

    # --- schedulers --------------------------------------------------------------------------------

    def take_over(self, i: int) -> None:
        """A replica claims the next epoch; the one before it is not told."""
        self.epoch += 1
        self.leader = self.replicas[i]
        assert self.leader.claim(self.epoch) == "CLAIMED"

    def fenced(self) -> list[Replica]:
        """Replicas that still believe in a term that is over."""
        return [one for one in self.replicas if one.term is not None and one.term.epoch != self.epoch]

    def alone(self) -> list[str]:
        """The jobs that have nothing to do with another's instants."""
        related = {
            name for job in self.jobs.values() for name in (*job.after, *([job.id] if job.after else []))
        }
        return [name for name in self.jobs if name not in related]

    def reload(self, jobs: Sequence[Job]) -> None:
        """The files hold these jobs now."""
        self.jobs = {one.id: one for one in jobs}
        self.catalog = Catalog(compile_entries(jobs), self.catalog.version + 1, True, self.clock.at, ())

    # --- workers -----------------------------------------------------------------------------------

    def _worker(self) -> Worker:
        name = f"w{next(self._numbers)}"
        worker = Worker(name, RunStore(Store(self.client, KEYS), worker=name, ttl_seconds=_TTL_SECONDS))
        worker.ledger.register(datetime.now(UTC))
        return worker

    def start(self, worker: Worker, run: str, *, heard: bool = True) -> AttemptStart | NotStarted | None:
        """Start a claimed run; without ``heard`` the worker does not know what came of it."""
        known = [execution for other, execution in worker.unheard if other == run]
        execution = known[0] if known else f"e{next(self._numbers)}"
        answer = worker.ledger.start(run, execution, datetime.now(UTC))
        if not heard:
            if not known:
                worker.unheard.append((run, execution))
            return None
        worker.unheard = [pair for pair in worker.unheard if pair != (run, execution)]
        if isinstance(answer, AttemptStart):
            worker.running.append(Held(run, execution, answer))
        return answer

    def end(self, worker: Worker, held: Held, kind: retry_policy.OutcomeKind) -> tuple[Held, str]:
        """The attempt has ended so; the worker tells the ledger what the run's policy makes of it."""
        policy = self.cast[self.job_of(held.run)]
        outcome = Outcome(kind=kind, exit_code={"success": 0, "failed": 1}.get(kind))
        decision = retry_policy.decide(
            policy, kind, exit_code=outcome.exit_code, spent=held.started.spent, rng=random.Random(0)
        )
        action, delay = end_action(decision, outcome)
        ending = AttemptEnd(
            action=action,
            outcome=kind,
            ended_at=datetime.now(UTC),
            delay_seconds=delay + 600.0 if action == "retry" else 0.0,
            spends_retry=action == "retry",
            duration_seconds=1.0,
            result=["type", 1],
        )
        worker.running = [one for one in worker.running if one is not held]
        told = Held(held.run, held.execution, held.started, ending)
        self.ended.append(told)
        return told, self.tell(worker, told)

    def tell(self, worker: Worker, held: Held) -> str:
        """The ledger's answer to an end, which may be told again."""
        assert held.ending is not None
        return worker.ledger.end(held.run, held.execution, held.ending)

    def die(self, i: int) -> None:
        """The worker's keys expire; another one takes its place. What it was doing may still be heard of."""
        worker = self.workers[i]
        mine = [*worker.unheard, *((held.run, held.execution) for held in worker.running)]
        executions = [f"rq:execution:{run}:{execution}" for run, execution in mine]
        self.client.delete(KEYS.alive(worker.name), *executions)
        self.client.expire(
            f"rq:worker:{worker.name}:executions", 420
        )  # RQ's own, set anew by each of its heartbeats
        self.dead.append(worker)
        self.workers[i] = self._worker()

    def job_of(self, run: str) -> str:
        """The job of a run by the run's name."""
        return job_of_run(run)
