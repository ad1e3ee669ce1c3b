"""The nemesis: does a schedule's steps to one cluster, and keeps what came of them (spec: reliability.md §9).

Each step runs in a thread of its own and takes what its kind takes, so that faults overlap, but never two on the same
thing. What each kind does stands in the modules ``at_…``, what it takes and what must hold in ``kinds``.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import redis
from tests.faults.cluster import Cluster
from tests.faults.history import Fault
from tests.faults.kind import Hit, Kind, NothingToHitError
from tests.faults.member import Member
from tests.faults.redis_server import RedisServer
from tests.faults.schedule import Step
from tests.support.api_server import ApiServer

_RETURNS_SECONDS = 20.0
_TELLS_SECONDS = 60.0


class Nemesis:
    """Does the steps to one cluster and keeps the faults that came of them.

    Attributes:
        takeover: Within so many seconds another leads, by the durations in force.
        left_out: The kinds that cannot be done here, and why.
    """

    def __init__(self, cluster: Cluster, table: Mapping[str, Kind], api: ApiServer | None = None) -> None:
        self.cluster = cluster
        self.api = api
        self.takeover = cluster.setup.times.takeover(cluster.setup.election)
        self.left_out: dict[str, str] = {}
        self._table = table
        self._locks = {thing: threading.Lock() for kind in table.values() for thing in kind.takes}
        self._faults: list[Fault] = []
        self._taken = threading.Lock()
        self._pause = threading.Event()

    def carry_out(self, steps: Iterable[Step], seconds: float) -> tuple[Fault, ...]:
        """The steps at their times; after ``seconds`` and the last one's end all is healed."""
        began = time.monotonic()
        threads = []
        for step in steps:
            self.wait(began + step.offset - time.monotonic())
            thread = threading.Thread(target=self.do, args=(step,), name=step.kind, daemon=True)
            thread.start()
            threads.append(thread)
        self.wait(began + seconds - time.monotonic())
        for thread in threads:
            thread.join(180)
        return self.faults()

    def faults(self) -> tuple[Fault, ...]:
        """What has been done so far."""
        with self._taken:
            return tuple(self._faults)

    def do(self, step: Step) -> None:
        """One step, from its beginning to its end."""
        kind = self._table[step.kind]
        if missing := kind.needs(self.cluster):
            self.left_out[step.kind] = missing
            return
        with contextlib.ExitStack() as held:
            for thing in sorted(kind.takes):  # all in one order: nobody waits for who waits
                held.enter_context(self._locks[thing])
            with contextlib.suppress(NothingToHitError):
                hit = self._strike(kind, step)
                if hit is not None:
                    for member in hit.returns:
                        self.await_return(member)

    def _strike(self, kind: Kind, step: Step) -> Hit | None:
        with kind.act(self, step) as hit:
            if hit is None:
                return None
            if kind.lasts:
                self.wait(min(step.seconds * kind.lasts, kind.at_most))
        recovery = kind.recovery if hit.recovery is False else hit.recovery
        assert recovery is not True
        self.note(
            Fault(
                kind=step.kind,
                hits=kind.hits,
                began=hit.began,
                ended=hit.began if kind.from_began else time.time(),
                recovery=None if recovery is None else recovery.of(self.takeover),
                overlaps=kind.overlaps,
                blocks=kind.blocks,
                stops=kind.stops,
                clock=kind.clock,
            )
        )
        return hit

    # --- what the acts need --------------------------------------------------------------------------------

    def note(self, fault: Fault) -> None:
        """It has been done."""
        with self._taken:
            self._faults.append(fault)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._pause.wait(max(0.0, seconds))

    def one(self, whom: str, step: Step) -> Member:
        """The leader, or the standby or worker that the step picks.

        Raises:
            NothingToHitError: There is none.
        """
        if whom == "leader":
            found = [leader] if (leader := self.cluster.leader()) is not None else []
        elif whom == "standby":
            found = self.cluster.standbys()
        else:
            found = [member for member in self.cluster.of("worker") if not member.paused and member.pid]
        if not found:
            raise NothingToHitError
        return found[step.pick % len(found)]

    def await_return(self, member: Member) -> None:
        """Until the member is ready again, at most 20 s."""
        give_up_at = time.monotonic() + _RETURNS_SECONDS
        self.wait(0.5)
        while time.monotonic() < give_up_at and member.health("/readyz").get("status") != "ok":
            self.wait(0.2)

    @contextmanager
    def told(
        self, server: RedisServer, do: Callable[[redis.Redis], object], undo: Callable[[redis.Redis], object]
    ) -> Iterator[None]:
        """Redis is told something, and told otherwise in the end, as often as it takes while something else silences it.

        Raises:
            NothingToHitError: It could not be told at the beginning.
        """
        try:
            with server.client() as client:
                do(client)
        except (redis.RedisError, OSError):
            _insist(server, undo, self.wait)
            raise NothingToHitError from None
        try:
            yield
        finally:
            _insist(server, undo, self.wait)

    def on_every_way(self, act: Callable[[Member], object]) -> Sequence[Member]:
        """Do it for each member that there is now."""
        members = list(self.cluster.members)
        for member in members:
            act(member)
        return members


def _insist(
    server: RedisServer, tell: Callable[[redis.Redis], object], wait: Callable[[float], None]
) -> None:
    give_up_at = time.monotonic() + _TELLS_SECONDS
    while time.monotonic() < give_up_at:
        with contextlib.suppress(redis.RedisError, OSError), server.client() as client:
            tell(client)
            return
        wait(0.1)
