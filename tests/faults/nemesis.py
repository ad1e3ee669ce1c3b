"""The nemesis: what is done to the cluster, when, and how soon all has to be well again (spec: reliability.md §9).

``plan`` is pure: one seed, one schedule. Each step runs in a thread of its own and takes the lock of what it
hits, so that faults overlap, but never two on the same thing. Not injected: clocks (setting one needs root; no
hook for it is in the product) and full disks (the same).
"""

import random
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import redis
from tests.faults.cluster import Cluster
from tests.faults.history import Fault
from tests.faults.member import Member
from tests.faults.proxy import Proxy
from tests.support.api_server import ApiServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One fault of the schedule: at ``offset`` seconds, for ``seconds``, with a number that picks among equals."""

    offset: float
    kind: str
    seconds: float
    pick: int


def plan(seed: int, kinds: Sequence[str], *, seconds: float, faults: int, longest: float) -> tuple[Step, ...]:
    """A schedule in which each kind comes about equally often, spread evenly with some jitter."""
    rng = random.Random(seed)
    order: list[str] = []
    while len(order) < faults:
        round_ = list(kinds)
        rng.shuffle(round_)
        order.extend(round_)
    gap = seconds / max(1, faults)
    return tuple(
        Step(
            offset=round(number * gap + rng.uniform(0.1, 0.6) * gap, 2),
            kind=kind,
            seconds=round(rng.uniform(0.3, 1.0) * longest, 2),
            pick=rng.randrange(1000),
        )
        for number, kind in enumerate(order[:faults])
    )


class Nemesis:
    """Does the steps to one cluster and keeps the faults that came of them."""

    def __init__(self, cluster: Cluster, api: ApiServer | None = None) -> None:
        self._cluster = cluster
        self._api = api
        self._stop = threading.Event()
        self._locks = {name: threading.Lock() for name in ("scheduler", "worker", "redis", "config", "api")}
        self._takeover = cluster.setup.times.takeover(cluster.setup.election)
        self._faults: list[Fault] = []
        self._taken = threading.Lock()
        self._pause = threading.Event()

    def carry_out(self, steps: Iterable[Step], seconds: float) -> tuple[Fault, ...]:
        """The steps at their times; after ``seconds`` and the last one's end all is healed."""
        began = time.monotonic()
        threads = []
        for step in steps:
            self._pause.wait(max(0.0, began + step.offset - time.monotonic()))
            thread = threading.Thread(target=self.do, args=(step,), name=step.kind, daemon=True)
            thread.start()
            threads.append(thread)
        self._pause.wait(max(0.0, began + seconds - time.monotonic()))
        for thread in threads:
            thread.join(120)
        return self.faults()

    def faults(self) -> tuple[Fault, ...]:
        """What has been done so far."""
        with self._taken:
            return tuple(self._faults)

    def do(self, step: Step) -> None:
        """One step, from its beginning to its end."""
        fault, lock = KINDS[step.kind]
        with self._locks[lock]:
            fault(self, step)

    # --- tools ---------------------------------------------------------------------------------------------

    def _note(
        self, step: Step, hits: str, began: float, *, ended: float | None = None, recovery: float | None = None,
        overlaps: bool = False, blocks: bool = False,
    ) -> None:  # fmt: skip
        made = Fault(
            kind=step.kind,
            hits=hits,
            began=began,
            ended=time.time() if ended is None else ended,
            recovery=recovery,
            overlaps=overlaps,
            blocks=blocks,
        )
        with self._taken:
            self._faults.append(made)

    def _wait(self, step: Step, at_most: float | None = None) -> None:
        self._pause.wait(step.seconds if at_most is None else min(step.seconds, at_most))

    def _one_of(self, members: Sequence[Member], step: Step) -> Member | None:
        return members[step.pick % len(members)] if members else None

    # --- processes -----------------------------------------------------------------------------------------

    def _to_scheduler(self, step: Step) -> None:
        verb, _, whom = step.kind.partition(" ")
        leader = whom == "leader"
        member = self._cluster.leader() if leader else self._one_of(self._cluster.standbys(), step)
        if member is None:
            return
        began = time.time()
        self._hit(member, verb, step)
        recovery = None
        if leader:
            recovery = 2.0 if verb == "TERM" else self._takeover
        self._note(step, "leader" if leader else "standby", began, ended=began, recovery=recovery)
        self._await_return(member)

    def _to_worker(self, step: Step) -> None:
        verb = step.kind.partition(" ")[0]
        member = self._one_of([m for m in self._cluster.of("worker") if not m.paused], step)
        if member is None:
            return
        began = time.time()
        self._hit(member, verb, step)
        self._note(step, "worker", began, overlaps=verb != "TERM")
        self._await_return(member)

    def _hit(self, member: Member, verb: str, step: Step) -> None:
        if verb == "STOP":
            member.signal(signal.SIGSTOP)
            self._wait(step)
            member.signal(signal.SIGCONT)
        else:
            member.signal(signal.SIGKILL if verb == "KILL" else signal.SIGTERM)

    def _await_return(self, member: Member) -> None:
        """Until the member is ready again: the next fault on its tier waits as long, at most 20 s."""
        give_up_at = time.monotonic() + 20
        self._pause.wait(0.5)
        while time.monotonic() < give_up_at and member.health("/readyz").get("status") != "ok":
            self._pause.wait(0.2)

    def _to_command(self, step: Step) -> None:
        import os

        commands = self._cluster.commands()
        if not commands:
            return
        pid = commands[step.pick % len(commands)]
        began = time.time()
        try:
            if step.kind.startswith("KILL"):
                os.kill(pid, signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGSTOP)
                self._wait(step, 3.0)
                os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass
        self._note(step, "command", began)

    def _scale(self, step: Step) -> None:
        """One worker, then five, then as many as there were."""
        cluster = self._cluster
        before = cluster.of("worker")
        began = time.time()
        cluster.terminate(before[1:])
        more = [cluster.add("worker", len(cluster.members) + number) for number in range(4)]
        self._wait(step)
        cluster.terminate(more)
        for member in before[1:]:
            member.wanted = True
        for member in before[1:]:
            self._await_return(member)
        self._note(step, "worker", began)

    def _roll(self, step: Step) -> None:
        """Every scheduler is replaced, one after the other, by one with other durations of the lease."""
        times = self._cluster.setup.times
        factor = (1.5, 0.8, 1.0)[step.pick % 3] if times.lease > 5 else (2.0, 1.5, 1.0)[step.pick % 3]
        other = replace(times, lease=times.lease * factor, renew=times.renew * factor)
        # Until all are rolled the longer durations hold.
        before, after = self._takeover, other.takeover(self._cluster.setup.election)
        self._takeover = max(before, after)
        for member in self._cluster.of("scheduler"):
            member.extra = {
                "KUBER_CRON_LEASE_SECONDS": f"{other.lease:g}",
                "KUBER_CRON_RENEW_SECONDS": f"{other.renew:g}",
            }
            began = time.time()
            leads = bool(member.health().get("leader"))
            member.signal(signal.SIGTERM)
            self._await_return(member)
            self._note(
                step, "leader" if leads else "standby", began, ended=began, recovery=2.0 if leads else None
            )
        self._takeover = after

    # --- the ways to Redis and to the API server -------------------------------------------------------------

    def _to_way(self, step: Step) -> None:
        what, _, whom = step.kind.partition(" ")
        if whom == "leader":
            member = self._cluster.leader()
        else:
            member = self._one_of(self._cluster.of("worker"), step)
        if member is None:
            return
        began = time.time()
        _bend(member.redis, what)
        self._wait(step)
        member.redis.heal(late_seconds=step.pick % 4 * 0.5)
        gentle = what in {"delay", "throttle"}
        self._note(
            step, whom, began,
            recovery=(2.0 if gentle else self._takeover) if whom == "leader" else None,
            overlaps=whom == "worker" and not gentle,
        )  # fmt: skip

    def _late_requests(self, step: Step) -> None:
        """What the leader has sent arrives when another has led for a while: only the fence can tell.

        Its way to the API server is cut meanwhile too, or it would go on leading without Redis for 10 s.
        """
        leader = self._cluster.leader()
        if leader is None:
            return
        began = time.time()
        leader.redis.hold_requests()
        if leader.api is not None:
            leader.api.hang()
        give_up_at = time.monotonic() + self._takeover + 2.0
        while time.monotonic() < give_up_at and not any(
            m.health().get("leader") for m in self._cluster.of("scheduler") if m is not leader
        ):
            self._pause.wait(0.1)
        self._pause.wait(1.0 + step.pick % 10 / 10)
        leader.redis.heal()
        if leader.api is not None:
            leader.api.heal()
        self._note(step, "leader", began, recovery=self._takeover)

    def _to_all_ways(self, step: Step) -> None:
        began = time.time()
        members = list(self._cluster.members)
        for member in members:
            _bend(member.redis, step.kind.partition(" ")[0])
        self._wait(step)
        for member in members:
            member.redis.heal()
        self._note(step, "redis", began, recovery=self._takeover + 2, overlaps=True)

    def _to_api_way(self, step: Step) -> None:
        """The leader alone is cut off from the API server: another takes the Lease, and fences it in Redis."""
        leader = self._cluster.leader()
        if leader is None or leader.api is None:
            return
        began = time.time()
        _bend(leader.api, step.kind.partition(" ")[0])
        self._wait(step)
        leader.api.heal()
        self._note(step, "api", began, recovery=self._takeover)

    def _to_api(self, step: Step) -> None:
        api = self._api
        if api is None:
            return
        kind = step.kind.removeprefix("API ")
        began = time.time()
        match kind:
            case "Lease deleted":
                api.delete("kuber-cron")
            case "down":
                api.stop()
                self._wait(step)
                api.start()
            case "delay" | "late_answer":
                api.inject(kind, during=step.seconds, seconds=0.2)
                self._wait(step)
            case "500" | "503":
                api.inject("error", during=step.seconds, status=int(kind))
                self._wait(step)
            case _:
                api.inject(kind, during=step.seconds, seconds=step.seconds)  # type: ignore[arg-type] # one of its kinds
                self._wait(step)
                api.clear()
        # With these the leader goes on, for nobody else can get the Lease either: failsafe. Nothing may be late.
        is_outage = kind in {"hang", "drop", "500", "503", "throttle", "down", "delay", "late_answer"}
        self._note(step, "api", began, recovery=None if is_outage else self._takeover, blocks=True)

    # --- Redis ---------------------------------------------------------------------------------------------

    def _to_redis(self, step: Step) -> None:
        server = self._cluster.server
        began = time.time()
        match step.kind:
            case "redis STOP":
                server.signal(signal.SIGSTOP)
                self._wait(step)
                server.signal(signal.SIGCONT)
            case "redis KILL":
                server.kill()
                self._wait(step, 3.0)
                server.start()
            case "redis out of memory":
                with server.client() as client:
                    client.config_set("maxmemory", "1")
                    self._wait(step)
                    client.config_set("maxmemory", "0")
            case "redis CLIENT KILL":
                self._kill_clients()
            case _:
                with server.client() as client:
                    client.script_flush()
        quick = step.kind in {"redis CLIENT KILL", "redis SCRIPT FLUSH"}
        self._note(step, "redis", began, recovery=2.0 if quick else self._takeover + 2, overlaps=not quick)

    def _kill_clients(self) -> None:
        with self._cluster.server.client() as client:
            for one in client.client_list():
                if one.get("name") == "kuber-cron":
                    try:
                        client.client_kill_filter(_id=one["id"])
                    except redis.ResponseError:
                        continue  # it left by itself

    # --- configuration ---------------------------------------------------------------------------------------

    def _to_config(self, step: Step) -> None:
        jobs = self._cluster.jobs
        began = time.time()
        before = {member.pid for member in self._cluster.of("scheduler")}
        match step.kind:
            case "config broken":
                jobs.break_it()
                self._wait(step)
                jobs.write()
                # Who was there before has its last good jobs; a scheduler that starts meanwhile has none to keep.
                has_started = {member.pid for member in self._cluster.of("scheduler")} - before
                recovery = 3.0 if has_started else None
            case "config changed":
                jobs.edit("edited", 2 if step.pick % 2 else 1)
                recovery = 3.0
            case _:
                jobs.write(without=["gone", "tick-01", "tick-02"])
                self._wait(step)
                jobs.write()
                recovery = 3.0
        self._note(step, "config", began, recovery=recovery)
        self._pause.wait(3.0)  # all have read it before it changes again


def _bend(proxy: Proxy, what: str) -> None:
    match what:
        case "cut":
            proxy.cut()
            proxy.hang()
        case "delay":
            proxy.slow(delay_seconds=0.15)
        case "throttle":
            proxy.slow(bytes_per_second=40_000)
        case "lose-replies":
            proxy.lose_replies()
        case "hold-requests":
            proxy.hold_requests()
        case _:
            proxy.refuse()


_Act = Callable[[Nemesis, Step], None]

KINDS: dict[str, tuple[_Act, str]] = {
    **{f"{verb} {whom}": (Nemesis._to_scheduler, "scheduler") for verb in ("KILL", "STOP", "TERM") for whom in ("leader", "standby")},
    **{f"{verb} worker": (Nemesis._to_worker, "worker") for verb in ("KILL", "STOP", "TERM")},
    **{f"{verb} command": (Nemesis._to_command, "worker") for verb in ("KILL", "STOP")},
    **{f"{what} leader": (Nemesis._to_way, "scheduler") for what in ("cut", "delay", "throttle", "lose-replies", "hold-requests")},
    **{f"{what} worker": (Nemesis._to_way, "worker") for what in ("cut", "delay", "throttle", "lose-replies")},
    **{f"{what} everyone": (Nemesis._to_all_ways, "redis") for what in ("refuse", "cut")},
    **{f"redis {what}": (Nemesis._to_redis, "redis") for what in ("STOP", "KILL", "out of memory", "CLIENT KILL", "SCRIPT FLUSH")},
    **{f"config {what}": (Nemesis._to_config, "config") for what in ("broken", "changed", "shrinking")},
    "late requests": (Nemesis._late_requests, "scheduler"),
    "scaling workers": (Nemesis._scale, "worker"),
    "rolling the schedulers": (Nemesis._roll, "scheduler"),
}  # fmt: skip
"""Each kind of fault, and what it locks."""

API_KINDS: dict[str, tuple[_Act, str]] = {
    **{
        f"API {what}": (Nemesis._to_api, "api")
        for what in (
            "hang", "drop", "500", "503", "throttle", "conflict", "delay", "late_answer", "commit_then_hang",
            "commit_then_drop", "garbage", "down", "Lease deleted",
        )
    },
    **{f"{what} leader's API": (Nemesis._to_api_way, "api") for what in ("cut", "refuse", "delay")},
}  # fmt: skip
"""Those of the Kubernetes election."""

KINDS |= API_KINDS


def kinds(election: str) -> tuple[str, ...]:
    """The kinds that an election can meet."""
    return tuple(kind for kind in KINDS if election == "kubernetes" or kind not in API_KINDS)


def later(steps: Iterable[Step], seconds: float) -> tuple[Step, ...]:
    """The same, so much later."""
    return tuple(replace(step, offset=round(step.offset + seconds, 2)) for step in steps)
