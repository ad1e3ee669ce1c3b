"""The way to Redis for commands that look and act: no job files, no signing key, no lease.

Only the variables that say where Redis is are looked at, so a setting that is wrong elsewhere hinders nobody at three in
the morning; and none of it loads pydantic, for each of these commands is to answer at once.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kuber_cron.common.errors import SettingsError

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.connections import Purpose
    from kuber_cron.common.redis_store.scripts import Store

SOCKET = Path(".kuber-cron/redis/redis.sock")
"""Where `kuber-cron run` on this machine has its own Redis listen, from the directory that it was started in."""

_LOGS = Path("/var/log/kuber-cron")
_LOCAL_LOGS = Path(".kuber-cron/logs")
_INSTANCE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisTarget:
    """Where an installation's Redis and log files are. ``is_local``: that of ``kuber-cron run`` here."""

    url: str
    password_file: Path | None = None
    ca_file: Path | None = None
    instance: str = "kuber-cron"
    log_dir: Path = _LOGS
    is_local: bool = False


def place(redis_url: str | None = None, environ: Mapping[str, str] | None = None) -> RedisTarget:
    """Where to look: the flag, else ``KUBER_CRON_REDIS_URL``, else the Redis of ``kuber-cron run`` in this directory.

    Raises:
        SettingsError: none of the three is there, or a variable is bad.
    """
    environ = os.environ if environ is None else environ

    def given(name: str) -> str:
        return environ.get(f"KUBER_CRON_{name}", "").strip()

    instance = given("INSTANCE") or "kuber-cron"
    if not _INSTANCE.fullmatch(instance) or instance == "rq":
        raise SettingsError(
            f'KUBER_CRON_INSTANCE="{instance}": allowed is lower-case letters, digits and -, at most 63; not rq',
            hint="docs/settings.md has all of them",
        )
    url = redis_url or given("REDIS_URL")
    is_local = not url and SOCKET.is_socket()
    if is_local:
        url = f"unix://{SOCKET.absolute()}?db=0"
    if not url:
        raise SettingsError(
            "KUBER_CRON_REDIS_URL is not set, and no kuber-cron run has its Redis in this directory",
            hint="give a URL by --redis-url or KUBER_CRON_REDIS_URL, for example redis://localhost:6379/0",
        )
    log_dir = given("LOG_DIR")
    password_file = given("REDIS_PASSWORD_FILE")
    ca_file = given("REDIS_CA_FILE")
    return RedisTarget(
        url=url,
        password_file=Path(password_file) if password_file and not is_local else None,
        ca_file=Path(ca_file) if ca_file else None,
        instance=instance,
        log_dir=Path(log_dir) if log_dir else _LOCAL_LOGS if is_local else _LOGS,
        is_local=is_local,
    )


@contextmanager
def store(where: RedisTarget, purpose: "Purpose" = "looking") -> "Iterator[Store]":
    """The installation's keys on a connection of our own; what Redis refuses leaves the block as one of our errors.

    Raises:
        RedisUnreachableError, RedisRefusedError: with the server's address and a remedy.
        SettingsError: the URL is malformed.
    """
    from kuber_cron.common.redis_store import connections
    from kuber_cron.common.redis_store.keys import Keys
    from kuber_cron.common.redis_store.scripts import Store

    client = connections.open_client(
        where.url, purpose, name="kuber-cron-cli", password_file=where.password_file, ca_file=where.ca_file
    )
    with client, connections.translated(client):
        yield Store(client, Keys.of(where.instance))


@contextmanager
def connected(redis_url: str | None) -> "Iterator[Store]":
    """Yield the keys of the installation that the flag, the variables or this directory name.

    Raises:
        KuberCronError: As :func:`place` and :func:`store`.
    """
    with store(place(redis_url)) as found:
        yield found
