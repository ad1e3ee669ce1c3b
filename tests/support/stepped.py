"""A leader and a worker that go on step by step, as the test says, on a real Redis and without processes or waiting.

The leader decides given instants through the real decider, dispatcher and scripts; the worker claims, starts and ends
runs through the real ledger. Instants lie in the past, for the deciding script refuses those ahead of Redis' clock.
:func:`assert_sound` holds the result to the invariants of reliability.md §9, read from Redis alone.
"""

import contextlib
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from tests.support.clocks import SteppedClock
from tests.support.watches import SteppedWatch

from kuber_cron.common.jobs.job import Job
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs.run_id import run_id
from kuber_cron.scheduler.decisions import planner
from kuber_cron.scheduler.decisions.catalog import Catalog, compile_entries
from kuber_cron.scheduler.decisions.decider import Decider
from kuber_cron.scheduler.decisions.dispatcher import DecisionResult, Dispatcher
from kuber_cron.scheduler.decisions.planner import Decision
from kuber_cron.scheduler.decisions.removals import Removals
from kuber_cron.scheduler.decisions.run_hash import RunHashBuilder
from kuber_cron.scheduler.election.term import Term
from kuber_cron.scheduler.maintenance.housekeeping import Housekeeper
from kuber_cron.scheduler.maintenance.reaper import MaintenanceEvent
from kuber_cron.worker.coordination.run_store import AttemptEnd, AttemptStart, RunStore

KEYS = Keys("rq")
T0 = datetime(2026, 3, 1, tzinfo=UTC)
UNFINISHED = {"queued", "started", "scheduled", "deferred"}


def minute(number: float) -> datetime:
    """So many minutes after T0."""
    return T0 + timedelta(minutes=number)


def job(name: str = "job", schedule: str = "* * * * *", **policy: Any) -> Job:
    """A job whose missed instants are all caught up, unless the policy says otherwise."""
    return Job(**{"id": name, "schedule": schedule, "command": "true", "catchup": "all", **policy})


@dataclass(frozen=True)
class Logged:
    """One entry of a job's decision log."""

    decision: str
    reason: str
    first: datetime
    last: datetime
    count: int
    run: str
    epoch: int
    by: str


def log_of(client: redis.Redis, name: str = "job", keys: Keys = KEYS) -> list[Logged]:
    """The job's decision log, oldest first."""
    entries = []
    for _, fields in client.xrange(keys.log(name)):
        told = {key.decode(): value.decode() for key, value in fields.items()}
        entries.append(
            Logged(
                decision=told["decision"],
                reason=told["reason"],
                first=datetime.fromtimestamp(int(told["first"]), UTC),
                last=datetime.fromtimestamp(int(told["last"]), UTC),
                count=int(told["count"]),
                run=told["run"],
                epoch=int(told["epoch"]),
                by=told["by"],
            )
        )
    return entries


def words_of(client: redis.Redis, name: str = "job", keys: Keys = KEYS) -> list[str]:
    """The log in short: ``queued``, ``skipped overlap``, ``ended replaced`` …"""
    return [f"{entry.decision} {entry.reason}".strip() for entry in log_of(client, name, keys)]


class SteppedLeader:
    """One replica's deciding, at instants that the test names."""

    def __init__(
        self,
        client: redis.Redis,
        *jobs: Job,
        epoch: int | None = None,
        keys: Keys = KEYS,
        holder: str = "leader",
        removal_seconds: float = 180.0,
        at: datetime = T0,
        boot_token: str = "installation",  # noqa: S107 - names a boot, opens nothing
    ) -> None:
        self.client, self.keys = client, keys
        self.clock = SteppedClock(at)
        fence = keys.fence
        if epoch is None:
            epoch = int(client.hget(fence, "epoch") or 1)
        if not client.hexists(fence, "epoch"):
            client.hset(fence, mapping={"epoch": epoch, "holder": holder})
        self.term = Term(epoch, holder)
        self.catalog = Catalog(compile_entries(jobs), 1, True, at, ())
        self.settled_seconds = 0.0
        self.leads: Callable[[], bool] = lambda: True
        self.verdicts: list[DecisionResult] = []
        self.state_lost = 0
        self.store = Store(client, keys)
        self.dispatcher = Dispatcher(self.store, RunHashBuilder(client, None))
        self.decider = Decider(
            self.store,
            self.dispatcher,
            self.clock,
            boot_token=boot_token,
            on_result=lambda verdict, _: self.verdicts.append(verdict),
            removals=Removals(removal_seconds),
        )
        self.housekeeper = Housekeeper(self.store, self.clock, 1.0)

    def edit(self, *jobs: Job, settled_seconds: float = 0.0) -> None:
        """The files hold these jobs now."""
        entries = compile_entries(jobs, self.catalog.entries)
        self.catalog = Catalog(entries, self.catalog.version + 1, True, self.clock.at, ())
        self.settled_seconds = settled_seconds

    def lead(self, epoch: int, *, through: int = 0) -> None:
        """This replica wins a new term, which fences every older one."""
        self.client.hset(self.keys.fence, mapping={"epoch": epoch, "holder": self.term.holder})
        self.term = replace(self.term, epoch=epoch, through=through)
        self.decider.forget()

    def decide(self, at: datetime) -> list[DecisionResult]:
        """Decide all that is due at that instant, as the deciding loop would; what was applied."""
        self.clock.at = at
        before = len(self.verdicts)
        self.turn()
        while self.decider._pending.has_edits or (
            (following := self.decider._pending.due.next_at()) is not None and following <= at
        ):
            self.turn()
        return self.verdicts[before:]

    def turn(self) -> None:
        """One turn of the deciding loop, as the service makes it."""
        try:
            if self.decider.epoch != self.term.epoch:
                self.state_lost += self.decider.begin(self.term, self.catalog)
            self.decider.turn(self.term, self.catalog, self.settled_seconds, self.leads)
        except Exception:
            self.decider.forget()
            raise

    def plan(self, name: str, at: datetime) -> tuple[Decision, ...]:
        """What the planner makes of the job at that instant, by the cursor that Redis holds."""
        return planner.plan(self.catalog.entries[name], self.cursor(name), at).decisions

    def send(
        self, *decisions: Decision, cursors: Mapping[str, str] | None = None, term: Term | None = None
    ) -> list[str]:
        """Apply these decisions past the decider; each one's verdict."""
        if cursors is None:
            cursors = self.dispatcher.cursors()
        items = [self.dispatcher.item(one, self.catalog.entries.get(one.job)) for one in decisions]
        applied = self.dispatcher.apply(
            items, term or self.term, cursors=cursors, leads=self.leads, now=self.clock.now
        )
        return [verdict.word for answer in applied for verdict in answer.results()]

    def minutes(self, first: int, last: int) -> None:
        """Decide each of these minutes at its own time."""
        for number in range(first, last + 1):
            self.decide(minute(number))

    def tidy(self, *, rounds: int = 1, seconds_ahead: float = 0.0) -> list[MaintenanceEvent]:
        """Rounds of housekeeping at Redis' own time, with dead workers reaped at once."""
        seconds, micro = self.client.time()
        clock = SteppedClock(datetime.fromtimestamp(seconds + micro / 1e6 + seconds_ahead, UTC))
        self.housekeeper._clock = self.housekeeper._reaper._clock = clock
        self.housekeeper._reaper._watch = SteppedWatch(self.client, self.keys)
        found = []
        for _ in range(rounds):
            self.housekeeper.follow_files(self.term, self.catalog.entries)
            found += self.housekeeper.round(self.term)
        return found

    # --- what Redis holds --------------------------------------------------------------------------

    def log(self, name: str = "job") -> list[Logged]:
        return log_of(self.client, name, self.keys)

    def words(self, name: str = "job") -> list[str]:
        return words_of(self.client, name, self.keys)

    def run(self, number: float, name: str = "job") -> str:
        """The id of the job's run at that minute."""
        return run_id(name, minute(number))

    def status(self, number: float, name: str = "job") -> str:
        return (self.client.hget(self.keys.run(self.run(number, name)), "status") or b"").decode()

    def queued(self, queue: str = "default") -> list[str]:
        return [one.decode() for one in self.client.lrange(self.keys.queue(queue), 0, -1)]

    def missed(self) -> dict[str, int]:
        found = self.client.hgetall(self.keys.missed)
        return {name.decode(): int(count) for name, count in found.items()}

    def cursor(self, name: str = "job") -> str:
        return (self.client.hget(self.keys.cursors, name) or b"").decode()


class SteppedWorker:
    """A worker's book-keeping, with the test in the place of its commands."""

    def __init__(self, client: redis.Redis, name: str = "worker", keys: Keys = KEYS) -> None:
        self.client, self.keys, self.name = client, keys, name
        self.ledger = RunStore(Store(client, keys), worker=name, ttl_seconds=600)
        self.ledger.register(T0)
        self.running: dict[str, str] = {}
        self._count = 0

    def claim(self, queue: str = "default") -> str:
        """The id that was claimed, ``""`` for none."""
        return next(iter(self.ledger.claim([queue], 1)), "")

    def start(self, run: str, at: datetime = T0) -> AttemptStart | str:
        """Start what was claimed, or why it was not."""
        self._count += 1
        # Of this process alone: what a test leaves running is looked for on the whole machine, by this id.
        execution = f"{self.name}-{os.getpid()}-{self._count}"
        answer = self.ledger.start(run, execution, at)
        if not isinstance(answer, AttemptStart):
            return answer.sentence
        self.running[run] = execution
        return answer

    def take(self, queue: str = "default", at: datetime = T0) -> str:
        """Claim and start runs until one runs; its id, ``""`` when the queue is empty."""
        while run := self.claim(queue):
            if isinstance(self.start(run, at), AttemptStart):
                return run
        return ""

    def end(
        self,
        run: str,
        action: str = "finish",
        outcome: str = "",
        *,
        at: datetime = T0,
        delay: float = 0,
        result: Sequence[str | int | float] = ("type", "1"),
    ) -> str:
        """End the attempt; the script's answer."""
        usual = {"finish": "success", "requeue": "interrupted", "stop": "stopped"}
        ending = AttemptEnd(
            action=action,
            outcome=outcome or usual.get(action, "failed"),
            ended_at=at,
            delay_seconds=delay,
            spends_retry=action == "retry",
            duration_seconds=1.0,
            result=result,
        )
        return self.ledger.end(run, self.running[run], ending)

    def work(self, queue: str = "default") -> list[str]:
        """Run everything in the queue to success, one after the other; the runs' ids."""
        done = []
        while run := self.take(queue):
            self.end(run)
            done.append(run)
        return done

    def die(self) -> None:
        """The worker is gone, and its heartbeats' time is over."""
        self.client.delete(self.keys.alive(self.name))
        for run, execution in self.running.items():
            self.client.delete(f"{self.keys.prefix}:execution:{run}:{execution}")
        self.running.clear()


# --- invariants ------------------------------------------------------------------------------------


def places(client: redis.Redis, keys: Keys = KEYS) -> Counter[str]:
    """How many places each run stands in: a queue, a claim list, in work, waiting for a retry, held."""
    found: Counter[str] = Counter()
    for key in client.scan_iter(f"{keys.prefix}:queue:*"):
        found.update(run.decode() for run in client.lrange(key, 0, -1))
    for key in client.scan_iter(f"{keys.claimers}:*"):
        found.update(run.decode() for run in client.lrange(key, 0, -1))
    for key in client.scan_iter(f"{keys.prefix}:wip:*"):
        found.update(member.decode().rpartition(":")[0] for member in client.zrange(key, 0, -1))
    for key in client.scan_iter(f"{keys.prefix}:scheduled:*"):
        found.update(run.decode() for run in client.zrange(key, 0, -1))
    found.update(run.decode() for run in client.zrange(keys.held, 0, -1))
    return found


def statuses(client: redis.Redis, keys: Keys = KEYS) -> dict[str, str]:
    """Every run that has a hash, and its status."""
    prefix = keys.run("")
    found = list(client.scan_iter(f"{prefix}*", count=5000))
    with client.pipeline(transaction=False) as pipe:
        for key in found:
            pipe.hget(key, "status")
        told = pipe.execute()
    return {
        key.decode().removeprefix(prefix): (status or b"").decode()
        for key, status in zip(found, told, strict=True)
    }


def assert_sound(client: redis.Redis, keys: Keys = KEYS, *, swept: bool = True, counted: bool = True) -> None:
    """No run is in limbo, none in two places, and nothing is held by a run that is over.

    ``swept``: housekeeping has looked. ``counted``: nobody has tampered with the log, the cursors or the fence.
    """
    standing, found = places(client, keys), statuses(client, keys)
    unfinished = {run for run, status in found.items() if status in UNFINISHED}
    assert {run: standing[run] for run in unfinished} == dict.fromkeys(unfinished, 1), "in limbo, or doubled"
    held = {run.decode() for run in client.zrange(keys.held, 0, -1)}
    assert {run for run, status in found.items() if status == "deferred"} <= held
    gates = {key.decode().removeprefix(keys.gates("")) for key in client.scan_iter(keys.gates("*"))}
    gated = {
        (key.decode().removeprefix(keys.gated("")), run.decode())
        for key in client.scan_iter(keys.gated("*"))
        for run in client.smembers(key)
    }
    assert gated == {(other.decode(), run) for run in gates for other in client.hkeys(keys.gates(run))}
    if swept:
        opened = {run.decode() for run in client.hkeys(keys.open_runs)}
        active = {
            run.decode() for key in client.scan_iter(keys.active("*")) for run in client.zrange(key, 0, -1)
        }
        assert opened == active == unfinished, "something is held by a run that is over"
        assert held <= unfinished
        assert gates <= held
        assert {other for other, _ in gated} <= unfinished
        members = {run.decode() for key in client.scan_iter(keys.group("*")) for run in client.smembers(key)}
        called_up = {run for run in members if client.hexists(keys.run(run), "place_at")}
        assert members <= {
            run
            for run, status in found.items()
            if status == "started" or (status == "queued" and run in called_up)
        }
    if counted:
        _assert_counted(client, keys)


def _assert_counted(client: redis.Redis, keys: Keys) -> None:
    through = int(client.hget(keys.fence, "through") or 0)
    counted = 0
    for key in client.scan_iter(keys.log("*")):
        name = key.decode().removeprefix(keys.log(""))
        entries = log_of(client, name, keys)
        assert [entry.epoch for entry in entries] == sorted(entry.epoch for entry in entries)
        decided = [e for e in entries if e.decision in {"queued", "held", "skipped", "known"}]
        counted += sum(entry.count for entry in decided)
        spans = [(entry.first, entry.last) for entry in decided]
        assert all(before[1] < after[0] for before, after in itertools.pairwise(spans)), name
    assert counted == through, "fence.through does not count the log's decisions"


@contextlib.contextmanager
def stepped_leaders(client: redis.Redis, *, counted: bool = True) -> Iterator[Callable[..., SteppedLeader]]:
    """A factory of leaders; at the end what they have left behind is swept and has to be sound (``assert_sound``)."""
    made: list[SteppedLeader] = []

    def make(*jobs: Job, **arguments: Any) -> SteppedLeader:
        made.append(SteppedLeader(arguments.pop("client", client), *jobs, **arguments))
        return made[-1]

    yield make
    for keys in {leader.keys for leader in made}:
        assert_sound(client, keys, swept=False, counted=counted)
        leader = next(leader for leader in reversed(made) if leader.keys == keys)
        leader.term = replace(leader.term, epoch=int(client.hget(keys.fence, "epoch") or 0))
        leader.tidy(rounds=10)
        assert_sound(client, keys, counted=counted)


def chain(*names: str, schedule: str = "* * * * *", **policy: Any) -> list[Job]:
    """Jobs of one schedule, each after the one before it."""
    return [job(name, schedule, after=[names[n - 1]] if n else [], **policy) for n, name in enumerate(names)]


def seen(make_leader: Callable[..., SteppedLeader], *jobs: Job, **arguments: Any) -> SteppedLeader:
    """A leader whose jobs (one, if none are given) have been seen at ``T0``."""
    made = make_leader(*(jobs or (job(),)), **arguments)
    made.decide(T0)
    return made
