"""What is done to the ways of processes to Redis and to the API server: of one process alone, or of all at once."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis
from tests.faults.kind import Act, Hit, NothingToHitError
from tests.faults.member import Member
from tests.faults.nemesis import Nemesis
from tests.faults.proxy import Proxy, can_lose_route
from tests.faults.redis_server import RedisServer
from tests.faults.schedule import Step
from tests.support.waiting import eventually

LOADING = "LOADING Redis is loading the dataset in memory"
_NOBODY = 1  # a port of this machine that nobody listens on

Bend = Callable[[Proxy], None]


def _cut(proxy: Proxy) -> None:
    proxy.cut()
    proxy.hang()


BENDS: dict[str, Bend] = {
    "cut": _cut,
    "refuse": Proxy.refuse,
    "reset": Proxy.reset,
    "ignore": Proxy.ignore,
    "no route": Proxy.lose_route,
    "LOADING": lambda proxy: proxy.answer(LOADING),
    "delay": lambda proxy: proxy.slow(delay_seconds=0.15),
    "throttle": lambda proxy: proxy.slow(bytes_per_second=40_000),
    "lose-replies": Proxy.lose_replies,
    "hold-requests": Proxy.hold_requests,
}


def way_bent(what: str, whom: str) -> Act:
    """The way to Redis of one process alone."""

    @contextmanager
    def act(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
        member = nemesis.one(whom, step)
        hit = Hit()
        BENDS[what](member.redis)
        yield hit
        member.redis.heal(late_seconds=step.pick % 4 * 0.5)

    return act


def every_way_bent(what: str) -> Act:
    """Everybody's way to Redis."""

    @contextmanager
    def act(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
        hit = Hit()
        members = nemesis.on_every_way(lambda member: BENDS[what](member.redis))
        yield hit
        for member in members:
            member.redis.heal()

    return act


def api_way_bent(what: str) -> Act:
    """The leader alone is cut off from the API server: another takes the Lease, and fences it in Redis."""

    @contextmanager
    def act(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
        leader = nemesis.one("leader", step)
        if leader.api is None:
            raise NothingToHitError
        hit = Hit()
        BENDS[what](leader.api)
        yield hit
        leader.api.heal()

    return act


def route_needs(_: object) -> str:
    """Why no address can lose its route here."""
    return "" if can_lose_route() else "only root, with the program ip, can take away a route"


# --- another Redis -----------------------------------------------------------------------------------------


def misled(state: str, whom: str) -> Act:
    """The way of one process alone leads to another Redis: a copy of ours in a state of its own. It reads, and writes nothing."""

    @contextmanager
    def act(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
        member = nemesis.one(whom, step)
        with ExitStack() as stack:
            copy = copied(nemesis, f"copy-{step.pick}-{step.offset:.2f}", stack)
            stack.enter_context(_STATES[state](nemesis, copy))
            hit = Hit()
            _lead(member, copy)
            yield hit
            _lead(member, nemesis.cluster.server)

    return act


def _lead(member: Member, server: RedisServer) -> None:
    member.redis.upstream = server.port
    member.redis.cut()


def copied(nemesis: Nemesis, name: str, stack: ExitStack) -> RedisServer:
    """A replica of the present Redis that has all that it has, closed with ``stack``.

    Raises:
        NothingToHitError: The present one does not give it away just now.
    """
    server, copy = nemesis.cluster.server, nemesis.cluster.another_server(name)
    stack.callback(copy.close)
    copy.start()
    try:
        with copy.client() as client:
            client.replicaof("127.0.0.1", str(server.port))
            eventually(lambda: client.info("replication")["master_link_status"] == "up", 15)
    except (AssertionError, redis.RedisError):
        raise NothingToHitError from None
    return copy


def read_only(nemesis: Nemesis, server: RedisServer) -> "ExitStack":
    """READONLY: a replica, of nobody who is there."""
    stack = ExitStack()
    stack.enter_context(
        nemesis.told(
            server,
            lambda client: client.replicaof("127.0.0.1", str(_NOBODY)),
            lambda client: client.replicaof("NO", "ONE"),
        )
    )
    return stack


def _config(name: str, bad: str, good: str) -> Callable[[Nemesis, RedisServer], ExitStack]:
    def state(nemesis: Nemesis, server: RedisServer) -> ExitStack:
        def do(client: redis.Redis) -> None:
            client.config_set(name, bad)
            client.replicaof("NO", "ONE")

        stack = ExitStack()
        stack.enter_context(nemesis.told(server, do, lambda client: client.config_set(name, good)))
        return stack

    return state


def cannot_save(nemesis: Nemesis, server: RedisServer) -> ExitStack:
    """MISCONF: a snapshot was due and could not be written."""
    target = Path(server.directory) / "dump.rdb"

    def do(client: redis.Redis) -> None:
        client.replicaof("NO", "ONE")
        target.unlink(missing_ok=True)
        target.mkdir()
        client.config_set("save", "3600 1")
        client.bgsave()
        eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", 5)

    def undo(client: redis.Redis) -> None:
        client.config_set("save", "")
        if target.is_dir():
            target.rmdir()

    stack = ExitStack()
    stack.enter_context(nemesis.told(server, do, undo))
    return stack


def busy(nemesis: Nemesis, server: RedisServer) -> ExitStack:
    """BUSY: a script that does not end, and writes nothing, until it is killed."""

    def loop() -> None:
        with server.client(120.0) as client:
            try:
                client.eval("while true do end", 0)  # type: ignore[no-untyped-call] # redis-py types it not
            except redis.RedisError:
                return  # killed, as it shall be

    looping = threading.Thread(target=loop, name="busy", daemon=True)

    def do(client: redis.Redis) -> None:
        client.replicaof("NO", "ONE")
        client.config_set("busy-reply-threshold", "100")
        looping.start()

    def undo(client: redis.Redis) -> None:
        # On a busy machine the script may begin only now.
        while looping.is_alive():
            try:
                client.script_kill()
            except redis.ResponseError as error:
                if "NOTBUSY" not in str(error):
                    raise
            looping.join(0.1)

    stack = ExitStack()
    stack.enter_context(nemesis.told(server, do, undo))
    return stack


_STATES: dict[str, Callable[[Nemesis, RedisServer], ExitStack]] = {
    "READONLY": read_only,
    "NOREPLICAS": _config("min-replicas-to-write", "1", "0"),
    "OOM": _config("maxmemory", "1", "0"),
    "MISCONF": cannot_save,
    "BUSY": busy,
}


def in_state(state: str) -> Act:
    """The Redis of all answers so, to everybody."""

    @contextmanager
    def act(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
        hit = Hit()
        with _STATES[state](nemesis, nemesis.cluster.server):
            yield hit

    return act
