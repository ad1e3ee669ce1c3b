"""The state machine: whatever schedulers, workers, Redis' readers and a bad network may do, in any order."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from redis import Redis
from rq.job import Job as RQJob
from rq.queue import Queue
from rq.serializers import JSONSerializer
from tests.models import laws
from tests.models.casts import CASTS, MINUTES
from tests.models.laws import Facts
from tests.models.operators import Operators
from tests.models.snapshot import Camera, Snapshot
from tests.models.world import START, Held, Replica, Worker, World

from kuber_cron.common.errors import FencedError
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs.retry_policy import OutcomeKind
from kuber_cron.worker.coordination.run_store import AttemptStart

NUMBERS = st.integers(0, 23)
KINDS: tuple[OutcomeKind, ...] = (
    "success",
    "failed",
    "timed_out",
    "signalled",
    "lost",
    "interrupted",
    "stopped",
)
FAULTS = ("", "", "", "", "request lost", "answer lost")


class ScriptsMachine(RuleBasedStateMachine):
    """Two replicas, two workers, and everybody else."""

    def __init__(self, client: Redis, cast: str) -> None:
        super().__init__()
        client.flushall()
        self.client = client
        self.camera = Camera(client)
        self.world = World(client, CASTS[cast])
        self.operators = Operators(client, self.world)
        self.facts = Facts(
            jobs=self.world.cast,
            minutes={name: MINUTES.get(one.schedule, 1) for name, one in self.world.cast.items()},
            limits=laws.limits_of(self.world.cast),
        )
        self.world.leader.decide(self.world.catalog)
        self._applied()

    # --- schedulers --------------------------------------------------------------------------------

    @rule(minutes=st.integers(0, 3), fault=st.sampled_from(FAULTS))
    def decide(self, minutes: int, fault: str) -> None:
        self.world.clock.at += timedelta(minutes=minutes, seconds=1)
        self.world.leader.decide(self.world.catalog, fault)
        self._applied()

    @rule(who=st.integers(0, 1))
    def take_over(self, who: int) -> None:
        self.world.take_over(who)

    @precondition(lambda self: self.world.fenced())
    @rule(tidies=st.booleans())
    def a_fenced_leader_goes_on(self, *, tidies: bool) -> None:
        (replica,) = self.world.fenced()
        before = self.camera().essence()
        try:
            if tidies:
                replica.tidy()
                raise AssertionError("housekeeping under a fenced epoch was not refused")
            replica.decide(self.world.catalog)
        except FencedError:
            pass
        assert self.camera().essence() == before

    @precondition(lambda self: any(replica.store.sent for replica in self.world.replicas))
    @rule(i=NUMBERS, j=NUMBERS)
    def a_batch_arrives_late(self, i: int, j: int) -> None:
        replica = _pick([one for one in self.world.replicas if one.store.sent], i)
        self._arrive(replica, _pick(replica.store.sent, j))

    @precondition(lambda self: self.world.leader.store.sent)
    @rule()
    def the_newest_batch_arrives_again(self) -> None:
        self._arrive(self.world.leader, self.world.leader.store.sent[-1])

    def _arrive(self, replica: Replica, batch: tuple[list[Any], list[bytes], int]) -> None:
        before = self.camera().essence()
        reply = [part.decode() for part in Store.call_packed(replica.store, "decide_batch", *batch)]
        if reply[0] == "FENCED" or not {"QUEUED", "HELD", "SKIPPED", "MOVE", "DROPPED", "KNOWN"} & set(
            reply[2::2]
        ):
            assert self.camera().essence() == before
        self._applied()

    @precondition(lambda self: self.world.alone())
    @rule(minutes=st.integers(2, 3))
    def two_batches_swap(self, minutes: int) -> None:
        """A leader that does not wait for answers, and a network that reorders."""
        self.world.clock.at += timedelta(minutes=minutes)
        self.world.leader.send_swapped(self.world.alone(), self.world.catalog)
        self._applied()

    @rule(hours=st.sampled_from([0.0, 0.0, 1.0]))
    def tidy(self, hours: float) -> None:
        """Retries are due an hour later, and only then."""
        claimed = [worker.ledger.claimed_runs() for worker in self.world.workers]
        self.world.tidy_clock.hours_ahead = hours
        self.world.leader.tidy()
        self._applied()
        self._is_swept()
        assert [worker.ledger.claimed_runs() for worker in self.world.workers] == claimed, (
            "a live worker's claims"
        )

    @rule(i=NUMBERS)
    def pause_or_resume(self, i: int) -> None:
        if not self.client.delete("rq:kuber-cron:paused"):
            self.client.hset("rq:kuber-cron:paused", _pick([*sorted(self.world.cast), "*"], i), 0)

    @rule(i=NUMBERS)
    def remove_or_add(self, i: int) -> None:
        """The files lose a job that no other comes after, or get it back."""
        world = self.world
        watched = {other for one in world.cast.values() for other in one.after}
        name = _pick(sorted(world.cast.keys() - watched), i)
        kept = [one for one in world.cast.values() if one.id in world.jobs and one.id != name]
        world.reload(kept if name in world.jobs else [*kept, world.cast[name]])

    # --- workers -----------------------------------------------------------------------------------

    @rule(i=st.integers(0, 1), count=st.integers(1, 6), other_first=st.booleans())
    def claim(self, i: int, count: int, *, other_first: bool) -> None:
        queues = ["other", "default"] if other_first else ["default", "other"]
        self.world.workers[i].ledger.claim(queues, count)

    @rule(i=st.integers(0, 1), j=NUMBERS, heard=st.sampled_from([True, True, True, False]))
    def start(self, i: int, j: int, *, heard: bool) -> None:
        worker = self.world.workers[i]
        mine = sorted({*worker.ledger.claimed_runs(), *(run for run, _ in worker.unheard)})
        if mine:
            self.world.start(worker, _pick(mine, j), heard=heard)

    @rule(i=st.integers(0, 1), j=NUMBERS)
    def start_what_is_not_claimed(self, i: int, j: int) -> None:
        """An answer to a claim that was lost, and the claims given back since; or a worker gone mad."""
        worker = self.world.workers[i]
        mine = worker.ledger.claimed_runs()
        now = self.camera()
        runs = [run for run in sorted(now.runs) if run not in mine]
        if runs:
            answer = worker.ledger.start(_pick(runs, j), "mad", self.world.tidy_clock.now())
            assert not isinstance(answer, AttemptStart)
            assert self.camera().essence() == now.essence()

    @rule(i=st.integers(0, 1), count=st.integers(1, 4), other_first=st.booleans())
    def claim_and_start(self, i: int, count: int, *, other_first: bool) -> None:
        worker = self.world.workers[i]
        self.claim(i, count, other_first=other_first)
        for run in worker.ledger.claimed_runs()[::-1]:
            self.world.start(worker, run)

    @rule(minutes=st.integers(1, 2), i=st.integers(0, 1), count=st.integers(1, 4))
    def decide_and_start(self, minutes: int, i: int, count: int) -> None:
        self.decide(minutes, "")
        self.claim_and_start(i, count, other_first=False)

    @rule(i=st.integers(0, 1), kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    def work(self, i: int, kinds: list[OutcomeKind]) -> None:
        """As many attempts as there are kinds of end, one after the other."""
        worker = self.world.workers[i]
        for kind in kinds:
            self.claim_and_start(i, 1, other_first=False)
            if worker.running:
                self.laws_hold()
                held = worker.running[0]
                self._told(held, lambda held=held, kind=kind: self.world.end(worker, held, kind)[1])

    @precondition(lambda self: any(worker.running for worker in self.world.workers))
    @rule(i=NUMBERS)
    def start_again(self, i: int) -> None:
        """A start is repeated with the same execution: it says what it said, or that the run is somebody else's."""
        worker, held = _pick([(w, h) for w in self.world.workers for h in w.running], i)
        owner = self.camera().runs.get(held.run, {}).get("execution")
        before = self.camera().essence()
        answer = worker.ledger.start(held.run, held.execution, self.world.tidy_clock.now())
        if owner == held.execution:
            assert isinstance(answer, AttemptStart)
            assert answer.attempt == held.started.attempt
        elif isinstance(answer, AttemptStart):
            # It was lost or interrupted, and this very worker has claimed it anew.
            worker.running = [Held(h.run, h.execution, answer) if h is held else h for h in worker.running]
            return
        if isinstance(answer, AttemptStart):
            assert self.camera().essence() == before

    @precondition(lambda self: self._known_attempts())
    @rule(i=NUMBERS, kind=st.sampled_from(KINDS))
    def end(self, i: int, kind: OutcomeKind) -> None:
        """An attempt ends; its worker may have been taken for dead meanwhile."""
        worker, held = _pick(self._known_attempts(), i)
        self._told(held, lambda: self.world.end(worker, held, kind)[1])

    @precondition(lambda self: self._known_attempts())
    @rule(i=NUMBERS)
    def succeed(self, i: int) -> None:
        self.end(i, "success")

    @precondition(lambda self: self.world.ended)
    @rule(i=NUMBERS)
    def end_again(self, i: int) -> None:
        held = _pick(self.world.ended, i)
        self._told(held, lambda: self.world.tell(self.world.workers[0], held))

    @rule(i=st.integers(0, 1))
    def die(self, i: int) -> None:
        self.world.die(i)

    @rule(i=st.integers(0, 1), stops=st.booleans(), other=st.booleans())
    def a_worker_is_lost(self, i: int, *, stops: bool, other: bool) -> None:
        """With what it runs and what it has claimed, some of which may have been stopped or ended meanwhile."""
        self.claim_and_start(i, 2, other_first=other)
        self.claim(i, 2, other_first=other)
        self.laws_hold()
        if stops:
            self.stop_a_run(0)
            self.decide(1, "")
            self.laws_hold()
        self.die(i)
        self.tidy(0.0)

    @rule(i=st.integers(0, 1))
    def beat(self, i: int) -> None:
        worker = self.world.workers[i]
        runs = self.camera().runs
        pairs = [(held.run, held.execution) for held in worker.running]
        _, told = worker.ledger.heartbeat(pairs, self.world.tidy_clock.now())
        for (run, execution), word in zip(pairs, told, strict=True):
            is_mine = runs.get(run, {}).get("execution") == execution
            gone = "GONE" if run in runs else "ABSENT"
            assert word == (gone if not is_mine else "STOP" if runs[run]["stop"] else "OK")

    # --- operators ----------------------------------------------------------------------------------

    @rule(i=NUMBERS, by=st.sampled_from(["key", "rq", "ended"]))
    def delete_a_run(self, i: int, by: str) -> None:
        """Somebody presses Delete in rq-dashboard, or takes the key itself away."""
        now = self.camera()
        runs = sorted(now.runs.keys() - now.unfinished.keys() if by == "ended" else now.unfinished)
        if not runs:
            return
        run = _pick(runs, i)
        if by == "key":
            self.client.delete(f"rq:job:{run}")
        else:
            # RQ refuses, before it does anything, where an execution's key has expired.
            with suppress(ValueError):
                RQJob.fetch(run, connection=self.client, serializer=JSONSerializer).delete()
            if self.client.exists(f"rq:job:{run}"):
                return
        self._deleted(now, {run})

    @rule(name=st.sampled_from(["default", "other"]))
    def empty_a_queue(self, name: str) -> None:
        """Somebody presses Empty in rq-dashboard."""
        now = self.camera()
        runs = now.values.get(f"rq:queue:{name}", ())
        Queue(name, connection=self.client, serializer=JSONSerializer).empty()
        self._deleted(now, set(runs))

    @rule(i=NUMBERS)
    def requeue_a_failed_run(self, i: int) -> None:
        """Somebody presses Requeue in rq-dashboard."""
        now = self.camera()
        runs = sorted(
            {run for failed in now.named("rq:failed:").values() for run in failed} & now.runs.keys()
        )
        if runs:
            run = _pick(runs, i)
            RQJob.fetch(run, connection=self.client, serializer=JSONSerializer).requeue()
            self.facts.requeued.add(run)

    @precondition(lambda self: self.world.jobs)
    @rule(i=NUMBERS, force=st.booleans(), chain=st.booleans(), fault=st.sampled_from(FAULTS))
    def trigger(self, i: int, fault: str, *, force: bool, chain: bool) -> None:
        self._asked("trigger", i, fault, force=force, chain=chain)

    @precondition(lambda self: self.world.jobs)
    @rule(i=NUMBERS, back=st.integers(0, 4), force=st.booleans(), fault=st.sampled_from(FAULTS))
    def backfill(self, i: int, back: int, fault: str, *, force: bool) -> None:
        self._asked("backfill", i, fault, force=force, back=back)

    def _asked(
        self, action: str, i: int, fault: str, *, force: bool, chain: bool = False, back: int = 0
    ) -> None:
        """Somebody asks, and the leader answers: by the rules, and nothing twice."""
        job = _pick(sorted(self.world.jobs), i)
        request = self.operators.request(job, action, force=force, chain=chain, back=back)
        before = self.camera()
        self.operators.answer(fault)
        made = self.operators.runs_of(request)
        new = {one.run for one in made if one.verdict in {"queued", "held"}}
        now = self.camera()
        assert set(now.runs.keys() - before.runs.keys()) == new
        assert now.own("cursor") == before.own("cursor")
        if force and action == "trigger":
            self.facts.forced |= new
        if action == "backfill":
            self.facts.in_line |= new
        paused = {*before.own("paused")} & {job, "*"}
        assert not (paused and new and not force), f"{job} is paused, and {new} were made"

    @precondition(lambda self: self.operators.store.sent)
    @rule(i=NUMBERS)
    def what_makes_runs_by_hand_arrives_again(self, i: int) -> None:
        before = self.camera().essence()
        assert self.operators.send_again(i)[0] in {"GONE", "FENCED"}
        assert self.camera().essence() == before

    @precondition(lambda self: self.world.fenced() and self.world.jobs)
    @rule(i=NUMBERS)
    def a_fenced_leader_looks_into_its_inbox(self, i: int) -> None:
        (replica,) = self.world.fenced()
        self.operators.request(_pick(sorted(self.world.jobs), i), "trigger", force=False, chain=False, back=0)
        before = self.camera().essence()
        with suppress(FencedError):
            self.operators.request_loop(replica).drain()
            raise AssertionError("a look into the inbox under a fenced epoch was not refused")
        assert self.camera().essence() == before
        self.operators.withdraw_all()

    @rule(i=NUMBERS)
    def stop_by_hand(self, i: int) -> None:
        now = self.camera()
        runs = sorted(now.runs)
        if not runs:
            return
        run = _pick(runs, i)
        word = self.operators.stop(run).word
        status = now.runs[run]["status"]
        if status == "started":
            assert word == "STOPPING"
        elif status in {"queued", "deferred", "scheduled"}:
            assert word == "STOPPED"
            assert self.camera().runs[run]["outcome"] == "stopped"
        else:
            assert word in {"OVER", "STOPPING"}

    @rule(i=NUMBERS, force=st.booleans())
    def retry_by_hand(self, i: int, *, force: bool) -> None:
        now = self.camera()
        runs = sorted(now.runs.keys() - now.unfinished.keys())
        if not runs:
            return
        run = _pick(runs, i)
        word = self.operators.retry(run, force=force).word
        assert word in {"QUEUED", "HELD", "OVERLAP", "LIVE"}
        if word in {"QUEUED", "HELD"}:
            self.facts.retried.add(run)
            self.facts.outcomes.pop(run, None)
            self.facts.requeued.discard(run)
            (self.facts.forced if force else self.facts.in_line).add(run)
            (self.facts.in_line if force else self.facts.forced).discard(run)

    @rule(i=NUMBERS)
    def stop_a_run(self, i: int) -> None:
        started = [run for run, fields in self.camera().unfinished.items() if fields["status"] == "started"]
        if started:
            self.client.hset(f"rq:job:{_pick(sorted(started), i)}", "stop", "stopped")

    # --- what must hold ----------------------------------------------------------------------------

    @invariant()
    def laws_hold(self) -> None:
        now = self.camera()
        self.facts.see(now)
        self.facts.unswept &= now.own("open").keys()
        wrong = laws.broken(now, self.facts)
        assert not wrong, "\n".join(wrong)

    def teardown(self) -> None:
        """Everything is driven to its end; then nothing is held, and nothing is left."""
        world = self.world
        self.client.delete("rq:kuber-cron:paused")
        world.tidy_clock.hours_ahead = 1.0
        for _ in range(60 + len(self.camera().unfinished)):
            world.clock.at += timedelta(seconds=1)
            assert world.leader.decide(world.catalog)
            world.leader.tidy()
            for worker in [*world.workers, *world.dead]:
                self._finish(worker)
            self.laws_hold()
            now = self.camera()
            if not now.unfinished and not now.own("open"):
                break
        else:
            raise AssertionError(f"never over: {self.camera().unfinished}")
        # Nobody's heart beats any more.
        if left_running := list(self.client.scan_iter(match="rq:execution:*")):
            self.client.delete(*left_running)
        world.leader.tidy()
        now = self.camera()
        self._is_swept()
        left = laws.left_over(now, self.facts)
        assert not left, "\n".join(left)
        seconds = int((world.clock.at - START).total_seconds())
        for name in world.jobs:
            step = 60 * self.facts.minutes[name]
            reached = int(now.own("cursor")[name].split("|")[0]) - int(START.timestamp())
            assert reached // step == seconds // step, f"{name} is decided up to {reached} of {seconds}"

    # --- helpers -----------------------------------------------------------------------------------

    def _finish(self, worker: Worker) -> None:
        world = self.world
        if worker in world.workers:
            worker.ledger.claim(["default", "other"], 50)
            for run in [*worker.ledger.claimed_runs()[::-1], *(run for run, _ in worker.unheard)]:
                world.start(worker, run)
        for held in list(worker.running):
            world.end(worker, held, "success")

    def _known_attempts(self) -> list[tuple[Worker, Held]]:
        return [(w, h) for w in [*self.world.workers, *self.world.dead] for h in w.running]

    def _told(self, held: Held, tell: Any) -> None:
        """Ends are recorded for the owner alone, and once."""
        now = self.camera()
        fields = now.runs.get(held.run, {})
        word = tell()
        note(f"{held.run} {held.execution}: {word}")
        if fields.get("execution") == held.execution:
            assert word in {"DONE", "RECOVERED", "STOPPED"}
            return
        again = {"REPEATED", "RECOVERED"}
        assert word in (again if fields.get("ended_execution") == held.execution else {"LATE"})
        assert self.camera().essence() == now.essence()

    def _applied(self) -> None:
        """After a job was dropped its earlier batches count as delivered: only then could its cursor come back."""
        paused = self.client.hkeys("rq:kuber-cron:paused")
        for replica in self.world.replicas:
            for verdict in replica.verdicts:
                if verdict.decision.kind == "queue" and {verdict.decision.job.encode(), b"*"} & {*paused}:
                    assert (verdict.word, verdict.detail) == ("SKIPPED", "suspended")
            dropped = {v.decision.job for v in replica.verdicts if v.decision.kind == "drop"}
            replica.verdicts.clear()
            if dropped:
                for other in self.world.replicas:
                    other.store.sent.clear()

    def _is_swept(self) -> None:
        now = self.camera()
        is_open = now.own("open").keys()
        assert is_open <= now.unfinished.keys(), "housekeeping has left something open"
        assert now.unfinished.keys() - is_open <= self.facts.requeued
        for group, limit in self.facts.limits.items():
            if waiting := now.own(f"waiting:{group}"):
                on_the_way = [
                    run
                    for run, f in now.unfinished.items()
                    if f["group"] == group and f["status"] in {"queued", "started"}
                ]
                assert len(on_the_way) >= limit, f"{waiting} wait for group {group}, which has room"

    def _deleted(self, before: Snapshot, runs: set[str]) -> None:
        self.facts.see(before)
        self.facts.deleted |= runs
        self.facts.forgotten |= {run for run in runs if run in self.facts.outcomes}
        self.facts.unswept |= runs & before.own("open").keys()


def _pick(options: list[Any], i: int) -> Any:
    return options[i % len(options)]
