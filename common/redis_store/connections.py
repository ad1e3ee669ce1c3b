"""The way to Redis: one place that knows redis-py's settings, Sentinel and passwords.

redis-py 8 by itself re-sends a command up to ten times, with pauses; one call may last a minute, and a command
that was applied before its answer got lost is applied again. So each connection is made for a purpose:

``deciding``   no retries, answers within 1.5 s: the leader's scripts. What is uncertain is asked again by the
               next tick, which knows how.
``claiming``   no retries, patient for as long as the blocking command waits: the worker's claims.
``general``    up to three retries within about 2 s: whatever may safely be sent twice.
``reading``    one retry: an operator waits for the answer, and would rather read an error after a few seconds.
``rq``         for RQ's ``BaseWorker``, which raises its pool's timeout to 415 s: a pool that nobody else uses. Answers
               within 1.5 s, because the heartbeats wait for it.

Each client has a pool of its own. Each of its connections ends with an answer that says "not the primary"
(``primary_connection``), so that the address is looked up again; purposes with retries then send once more.

Replies are bytes. RESP2, because its replies have the same shape on every server. Maintenance notifications are off: they would stretch the timeouts when the server asks for it.
CLIENT SETINFO is not sent: two round trips, and unknown before Redis 7.2; the client's name says who it is. Each password that
is met here is hidden from the logs.
"""

import importlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import SplitResult, unquote, urlsplit

import redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.connection import Connection, ConnectionPool, SSLConnection, parse_url
from redis.exceptions import ReadOnlyError
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from kuber_cron.common.errors import SettingsError
from kuber_cron.common.observability.redaction import hide, redacted_url
from kuber_cron.common.redis_store.keys import DEFAULT_INSTANCE, Keys
from kuber_cron.common.redis_store.password_file import PasswordFile
from kuber_cron.common.redis_store.primary_connection import (
    CONNECTION_CLASSES,
    PrimarySentinelConnection,
    PrimarySentinelSSLConnection,
    address_named,
)

if TYPE_CHECKING:
    from kuber_cron.common.config.settings import (
        Settings,  # loads pydantic, which commands that only read do without
    )

Purpose = Literal["deciding", "claiming", "general", "reading", "rq"]

SENTINEL_PORT = 26379

_URL_OPTIONS = {
    "db", "username", "password",
    "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password",
    "ssl_cert_reqs", "ssl_check_hostname", "ssl_min_version", "ssl_ciphers",
}  # fmt: skip
_MALFORMED = "host, port or an option is malformed (is the password percent-encoded?)"
_SENTINEL_OPTIONS = {"sentinel_username", "sentinel_password"}


def connect(
    settings: "Settings", purpose: Purpose, *, name: str = DEFAULT_INSTANCE, block_seconds: float = 5.0
) -> redis.Redis:
    """Return a client for ``purpose``, by the settings' URL; see :func:`open_client`.

    Raises:
        SettingsError: No URL is set, or it is malformed.
    """
    if settings.redis_url is None:
        raise SettingsError(
            "KUBER_CRON_REDIS_URL is not set",
            hint="give a URL by --redis-url or KUBER_CRON_REDIS_URL, for example redis://localhost:6379/0",
        )
    return open_client(
        settings.redis_url,
        purpose,
        name=name,
        password_file=settings.redis_password_file,
        ca_file=settings.redis_ca_file,
        block_seconds=block_seconds,
    )


def open_client(
    url: str,
    purpose: Purpose,
    *,
    name: str = DEFAULT_INSTANCE,
    password_file: Path | None = None,
    ca_file: Path | None = None,
    block_seconds: float = 5.0,
) -> redis.Redis:
    """Return a client with a pool of its own; nothing is sent yet. The caller closes it.

    Args:
        url: ``redis://[user[:password]@]host[:port][/db]``, ``rediss://`` the same over TLS, ``unix:///path?db=0``,
            ``redis+sentinel://[user[:password]@]host[:port][,host[:port]…]/service[/db]`` (``rediss+sentinel://``:
            TLS to sentinels and server). TLS and Sentinel options in the query: ``ssl_certfile``, ``ssl_keyfile``,
            ``ssl_check_hostname``, ``sentinel_password`` …
        purpose: What it is for: retries and timeouts follow, see the module's text.
        name: How ``CLIENT LIST`` shows it.
        password_file: Read at each connect; wins over a password in the URL.
        ca_file: The certificates that the server's is checked against.
        block_seconds: For ``claiming``: the longest wait of a blocking command.

    Raises:
        SettingsError: The URL is malformed or has an unknown option.
    """
    options = _options(purpose, block_seconds)
    options["client_name"] = re.sub(r"[^!-~]", "-", name)
    if re.match(r"rediss?\+sentinel://", url):
        return _sentinel_client(url, options, password_file, ca_file)
    address = _parsed(url, _URL_OPTIONS)
    _authenticate(address, password_file)
    kind = address.get("connection_class", Connection)
    if ca_file is not None and kind is SSLConnection:
        address["ssl_ca_certs"] = str(ca_file)
    address["connection_class"] = CONNECTION_CLASSES[kind]
    options["address"] = address_named(_address_in(address))
    return redis.Redis.from_pool(ConnectionPool(**{**options, **address}))


def _options(purpose: Purpose, block_seconds: float) -> dict[str, Any]:
    """Return redis-py's options for a purpose. Timeouts in seconds, for each single write and read."""
    never = Retry(NoBackoff(), 0)
    once = Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 1)
    seldom = Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 3)
    by_purpose: dict[Purpose, dict[str, Any]] = {
        "deciding": {"retry": never, "socket_timeout": 1.5, "socket_connect_timeout": 1.0},
        "claiming": {"retry": never, "socket_timeout": block_seconds + 2.0, "socket_connect_timeout": 2.0},
        "general": {
            "retry": seldom,
            "socket_timeout": 5.0,
            "socket_connect_timeout": 2.0,
            "health_check_interval": 15,
        },
        "reading": {"retry": once, "socket_timeout": 5.0, "socket_connect_timeout": 2.0},
        "rq": {
            "retry": seldom,
            "socket_timeout": 1.5,
            "socket_connect_timeout": 1.0,
            "health_check_interval": 15,
        },
    }
    return {
        **by_purpose[purpose],
        "retry_on_error": [ReadOnlyError],
        "asks_role": purpose != "reading",
        "protocol": 2,
        "decode_responses": False,
        "driver_info": None,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }


def _parsed(url: str, known: set[str]) -> dict[str, Any]:
    """Return redis-py's reading of the URL, strict where it is lax: unknown options, a database that is no number."""
    try:
        parsed: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call] # redis-py types it not
        path = urlsplit(url).path.strip("/")
    except ValueError:  # its text may quote a piece of the password
        raise _bad_url(url, _MALFORMED) from None
    if not url.startswith("unix:") and path and not path.isdigit():
        raise _bad_url(url, "after the host comes the database, a number")
    if unknown := parsed.keys() - known - {"host", "port", "path", "connection_class"}:
        raise _bad_url(url, f"unknown option {min(unknown)!r}; known are {', '.join(sorted(known))}")
    if not url.startswith("unix:"):
        parsed["socket_keepalive"] = True
    hide(*(str(parsed[name]) for name in ("password", "sentinel_password", "ssl_password") if name in parsed))
    return parsed


def _bad_url(url: str, reason: str) -> SettingsError:
    return SettingsError(
        f"Redis URL {redacted_url(url)}: {reason}",
        hint="for example redis://user@host:6379/0; docs/settings.md has all forms",
    )


def _authenticate(address: dict[str, Any], password_file: Path | None) -> None:
    if password_file is not None:
        address.pop("password", None)
        address["credential_provider"] = PasswordFile(password_file, address.pop("username", None))


def _sentinel_client(
    url: str, options: dict[str, Any], password_file: Path | None, ca_file: Path | None
) -> redis.Redis:
    split = urlsplit(url)
    scheme = split.scheme.removesuffix("+sentinel")
    service, _, database = split.path.strip("/").partition("/")
    if not service:
        raise _bad_url(url, "the service's name is missing: redis+sentinel://host:26379/mymaster/0")
    userinfo, at, hosts = split.netloc.rpartition("@")
    # The rest is an ordinary URL: read with a stand-in for the many hosts.
    plain = f"{scheme}://{userinfo}{at}sentinel/{database}" + (f"?{split.query}" if split.query else "")
    address = _parsed(plain, _URL_OPTIONS | _SENTINEL_OPTIONS)
    for stand_in in ("host", "port", "connection_class"):
        address.pop(stand_in, None)
    own = {
        "username": address.pop("sentinel_username", None),
        "password": address.pop("sentinel_password", None),
    }
    _authenticate(address, password_file)
    address["connection_class"] = PrimarySentinelConnection
    options["address"] = address_named(f"{service} by {hosts}")
    if scheme == "rediss":
        address["ssl"] = True
        address["connection_class"] = PrimarySentinelSSLConnection
        if ca_file is not None:
            address["ssl_ca_certs"] = str(ca_file)
    tls = {key: value for key, value in address.items() if key.startswith("ssl")}
    # Its retries have to be set too: redis-py would ask each dead sentinel eleven times.
    patience = {
        key: options[key]
        for key in ("socket_connect_timeout", "protocol", "driver_info", "maint_notifications_config")
    }
    sentinel = Sentinel(  # type: ignore[no-untyped-call] # the same
        _sentinel_hosts(split, hosts, url),
        sentinel_kwargs={**patience, **own, **tls, "retry": Retry(NoBackoff(), 0), "socket_timeout": 1.0},
    )
    client: redis.Redis = sentinel.master_for(  # type: ignore[no-untyped-call] # the same
        unquote(service),
        redis_class=redis.Redis,
        connection_pool_class=SentinelConnectionPool,
        **{**options, **address},
    )
    return client


def _sentinel_hosts(split: SplitResult, hosts: str, url: str) -> list[tuple[str, int]]:
    found = []
    for host in hosts.split(","):
        try:
            one = urlsplit(f"{split.scheme}://{host}")
            found.append((one.hostname or "", one.port or SENTINEL_PORT))
        except ValueError:
            raise _bad_url(url, _MALFORMED) from None
    if not all(name for name, _ in found):
        raise _bad_url(url, "a host is missing")
    return found


def address_of(client: redis.Redis) -> str:
    """Return ``host:port``, a socket's path, or ``mymaster by host:port, host:port``; never a password."""
    pool = client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        asked = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
        return f"{pool.service_name} by " + ", ".join(sorted(f"{one['host']}:{one['port']}" for one in asked))
    return _address_in(pool.connection_kwargs)


def _address_in(options: Mapping[str, Any]) -> str:
    if "path" in options:
        return str(options["path"])
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"


def set_key_prefix(instance: str) -> str:
    """Import RQ such that it puts all its keys under the instance's prefix; return the prefix.

    RQ reads the variable ``RQ_KEY_PREFIX`` once, when it is imported. The variable is put back afterwards: the
    commands of jobs inherit our environment, and one that uses RQ itself means its own keys.

    Raises:
        RuntimeError: RQ was imported before, with another prefix.
    """
    prefix = Keys.of(instance).prefix
    environ = os.environ  # noqa: TID251 - RQ reads it nowhere else
    before = environ.get("RQ_KEY_PREFIX")
    environ["RQ_KEY_PREFIX"] = prefix
    try:
        defaults = importlib.import_module("rq.defaults")
    finally:
        if before is None:
            del environ["RQ_KEY_PREFIX"]
        else:
            environ["RQ_KEY_PREFIX"] = before
    if prefix != defaults.RQ_KEY_PREFIX:
        raise RuntimeError(
            f"rq was imported with the key prefix {defaults.RQ_KEY_PREFIX!r} before instance {instance!r} could set "
            f"{prefix!r}: call set_key_prefix before anything imports rq"
        )
    return prefix
