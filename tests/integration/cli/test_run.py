"""``kuber-cron run`` as a person starts and stops it: one process, a Redis of its own, real commands."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import urllib.request

import psutil
import pytest
from tests.support.cli_process import COMMAND, end, environment, kuber_cron
from tests.support.terminals import seen, terminals
from tests.support.waiting import eventually

JOBS = """
# kuber-cron: name=tick
@every 1s echo tock
# kuber-cron: name=sleeper kill_grace=60s concurrency=forbid
@every 1s trap '' TERM; echo $$ > sleeper.pid; while :; do sleep 0.1; done
"""
QUICK = "# kuber-cron: name=tick\n@every 1s echo tock\n"


class Service:
    """A running ``kuber-cron run`` whose log lines are read one by one."""

    def __init__(self, directory, *words, **extra):
        self.directory = directory
        self.process = subprocess.Popen(
            [*COMMAND, "run", "crontab", "--metrics-port", "0", *words],
            cwd=directory,
            env=environment(KUBER_CRON_LOG_FORMAT="json", **extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def until(self, event, **fields):
        """The next log line of that event with those fields; every line before it is passed over."""
        for line in self.process.stderr:
            if line.startswith("{"):
                entry = json.loads(line)
                if entry["event"] == event and fields.items() <= entry.items():
                    return entry
        raise AssertionError(f"the log ended without {event!r} {fields}")

    def stop(self, *, seconds=60):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(seconds)


@pytest.fixture
def run(tmp_path):
    started = []

    def start(text, *words, **extra):
        (tmp_path / "crontab").write_text(text)
        service = Service(tmp_path, *words, **extra)
        started.append(service.process)
        return service

    yield start
    end(started)


def test_a_crontab_runs_is_measured_and_stops_with_status_0(run, tmp_path):
    service = run(QUICK)
    port = service.until("telemetry is served")["port"]
    ended = service.until("run ended", job="tick")
    assert ended["outcome"] == "success"
    (log, *_) = sorted((tmp_path / ".kuber-cron" / "logs" / "tick").iterdir())
    assert log.read_text() == "tock\n"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        assert b'cron_job_executions_total{job="tick",outcome="success"}' in answer.read()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60) as answer:
        assert json.load(answer)["tier"] == "run"
    assert service.stop() == 0
    assert service.process.stdout.read() == ""


def test_a_second_start_on_the_same_directory_is_refused_and_a_later_one_goes_on(run, tmp_path):
    first = run(QUICK)
    first.until("run ended")
    second = kuber_cron("run", "crontab", "--metrics-port", "0", cwd=tmp_path)
    assert second.returncode == 1
    assert "error: " in second.stderr
    assert str(first.process.pid) in second.stderr
    assert first.stop() == 0
    third = run(QUICK)
    assert third.until("leading")["epoch"] == 2
    third.until("run ended")
    assert third.stop() == 0


def test_a_second_ctrl_c_ends_at_once_and_leaves_nothing_running(run, tmp_path):
    service = run(JOBS)
    service.until("run started", job="sleeper")
    pid = int(
        eventually(lambda: (tmp_path / "sleeper.pid").exists() and (tmp_path / "sleeper.pid").read_text())
    )
    family = psutil.Process(service.process.pid).children(recursive=True)
    service.process.send_signal(signal.SIGINT)
    service.until("worker drains")
    with pytest.raises(subprocess.TimeoutExpired):
        service.process.wait(0.3)  # what comes within a fifth of a second is the same press
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(60) == 130
    assert not psutil.pid_exists(pid)
    assert psutil.wait_procs(family, timeout=60)[1] == []


def test_one_bad_line_is_said_aloud_and_hides_no_other(run):
    service = run("61 * * * * echo bad\n" + QUICK)
    said = []
    for line in service.process.stderr:
        said.append(line)
        if line.startswith("1 error"):
            break
    assert any(re.match(r"crontab:1:1: error\[KC1", line) for line in said)
    service.until("run ended", job="tick")
    assert service.stop() == 0


def test_a_port_in_use_is_named_before_anything_runs(tmp_path):
    (tmp_path / "crontab").write_text(QUICK)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = kuber_cron("run", "crontab", "--metrics-port", port, cwd=tmp_path)
    assert done.returncode == 1
    assert re.search(rf"error: .*{port}", done.stderr)
    assert "run queued" not in done.stderr


@pytest.fixture
def terminal(tmp_path):
    """Starts ``run`` on a terminal of 24 lines of 90 cells; gives its process and our end of the terminal."""
    (tmp_path / "crontab").write_text(QUICK)
    with terminals(24, 90, cwd=tmp_path) as start:
        run = ("run", "crontab", "--metrics-port", "0")
        yield lambda term="xterm": start(*run, env=environment() | {"TERM": term})


def read_to_the_end(process, ours):
    while process.poll() is None:
        if select.select([ours], [], [], 0.05)[0]:
            try:
                os.read(ours, 65536)
            except OSError:  # Linux says so when the other end is closed
                break
    return process.wait(60)


def test_on_a_terminal_a_live_view_stands_below_the_log_lines(terminal):
    process, ours = terminal()
    # The last of them moves the cursor up: it draws over itself.
    seen(ours, "run ended", "running", "next", "success", "Ctrl-C stops", "leader", "\x1b[1A")
    process.send_signal(signal.SIGINT)
    assert read_to_the_end(process, ours) == 0


def test_a_terminal_that_cannot_move_its_cursor_gets_log_lines(terminal):
    process, ours = terminal(term="dumb")
    sent = seen(ours, "run ended")
    assert "\x1b[1A" not in sent
    assert "Ctrl-C stops" not in sent
    process.send_signal(signal.SIGINT)
    assert read_to_the_end(process, ours) == 0
