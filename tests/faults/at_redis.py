"""What is done to Redis itself: its process, its address, its clock, and the rights of who uses it."""

import contextlib
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import redis
from tests.faults.at_ways import copied
from tests.faults.cluster import Cluster
from tests.faults.kind import Act, Hit, NothingToHitError
from tests.faults.nemesis import Nemesis
from tests.faults.redis_server import USER
from tests.faults.schedule import Step
from tests.faults.shifted_clock import WITHOUT
from tests.support.waiting import eventually

_ALL_RIGHTS = ("allkeys", "+@all")


@contextmanager
def stopped(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
    """SIGSTOP, and SIGCONT."""
    server, hit = nemesis.cluster.server, Hit()
    server.signal(signal.SIGSTOP)
    yield hit
    server.signal(signal.SIGCONT)


@contextmanager
def killed(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
    """SIGKILL, and a start on the same files."""
    server, hit = nemesis.cluster.server, Hit()
    server.kill()
    yield hit
    server.start()


@contextmanager
def clients_killed(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
    """Every connection of the product is closed by the server."""
    hit = Hit()
    try:
        with nemesis.cluster.server.client() as client:
            for one in client.client_list():
                if one.get("name") == "kuber-cron":
                    with contextlib.suppress(redis.ResponseError):  # it left by itself
                        client.client_kill_filter(_id=one["id"])
    except redis.RedisError:  # it is away, or busy with another fault's script
        raise NothingToHitError from None
    yield hit


@contextmanager
def scripts_flushed(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
    """No script is known any more."""
    hit = Hit()
    try:
        with nemesis.cluster.server.client() as client:
            client.script_flush()
    except redis.RedisError:
        raise NothingToHitError from None
    yield hit


# --- its clock -------------------------------------------------------------------------------------------


def clock_set(seconds: float) -> Act:
    """The wall clock of Redis alone is so far ahead, or behind, for a while."""

    @contextmanager
    def act(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
        server = nemesis.cluster.server
        nemesis.cluster.recorder.is_clock_moved = True
        hit = Hit()
        server.clock.set_wall(seconds)
        yield hit
        server.clock.set_wall(0.0)

    return act


def clock_needs(cluster: Cluster) -> str:
    """Why no clock can be moved here."""
    return "" if cluster.server.clock.can_be_moved else WITHOUT


# --- the rights of who uses it -----------------------------------------------------------------------------


def rights_withdrawn(*rules: str) -> Act:
    """The product's user loses a right for a while, and keeps its connections."""

    @contextmanager
    def act(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
        hit = Hit()
        with nemesis.told(
            nemesis.cluster.server,
            lambda client: client.execute_command("ACL", "SETUSER", USER, *rules),  # type: ignore[no-untyped-call] # redis-py types it not
            lambda client: client.execute_command("ACL", "SETUSER", USER, *_ALL_RIGHTS),  # type: ignore[no-untyped-call] # the same
        ):
            yield hit

    return act


# --- its address -----------------------------------------------------------------------------------------


@contextmanager
def moved(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
    """A planned failover behind an address that moves: nothing is lost, and open connections stay with the old one.

    That one lives on as a replica of the new one, and answers whoever is still connected with READONLY.
    """
    cluster, old = nemesis.cluster, nemesis.cluster.server
    with ExitStack() as stack:
        new = copied(nemesis, f"redis-{step.pick}-{step.offset:.2f}", stack)
        try:
            with old.client() as was, new.client() as becomes:
                hit = Hit()
                was.execute_command("CLIENT", "PAUSE", "10000", "WRITE")  # type: ignore[no-untyped-call] # redis-py types it not
                written = was.info("replication")["master_repl_offset"]
                eventually(lambda: becomes.info("replication")["slave_repl_offset"] >= written, 5, every=0.01)
                becomes.replicaof("NO", "ONE")
                was.replicaof("127.0.0.1", str(new.port))
                was.client_unpause()
        except (AssertionError, redis.RedisError):
            with contextlib.suppress(redis.RedisError), old.client() as was:
                was.replicaof("NO", "ONE")
                was.client_unpause()
            raise NothingToHitError from None
        stack.pop_all()
    cluster.move_to(new)
    yield hit
