"""Two Redis servers, and an address that leads to the primary: a planned failover demotes it, and moves the address.

Connections that are open stay so, and lead to the demoted server, as behind a DNS name, a virtual IP or a Service.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import redis
from tests.faults.proxy import Proxies, Proxy
from tests.faults.redis_server import RedisServer
from tests.support.waiting import eventually


class MovingAddress:
    """The address ``url``, and the servers behind it."""

    def __init__(self, proxy: Proxy, primary: RedisServer, replica: RedisServer) -> None:
        self._proxy = proxy
        self.primary, self.replica = primary, replica
        self.url = f"redis://127.0.0.1:{proxy.port}/0"
        with self.primary.client() as old, self.replica.client() as new:
            old.config_set("repl-diskless-sync-delay", 0)
            new.replicaof("127.0.0.1", self.primary.port)  # type: ignore[no-untyped-call] # redis-py types it not
            eventually(lambda: _is_linked(new))

    def fail_over(self, *, demoted_follows: bool = True) -> None:
        """Swap the servers: what has been written is on both, the address leads to the new primary.

        ``demoted_follows``: the old primary gets what is written and published from now on, too.
        """
        with self.primary.client() as old, self.replica.client() as new:
            old.client_pause(60_000, all=False)
            eventually(lambda: _offset(new, "slave_repl_offset") >= _offset(old, "master_repl_offset"))
            new.replicaof("NO", "ONE")  # type: ignore[no-untyped-call] # the same
            old.replicaof("127.0.0.1", self.replica.port if demoted_follows else 1)  # type: ignore[no-untyped-call]
            old.client_unpause()
        self._proxy.upstream = self.replica.port
        self.primary, self.replica = self.replica, self.primary


def _is_linked(client: redis.Redis) -> bool:
    return client.info("replication").get("master_link_status") == "up"


def _offset(client: redis.Redis, name: str) -> int:
    return int(client.info("replication")[name])


@contextlib.contextmanager
def moving_address(directory: Path) -> Iterator[MovingAddress]:
    """Yield an address with its two servers, all of which has ended after the block."""
    with contextlib.ExitStack() as stack:
        servers = [RedisServer(directory / name) for name in ("one", "two")]
        for server in servers:
            stack.callback(server.close)
            server.start()
        proxies = stack.enter_context(Proxies())
        yield MovingAddress(proxies.proxy(servers[0].port), *servers)
