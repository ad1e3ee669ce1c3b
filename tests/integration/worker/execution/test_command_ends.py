"""Commands that end by themselves: codes, signals, input, environment, refusals, many at once."""

import gc
import os
import pwd
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from tests.support.supervised import Supervised
from tests.support.waiting import eventually

from kuber_cron.worker.execution import process_attempt, spawn
from kuber_cron.worker.execution.outcome import Outcome

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def commands():
    with Supervised() as supervised:
        yield supervised
        assert supervised.supervisor.errors == 0


@pytest.mark.parametrize("code", [0, 1, 2, 127, 255])
def test_the_exit_code_is_the_commands_own(commands, code):
    assert commands.run(f"exit {code}").outcome == Outcome(
        kind="failed" if code else "success", exit_code=code
    )


def test_success_codes_are_the_jobs(commands):
    assert commands.run("exit 3", success_codes=frozenset({0, 3})).outcome.is_success


def test_a_signal_is_told_by_its_number(commands):
    assert commands.run("kill -9 $$").outcome == Outcome(kind="signalled", signal=9)


def test_a_list_is_executed_without_a_shell(commands):
    assert commands.run(["printf", "%s", "$HOME * | x"]).captured.text == "$HOME * | x"


def test_no_input_is_end_of_file_at_once(commands):
    assert commands.run("cat; echo end").captured.text == "end\n"
    assert commands.run("cat; echo end", stdin=b"").captured.text == "end\n"


def test_input_arrives_and_ends(commands):
    assert commands.run("cat", stdin=b"a\nb\n").captured.text == "a\nb\n"


def test_more_input_than_a_pipe_holds_arrives_whole(commands):
    assert commands.run("wc -c", stdin=b"x" * 10_000_000).captured.text.strip() == "10000000"


def test_input_that_nobody_reads_stalls_neither_its_command_nor_the_others(commands):
    deaf = commands.start("exec sleep 60", stdin=b"x" * 10_000_000)
    assert commands.run("true").outcome.is_success
    assert commands.run("true", stdin=b"x" * 10_000_000).outcome.is_success
    commands.supervisor.stop(deaf.execution_id, "stopped")
    assert commands.end().outcome.kind == "stopped"


def test_a_command_sees_its_variables_and_none_of_our_settings(commands, monkeypatch):
    monkeypatch.setenv("KUBER_CRON_REDIS_URL", "redis://secret")
    ended = commands.run("env", variables={"MODE": "full"})
    lines = ended.captured.text.splitlines()
    assert "MODE=full" in lines
    assert f"KUBER_CRON_EXECUTION={ended.launch.execution_id}" in lines
    assert "secret" not in ended.captured.text


def test_it_runs_in_its_directory(commands, tmp_path):
    assert commands.run("pwd -P", cwd=str(tmp_path)).captured.text.strip() == str(tmp_path.resolve())


def test_it_runs_with_its_umask(commands):
    assert commands.run("umask", umask=0o027).captured.text.strip() == "0027"


def test_it_runs_with_its_niceness(commands):
    own = os.getpriority(os.PRIO_PROCESS, 0)
    # The new priority is set from outside, a moment after the start.
    look = f"import os,time\nwhile os.getpriority(0,0)=={own}: time.sleep(.01)\nprint(os.getpriority(0,0))"
    ended = commands.run([sys.executable, "-c", look], nice=3, timeout_seconds=10)
    assert ended.captured.text.strip() == str(own + 3)


def test_a_memory_limit_stops_a_greedy_command_and_its_children(commands):
    greedy = f"{sys.executable} -c 'x = bytearray(400_000_000)'; test $? -ne 0 && echo refused"
    assert "refused" in commands.run(greedy, memory_bytes=200_000_000).captured.text
    assert "refused" not in commands.run(greedy).captured.text


def test_a_cpu_limit_ends_a_busy_command_by_signal(commands):
    ended = commands.run("while :; do :; done", cpu_seconds=0.5)
    assert ended.outcome.kind == "signalled"
    assert 0.5 <= ended.cpu_seconds <= 3


def test_a_limit_does_not_change_words_or_code(commands):
    ended = commands.run(["sh", "-c", 'printf "<%s>" "$@"; exit 7', "x", "a b", "$c"], memory_bytes=2**32)
    assert (ended.captured.text, ended.outcome.exit_code) == ("<a b><$c>", 7)


def test_the_largest_memory_is_told_where_it_is_the_commands_own(commands):
    ended = commands.run([sys.executable, "-c", "x = b'x' * 500_000_000"])
    assert ended.max_rss_bytes is not None
    assert ended.max_rss_bytes > 500_000_000
    assert commands.run("true").max_rss_bytes is None  # the kernel charges it our own


def test_cpu_time_counts_what_it_has_waited_for(commands):
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    assert commands.run(f'{sys.executable} -c "{busy}"; true').cpu_seconds >= 0.3


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        ({"command": ["no-such-program"]}, 127, "program 'no-such-program' was not found"),
        ({"command": ["/etc/passwd"]}, 126, "program '/etc/passwd': Permission denied"),
        ({"command": "true", "cwd": "/nowhere"}, 126, "working directory '/nowhere': No such file"),
        ({"command": ["a\0b"]}, 126, "cannot be passed on: embedded null byte"),
        ({"command": []}, 126, "the command is empty"),
        ({"command": "x" * 3_000_000}, 126, "longer than this system allows"),
        ({"command": "true", "user": "nobody-knows"}, 126, "user 'nobody-knows' is unknown on this worker"),
    ],
)
def test_what_cannot_start_has_failed_with_the_shells_code_and_a_sentence(commands, options, code, sentence):
    ended = commands.run(**options)
    assert ended.outcome == Outcome(kind="failed", exit_code=code)
    assert ended.captured.text.startswith("kuber-cron: cannot start: ")
    assert sentence in ended.captured.text
    assert ended.pid is None
    assert commands.run("true").outcome.is_success


@root_only
def test_it_runs_as_its_user_with_that_users_name_and_home(commands):
    nobody = pwd.getpwnam("nobody")
    ended = commands.run(
        "id -u; id -g; echo $USER $LOGNAME $HOME", user="nobody", inherits_home=True, cwd="/"
    )
    assert ended.captured.text.split() == [
        str(nobody.pw_uid), str(nobody.pw_gid), "nobody", "nobody", nobody.pw_dir,
    ]  # fmt: skip
    by_number = commands.run("echo $USER $HOME", user=str(nobody.pw_uid), variables={"HOME": "/x"}, cwd="/")
    assert by_number.captured.text.split() == ["nobody", "/x"]


def test_a_worker_that_cannot_become_the_user_runs_it_itself_with_a_warning_or_refuses(commands, monkeypatch):
    monkeypatch.setattr(spawn.os, "geteuid", lambda: 12345)
    ended = commands.run("id -u", user="daemon")
    assert ended.captured.text.strip() == str(os.getuid())
    assert ended.warnings == ("only root can become user 'daemon'; run as the worker's own user",)
    refused = commands.run("id -u", user="daemon", user_required=True)
    assert refused.outcome == Outcome(kind="failed", exit_code=126)
    assert "this job requires it" in refused.captured.text


def test_sixty_four_run_at_once(commands, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    for _ in range(64):
        commands.start(f": < {gate}")  # waits until somebody opens it for writing
    eventually(lambda: len(commands.supervisor.running()) == 64)
    opened = os.open(gate, os.O_RDWR)
    assert all(commands.end().outcome.is_success for _ in range(64))
    os.close(opened)


@linux_only
def test_two_hundred_commands_leave_no_descriptor_and_no_zombie(commands):
    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    commands.run("true", stdin=b"x")
    gc.collect()
    before = descriptors()
    for number in range(200):
        commands.start("cat" if number % 2 else "exit 1", stdin=b"hello" if number % 2 else None)
    for _ in range(200):
        commands.end()
    assert commands.run("no-such-command").outcome.exit_code == 127
    assert descriptors() == before
    # Other children of this process, the session's Redis among them, are alive.
    assert [
        child.pid for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE
    ] == []


def test_a_daemon_that_holds_the_pipes_delays_the_end_by_a_second_and_lives_on(commands, tmp_path):
    pid_file = tmp_path / "pid"
    began = time.monotonic()
    ended = commands.run(f"(echo out; exec sleep 300) & echo $! > {pid_file}")
    daemon = int(pid_file.read_text())
    try:
        assert ended.outcome.is_success
        assert ended.captured.text == "out\n"
        # The second in which output may still come is none of the command's own.
        assert time.monotonic() - began >= ended.elapsed_seconds + process_attempt.DRAIN_SECONDS
        os.kill(daemon, 0)
    finally:
        os.kill(daemon, 9)


def test_output_that_comes_just_after_the_end_is_kept(commands):
    assert commands.run("(sleep 0.2; echo late) & echo early").captured.text == "early\nlate\n"


def test_what_runs_is_shown_while_it_runs(commands):
    launch = commands.start("echo hello; exec sleep 60")
    commands.says(launch, 6)
    started, pid = commands.started.get(timeout=60)
    (running,) = commands.supervisor.running()
    assert (running.launch, running.pid, started) == (launch, pid, launch)
    assert running.ending is None
    assert running.elapsed_seconds > 0
    commands.supervisor.stop(launch.execution_id, "stopped")
    commands.end()
    assert commands.supervisor.running() == []


def test_a_callback_that_raises_is_logged_and_costs_nothing():
    ended = []

    def raising(*about):
        ended.append(about)
        raise RuntimeError("broken owner")

    with Supervised(on_started=raising, on_ended=raising) as commands:
        commands.start("true")
        commands.start("true")
        eventually(lambda: len(ended) == 4)
    assert commands.supervisor.errors == 4


def test_an_error_of_ours_costs_one_command_and_not_the_loop(monkeypatch):
    with Supervised() as commands:
        launch = commands.start("echo x; exec sleep 60")
        commands.says(launch, 2)
        (attempt,) = commands.supervisor._attempts.values()
        monkeypatch.setattr(attempt, "_timeout_at", "broken")
        attempt.wake_at = 0.0
        commands.wake()
        assert commands.end().outcome.kind == "lost"
        assert commands.run("true").outcome.is_success
    assert commands.supervisor.errors == 1
    eventually(lambda: _is_reaped(attempt.pid))


def _is_reaped(pid):
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


def test_one_execution_id_runs_once(commands):
    launch = commands.start("exec sleep 60")
    with pytest.raises(ValueError, match="runs already"):
        commands.supervisor.start(launch)


def test_without_descriptors_for_processes_threads_wait_for_them(monkeypatch):
    def refuse(_pid):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    with Supervised() as commands:
        assert type(commands.supervisor._exits).__name__ == "Waiters"
        assert commands.run("exit 3").outcome.exit_code == 3
        assert commands.run("exec sleep 60", timeout_seconds=0.1).outcome.kind == "timed_out"


def test_a_supervisor_that_was_closed_starts_nothing():
    with Supervised() as commands:
        launch = commands.launch("true")
        commands.supervisor.close()
        assert not commands.supervisor.start(launch)
        commands.thread.join(60)
    assert commands.ended.empty()


def test_starts_from_many_threads_are_each_answered_once(commands):
    def burst():
        for _ in range(25):
            commands.start("true")

    threads = [threading.Thread(target=burst) for _ in range(4)]
    for thread in threads:
        thread.start()
    ids = {commands.end().launch.execution_id for _ in range(100)}
    for thread in threads:
        thread.join()
    assert len(ids) == 100
    assert commands.ended.empty()


def test_the_log_file_is_private_to_us_and_its_group(commands, tmp_path):
    path: Path = tmp_path / "logs" / "job" / "x-1.log"
    ended = commands.run("echo out; echo err >&2", log_path=path)
    assert sorted(path.read_text().split()) == ["err", "out"]
    assert ended.captured.log_path == path
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.parent.stat().st_mode & 0o777 == 0o750
