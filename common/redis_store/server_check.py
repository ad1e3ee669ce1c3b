"""The conditions under which a Redis server can hold the promise, checked at start (reliability.md §8, last part)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis
from redis.exceptions import ResponseError

from kuber_cron.common.errors import RedisRefusedError, RedisUnreachableError
from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.connections import address_of
from kuber_cron.common.redis_store.embedded.binary import OLDEST_VERSION
from kuber_cron.common.redis_store.embedded.data_directory import CONFIG_NAME
from kuber_cron.common.redis_store.errors import translated
from kuber_cron.common.redis_store.scripts import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """A server's own account of itself. None: it gives none, because ``CONFIG`` is closed on managed services.

    Attributes:
        address: ``host:port`` or the socket's path.
        flavour: ``redis``, ``valkey``, or how else it calls itself.
        version: That of the Redis that it is compatible with.
        run_id: New at each start of the server.
        role: ``master`` or ``slave``, in Redis' words.
        cluster: Redis Cluster is on.
        eviction_policy: ``noeviction`` or what it drops when memory runs out.
        appends: It has an append-only file.
        snapshots: It saves snapshots.
        replicas: Connected ones.
        min_replicas_to_write: Replicas that must keep up for it to accept writes.
        min_replicas_max_lag: Seconds that they may be behind.
        embedded: A server of ``kuber-cron run``.
    """

    address: str
    flavour: str
    version: tuple[int, ...]
    run_id: str
    role: str
    cluster: bool
    eviction_policy: str | None
    appends: bool | None
    snapshots: bool | None
    replicas: int
    min_replicas_to_write: int | None
    min_replicas_max_lag: int | None
    embedded: bool


def check_server(client: redis.Redis, *, allow_volatile: bool = False) -> ServerFacts:
    """Return the server's facts; raise where it is not fit.

    Args:
        client: A client of it.
        allow_volatile: Accept one that keeps nothing over a restart.

    Raises:
        RedisUnreachableError: It does not answer, or not as a Redis does.
        RedisRefusedError: It is too old, a cluster, a replica, may drop keys, or keeps nothing.
    """
    facts = read_facts(client)
    if refusal := unfitness(facts, allow_volatile=allow_volatile):
        reason, hint = refusal
        raise RedisRefusedError(f"Redis at {facts.address} {reason}", hint=hint)
    return facts


def check_access(store: Store) -> None:
    """Raise where the store's user may not do all that the scripts do.

    Raises:
        RedisUnreachableError: No answer.
        RedisRefusedError: The user's ACL has a hole; the message names what it refuses.
    """
    with translated(store.client):
        refusals = [text(part) for part in store.call("check_permissions")]
    if refusals:
        shown = "; ".join(refusals[:3]) + (f"; and {len(refusals) - 3} more" if len(refusals) > 3 else "")
        raise RedisRefusedError(
            f"Redis at {address_of(store.client)} does not permit what the scripts do: {shown}",
            hint=f"give the user ~{store.keys.prefix}:* &{store.keys.prefix}:* +@all -@dangerous +info +keys",
        )


def read_facts(client: redis.Redis) -> ServerFacts:
    """Return the server's facts, by INFO and, where it is open, CONFIG."""
    address = address_of(client)
    with translated(client):
        info: dict[str, Any] = client.info()
        config = (
            _config(client, "save") | _config(client, "min-replicas-*") | _config(client, "maxmemory-policy")
        )
    if "redis_version" not in info:
        raise RedisUnreachableError(f"{address} answers, but not as a Redis does: INFO names no version")
    policy = info.get("maxmemory_policy") or config.get("maxmemory-policy")
    return ServerFacts(
        address=address,
        flavour=str(info.get("server_name", "redis")),
        version=_version(str(info["redis_version"])),
        run_id=str(info.get("run_id", "")),
        role=str(info.get("role", "master")),
        cluster=bool(info.get("cluster_enabled", 0)),
        eviction_policy=str(policy) if policy else None,
        appends=bool(info["aof_enabled"]) if "aof_enabled" in info else None,
        snapshots=bool(config["save"]) if "save" in config else None,
        replicas=int(info.get("connected_slaves", 0)),
        min_replicas_to_write=_number(config, "min-replicas-to-write"),
        min_replicas_max_lag=_number(config, "min-replicas-max-lag"),
        embedded=str(info.get("config_file", "")).endswith(f"/{CONFIG_NAME}"),
    )


def unfitness(facts: ServerFacts, *, allow_volatile: bool) -> tuple[str, str] | None:
    """Return why this server will not do, and the remedy; None where it will."""
    if facts.version < OLDEST_VERSION:
        found = ".".join(map(str, facts.version))
        return (
            f"is version {found}, and 6.2 is the oldest that will do (LMOVE)",
            "use a newer Redis or Valkey",
        )
    if facts.cluster:
        return (
            "is a Redis Cluster, which RQ's workers do not support",
            "use a single server, with replicas and Sentinel if you like",
        )
    if facts.role != "master":
        return "is a replica", "give the primary's address, or a redis+sentinel:// URL"
    if facts.eviction_policy not in {None, "noeviction"}:
        return (
            f"may drop keys when memory runs out (maxmemory-policy {facts.eviction_policy}), and runs with them",
            "CONFIG SET maxmemory-policy noeviction, in its configuration too",
        )
    if facts.appends is False and facts.snapshots is False and not allow_volatile:
        return (
            "keeps nothing over a restart: neither append-only file nor snapshots",
            "set appendonly yes, or accept the loss by KUBER_CRON_REDIS_ALLOW_VOLATILE=1",
        )
    return None


def warnings(facts: ServerFacts) -> list[str]:
    """Return what is legal and may surprise, a sentence each."""
    found = []
    if facts.eviction_policy is None:
        found.append("its eviction policy is unknown; it must be noeviction")
    if not facts.appends:
        if facts.snapshots is None:
            found.append("whether it keeps its data over a restart is unknown")
        elif facts.snapshots:
            found.append("it keeps snapshots only: a restart loses what came after the last one")
        else:
            found.append("it keeps nothing over a restart")
    if facts.replicas and facts.min_replicas_to_write is None:
        found.append("it has replicas, and its min-replicas-to-write is unknown")
    elif facts.replicas and not (facts.min_replicas_to_write and facts.min_replicas_max_lag):
        found.append(
            "it has replicas and accepts writes that none of them has: a failover may lose decided runs; "
            "set min-replicas-to-write 1 and min-replicas-max-lag 10"
        )
    return found


def _config(client: redis.Redis, pattern: str) -> dict[str, str]:
    try:
        found = client.config_get(pattern)
    except ResponseError:  # unknown or forbidden command
        return {}
    return {str(name): str(value) for name, value in found.items()}


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _number(config: Mapping[str, str], name: str) -> int | None:
    return int(config[name]) if name in config else None
