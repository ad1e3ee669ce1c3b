"""The Redis that a command reads or acts on: found without job files, signing key or lease.

Only the variables that say where Redis is are read, so a setting that is wrong elsewhere hinders nobody at three in the
morning, and each of these commands answers at once (:mod:`kuber_cron.common.config.environment`).
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kuber_cron.common.config import environment
from kuber_cron.common.errors import SettingsError

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.connections import Purpose
    from kuber_cron.common.redis_store.scripts import Store

SOCKET = Path(".kuber-cron/redis/redis.sock")
"""The socket of the Redis that `kuber-cron run` starts, from the directory that it was started in."""

_LOGS = Path("/var/log/kuber-cron")
_LOCAL_LOGS = Path(".kuber-cron/logs")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisTarget:
    """Where an installation's Redis and log files are.

    Attributes:
        url: Redis' address.
        password_file: A file with its password, or None.
        ca_file: The certificates that a ``rediss://`` server's is checked against, or None for the system's.
        instance: The installation's name, which gives the key prefix.
        log_dir: Where its workers keep their runs' output.
        is_local: Whether it is that of ``kuber-cron run`` in this directory.
    """

    url: str
    password_file: Path | None = None
    ca_file: Path | None = None
    instance: str = "kuber-cron"
    log_dir: Path = _LOGS
    is_local: bool = False


def place(redis_url: str | None = None, environ: Mapping[str, str] | None = None) -> RedisTarget:
    """Return the target: the flag, else ``KUBER_CRON_REDIS_URL``, else the Redis of ``kuber-cron run`` in this directory.

    Raises:
        SettingsError: None of the three is there, or a variable is bad.
    """
    given = partial(environment.read, os.environ if environ is None else environ)
    instance = given("instance") or "kuber-cron"
    if not environment.is_instance(instance):
        raise SettingsError(
            f'KUBER_CRON_INSTANCE="{instance}": allowed is lower-case letters, digits and -, at most 63; not rq',
            hint="docs/settings.md has all of them",
        )
    url = redis_url or given("redis_url")
    is_local = not url and SOCKET.is_socket()
    if is_local:
        url = f"unix://{SOCKET.absolute()}?db=0"
    if not url:
        raise SettingsError(
            "KUBER_CRON_REDIS_URL is not set, and no kuber-cron run has its Redis in this directory",
            hint="give a URL by --redis-url or KUBER_CRON_REDIS_URL, for example redis://localhost:6379/0",
        )
    log_dir = given("log_dir")
    password_file = given("redis_password_file")
    ca_file = given("redis_ca_file")
    return RedisTarget(
        url=url,
        password_file=Path(password_file) if password_file and not is_local else None,
        ca_file=Path(ca_file) if ca_file else None,
        instance=instance,
        log_dir=Path(log_dir) if log_dir else _LOCAL_LOGS if is_local else _LOGS,
        is_local=is_local,
    )


@contextmanager
def store(where: RedisTarget, purpose: "Purpose" = "reading") -> "Iterator[Store]":
    """Yield the installation's store on a connection of its own; what Redis refuses leaves the block as one of our errors.

    Raises:
        RedisUnreachableError, RedisRefusedError: with the server's address and a remedy.
        SettingsError: the URL is malformed.
    """
    from kuber_cron.common.redis_store import connections
    from kuber_cron.common.redis_store import errors as redis_errors
    from kuber_cron.common.redis_store.keys import Keys
    from kuber_cron.common.redis_store.scripts import Store

    client = connections.open_client(
        where.url, purpose, name="kuber-cron-cli", password_file=where.password_file, ca_file=where.ca_file
    )
    with client, redis_errors.translated(client):
        yield Store(client, Keys.of(where.instance))


@contextmanager
def connected(redis_url: str | None) -> "Iterator[Store]":
    """Yield the store of the installation that the flag, the variables or this directory name.

    Raises:
        KuberCronError: As :func:`place` and :func:`store`.
    """
    with store(place(redis_url)) as found:
        yield found
