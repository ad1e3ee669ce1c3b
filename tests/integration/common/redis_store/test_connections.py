"""The way to a real Redis: over sockets, TLS and Sentinel, with passwords that change, and what is said when it fails."""

import os
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import redis
from prometheus_client import CollectorRegistry
from tests.support.waiting import eventually

from kuber_cron.common.config.host import Host
from kuber_cron.common.config.settings import Settings
from kuber_cron.common.errors import RedisRefusedError, RedisUnreachableError, SettingsError
from kuber_cron.common.observability import http_server, logging_setup
from kuber_cron.common.observability.health import Health
from kuber_cron.common.redis_store.connections import address_of, connect, open_client
from kuber_cron.common.redis_store.errors import translated
from kuber_cron.common.redis_store.password_file import PasswordFile

PURPOSES = ("deciding", "claiming", "general", "rq")


def port_of(url):
    return int(url.rpartition(":")[2].partition("/")[0])


def password_of(url):
    return url.partition("://:")[2].partition("@")[0]


@pytest.mark.parametrize("listen", ["auto", "tcp"])
@pytest.mark.parametrize("purpose", PURPOSES)
def test_each_purpose_reaches_the_server_and_has_a_pool_of_its_own(redis_server, listen, purpose):
    url = redis_server(listen=listen).url
    with open_client(url, purpose, name="kuber-cron worker 1") as client, open_client(url, purpose) as other:
        client.set("key", "value")
        assert other.get("key") == b"value"
        assert client.connection_pool is not other.connection_pool
        names = {entry["name"] for entry in client.client_list()}
    assert names == {"kuber-cron-worker-1", "kuber-cron"}


@pytest.mark.parametrize(
    ("purpose", "retries"), [("deciding", 0), ("claiming", 0), ("general", 3), ("rq", 3)]
)
def test_only_what_may_be_sent_twice_is_retried(redis_url, purpose, retries):
    with open_client(redis_url, purpose) as client:
        connection = client.connection_pool.get_connection()
        assert connection.retry.get_retries() == retries
        client.connection_pool.release(connection)


def test_a_deciding_client_gives_up_within_two_seconds_and_sends_once(redis_server):
    server = redis_server(listen="tcp")
    with open_client(server.url, "deciding") as client, open_client(server.url, "general") as observer:
        client.ping()
        process = psutil.Process(server.pid)
        process.suspend()
        began = time.monotonic()
        with pytest.raises(RedisUnreachableError, match="did not answer in time"), translated(client):
            client.incr("sent")
        assert client.connection_pool.connection_kwargs["socket_timeout"] < 2
        assert time.monotonic() - began < 10  # once: whoever tried again would need several times two seconds
        process.resume()
        eventually(lambda: observer.get("sent") == b"1")
        assert observer.get("sent") == b"1"


def test_a_claiming_client_waits_as_long_as_its_command_blocks(redis_url):
    with open_client(redis_url, "claiming", block_seconds=0.5) as client:
        assert client.blmove("queue", "claims", timeout=0.5) is None
        assert client.connection_pool.connection_kwargs["socket_timeout"] > 0.5


def test_a_client_finds_its_server_again_after_a_restart(redis_server, tmp_path):
    server = redis_server(tmp_path)
    with open_client(server.url, "deciding") as client:
        client.set("kept", "yes")
        server.stop()
        with pytest.raises(RedisUnreachableError, match="unreachable"), translated(client):
            client.ping()
        redis_server(tmp_path)
        assert client.get("kept") == b"yes"


def test_a_password_file_is_read_again_at_each_connect(redis_server, tmp_path):
    server = redis_server(listen="tcp")
    file = tmp_path / "password"
    url = f"redis://127.0.0.1:{port_of(server.url)}/0"
    file.write_text(password_of(server.url) + "\n")
    with open_client(url, "deciding", password_file=file) as client:
        assert client.ping()
        client.config_set("requirepass", "rotated")
        file.write_text("rotated\n")
        client.connection_pool.disconnect()
        assert client.ping()
        file.unlink()
        client.connection_pool.disconnect()
        with pytest.raises(RedisRefusedError, match="cannot read the password file"), translated(client):
            client.ping()


def test_the_password_file_wins_over_the_url_and_the_users_name_stays(redis_server, tmp_path):
    server = redis_server()
    (tmp_path / "password").write_text("right")
    with open_client(server.url, "general") as admin:
        admin.acl_setuser("worker", enabled=True, passwords=["+right"], categories=["+@all"], keys=["*"])
    with (
        open_client(f"{server.url}&username=worker&password=wrong", "general") as client,
        pytest.raises(RedisRefusedError, match="credentials"),
        translated(client),
    ):
        client.ping()
    with open_client(
        f"{server.url}&username=worker&password=wrong", "general", password_file=tmp_path / "password"
    ) as client:
        assert client.acl_whoami() == "worker"


def test_a_password_that_was_used_is_hidden_from_the_logs(tmp_path):
    (tmp_path / "password").write_text("from-the-file\n")
    PasswordFile(tmp_path / "password").get_credentials()
    open_client("redis://user:from-the-url@host/0", "general").close()
    event = logging_setup.hide_secrets(None, "info", {"event": "from-the-file, from-the-url, from-here"})
    assert event == {"event": "***, ***, from-here"}


def test_a_wrong_password_is_refused_with_the_remedy_and_not_shown(redis_server):
    port = port_of(redis_server(listen="tcp").url)
    with (
        open_client(f"redis://:geheim@127.0.0.1:{port}/0", "deciding") as client,
        pytest.raises(RedisRefusedError) as raised,
        translated(client),
    ):
        client.ping()
    assert f"127.0.0.1:{port}" in raised.value.message
    assert "KUBER_CRON_REDIS_PASSWORD_FILE" in (raised.value.hint or "")
    assert "geheim" not in raised.value.message


def test_a_command_that_the_acl_forbids_is_refused_with_the_remedy(redis_server):
    server = redis_server()
    with open_client(server.url, "general") as admin:
        admin.acl_setuser(
            "reader", enabled=True, passwords=["+pw"], categories=["+@read", "+@connection"], keys=["*"]
        )
    with (
        open_client(f"{server.url}&username=reader&password=pw", "general") as client,
        pytest.raises(RedisRefusedError, match="does not permit a command"),
        translated(client),
    ):
        client.set("key", "value")


def test_nobody_there_is_unreachable_with_address_and_remedy():
    with (
        open_client("redis://user:geheim@127.0.0.1:1/0", "deciding") as client,
        pytest.raises(RedisUnreachableError, match=r"127\.0\.0\.1:1") as raised,
        translated(client),
    ):
        client.ping()
    assert "KUBER_CRON_REDIS_URL" in (raised.value.hint or "")
    assert "geheim" not in raised.value.message


def test_another_kind_of_server_is_said_to_be_no_redis():
    with (
        http_server.start(CollectorRegistry(), "127.0.0.1", 0, Health("run")) as server,
        open_client(f"redis://127.0.0.1:{server.port}", "deciding") as client,
        pytest.raises(RedisUnreachableError),
        translated(client),
    ):
        client.ping()


def test_a_full_server_says_so(redis_server):
    server = redis_server(options={"maxmemory": "1mb"})
    with (
        open_client(server.url, "general") as client,
        pytest.raises(RedisRefusedError, match="out of memory") as raised,
        translated(client),
    ):
        client.set("key", "x" * 2_000_000)
    assert "maxmemory" in (raised.value.hint or "")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://host/x", "a number"),
        ("redis://host:99999/0", "malformed"),
        ("redis://user:ge/heim@host", "percent-encoded"),
        ("redis://host/0?timeout=x", "malformed"),
        ("redis://host/0?foo=1", "unknown option 'foo'"),
        ("redis+sentinel://host:26379", "service's name is missing"),
        ("redis+sentinel://host:x/mymaster", "malformed"),
        ("redis+sentinel://host,/mymaster", "host is missing"),
        ("redis+sentinel://u:geheim@host/mymaster/x", "a number"),
    ],
)
def test_a_bad_url_is_a_bad_setting_without_its_password(url, reason):
    with pytest.raises(SettingsError) as raised:
        open_client(url, "general")
    assert reason in raised.value.message
    assert "heim" not in raised.value.message


def test_without_a_url_the_setting_is_named():
    with pytest.raises(SettingsError, match="KUBER_CRON_REDIS_URL is not set"):
        connect(Settings.load({}, Host()), "general")


def test_the_settings_reach_the_client(redis_server, tmp_path):
    server = redis_server(listen="tcp")
    (tmp_path / "password").write_text(password_of(server.url))
    settings = Settings.load(
        {
            "KUBER_CRON_REDIS_URL": f"redis://127.0.0.1:{port_of(server.url)}/3",
            "KUBER_CRON_REDIS_PASSWORD_FILE": str(tmp_path / "password"),
        },
        Host(),
    )
    with connect(settings, "general") as client:
        client.set("key", "value")
        assert client.info("keyspace")["db3"]["keys"] == 1


# TLS: a terminator before a real Redis, for not every build of the server has TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    arguments = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    )
    try:
        subprocess.run(
            [
                "openssl",
                *arguments.split(),
                "-addext",
                "subjectAltName=DNS:localhost",
                "-keyout",
                "key",
                "-out",
                "cert",
            ],
            cwd=folder,
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("openssl makes the certificate")
    return folder


def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    finally:
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def tls_before(path, certificate):
    """The port of a TLS server on localhost that passes everything on to the Unix socket at ``path``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert", certificate / "key")
    ends = []

    def serve(listener):
        while True:
            try:
                outside = context.wrap_socket(listener.accept()[0], server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            inside = socket.socket(socket.AF_UNIX)
            inside.connect(path)
            ends.extend((outside, inside))
            for pair in ((outside, inside), (inside, outside)):
                thread = threading.Thread(target=pump, args=pair, daemon=True)
                thread.start()
                threads.append(thread)

    threads = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=serve, args=(listener,), daemon=True)
        acceptor.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join(60)
    for thread in threads:
        thread.join(60)
    for end in ends:
        end.close()


def test_tls_is_verified_against_the_named_authority(redis_server, certificate):
    path = str(redis_server().directory / "redis.sock")
    with tls_before(path, certificate) as port:
        url = f"rediss://localhost:{port}/0"
        with open_client(url, "general", ca_file=certificate / "cert") as client:
            assert client.ping()
        with open_client(f"{url}?ssl_ca_certs={certificate / 'cert'}", "general") as client:
            assert client.ping()
        with (
            open_client(url, "deciding") as client,
            pytest.raises(RedisUnreachableError, match="no TLS") as raised,
            translated(client),
        ):
            client.ping()
        assert "KUBER_CRON_REDIS_CA_FILE" in (raised.value.hint or "")
        with (
            open_client(f"rediss://127.0.0.1:{port}/0", "deciding", ca_file=certificate / "cert") as client,
            pytest.raises(RedisUnreachableError, match="no TLS"),
            translated(client),
        ):
            client.ping()  # the certificate is for localhost


# Sentinel: the same program, in its other mode.


@pytest.fixture
def sentinel(redis_server, tmp_path):
    primary = redis_server(listen="tcp")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\nrequirepass watch\ndir {tmp_path}\n"
        f"sentinel monitor mymaster 127.0.0.1 {port_of(primary.url)} 1\n"
        f"sentinel auth-pass mymaster {password_of(primary.url)}\n"
    )
    with subprocess.Popen(
        [primary.program.path, config, "--sentinel"], stdout=subprocess.DEVNULL, process_group=0
    ) as process:
        try:
            with redis.Redis(port=port, password="watch", protocol=2) as client:
                eventually(lambda: answers(client))
            yield port, primary
        finally:
            process.terminate()


def answers(client):
    try:
        return client.ping()
    except redis.ConnectionError:
        return False


def test_the_primary_is_found_through_sentinels_of_which_one_is_dead(sentinel):
    port, primary = sentinel
    asked = []
    dead = socketserver.ThreadingTCPServer(("127.0.0.1", 0), lambda *request: asked.append(request))
    threading.Thread(target=dead.serve_forever, daemon=True).start()
    both = [f"127.0.0.1:{dead.server_address[1]}", f"127.0.0.1:{port}"]
    url = f"redis+sentinel://:{password_of(primary.url)}@{','.join(both)}/mymaster/2?sentinel_password=watch"
    with dead, open_client(url, "deciding") as client:
        client.set("key", "value")
        dead.shutdown()
        assert len(asked) == 1  # redis-py by itself would ask the dead one eleven times
        assert address_of(client) == f"mymaster by {', '.join(sorted(both))}"
        connection = client.connection_pool.get_connection()
        assert connection.retry.get_retries() == 0
        client.connection_pool.release(connection)
    with open_client(primary.url.removesuffix("/0") + "/2", "general") as direct:
        assert direct.get("key") == b"value"


def test_an_unknown_service_names_the_sentinels_and_no_password(sentinel):
    port, _ = sentinel
    with open_client(
        f"redis+sentinel://:geheim@127.0.0.1:{port}/other?sentinel_password=watch", "deciding"
    ) as client:
        began = time.monotonic()
        with pytest.raises(RedisUnreachableError) as raised, translated(client):
            client.ping()
    assert time.monotonic() - began < 20  # the question is not asked again and again
    assert f"other by 127.0.0.1:{port}" in raised.value.message
    assert "geheim" not in raised.value.message
    assert "watch" not in raised.value.message


# RQ's prefix is read once per process, so each case is a process.


def in_new_process(program, **environ):
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4] / "src"), **environ}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=env, check=False
    )


SET_PREFIX = """
import os
from kuber_cron.common.redis_store.connections import set_key_prefix
print(set_key_prefix({instance!r}))
import rq.defaults
print(rq.defaults.RQ_KEY_PREFIX, os.environ.get("RQ_KEY_PREFIX"))
"""


@pytest.mark.parametrize(("instance", "prefix"), [("kuber-cron", "rq"), ("night", "night")])
def test_an_instance_has_its_own_prefix_and_commands_do_not_inherit_it(instance, prefix):
    answer = in_new_process(SET_PREFIX.format(instance=instance))
    assert answer.stdout.split() == [prefix, prefix, "None"], answer.stderr
    answer = in_new_process(SET_PREFIX.format(instance=instance), RQ_KEY_PREFIX="mine")
    assert answer.stdout.split() == [prefix, prefix, "mine"], answer.stderr


def test_a_prefix_that_comes_too_late_is_an_error():
    answer = in_new_process("import rq\n" + SET_PREFIX.format(instance="night"))
    assert "before anything imports rq" in answer.stderr
    answer = in_new_process("import rq\n" + SET_PREFIX.format(instance="kuber-cron"))
    assert answer.stdout.split() == ["rq", "rq", "None"]
