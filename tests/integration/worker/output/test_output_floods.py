"""Output of real commands: floods in bounded memory, a log file to follow, a disk that is full."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.supervised import Supervised
from tests.support.waiting import eventually

from kuber_cron.worker.output.capture import JsonLines

FLOOD = """
import json, os, sys, threading
sys.path[:0] = {path!r}
import resource
from pathlib import Path
from tests.support.supervised import Supervised
from kuber_cron.worker.output.stdout_relay import Relay
def high_water():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
read, write = os.pipe()
threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(read, 1 << 16), b"")], daemon=True).start()
relay = Relay(write)
with Supervised(sinks=lambda launch: [relay.lane("json", job=launch.job, run_id=launch.run_id, attempt=1)]) as commands:
    options = {{"log_path": Path({log!r}), "log_limit_bytes": 1_000_000, "hidden": (b"a-secret-value",)}}
    commands.run("head -c 100000 /dev/zero; sleep 0.1", **options)
    before = high_water()
    ended = commands.run("yes | head -c {size}; echo the end", **options)
    after = high_water()
print(json.dumps({{
    "grown": after - before, "kind": ended.outcome.kind, "warnings": ended.warnings,
    "total": ended.captured.total_bytes, "dropped": ended.captured.dropped_bytes, "tail": ended.captured.tail[-8:],
}}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("size", [200_000_000, pytest.param(2_000_000_000, marks=pytest.mark.slow)])
def test_a_flood_leaves_memory_and_log_bounded_and_its_end_is_kept(tmp_path, size):
    log = tmp_path / "x.log"
    program = FLOOD.format(path=sys.path, log=str(log), size=size)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=100
    )
    told = json.loads(done.stdout)
    assert (told["kind"], told["total"], told["tail"]) == ("success", size + 8, "the end\n")
    assert told["grown"] < 10_000_000
    assert log.stat().st_size <= 1_000_000 + 100
    assert log.read_bytes().endswith(b"the end\n")
    assert told["dropped"] == size + 8 - 1_000_000


FULL = """
import json, resource, sys
sys.path[:0] = {path!r}
from pathlib import Path
from tests.support.supervised import Supervised
resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, 65_536))
with Supervised() as commands:
    ended = commands.run("yes | head -c 1000000; echo the end", log_path=Path({log!r}), log_limit_bytes=300_000)
captured = ended.captured
print(json.dumps([ended.outcome.kind, captured.dropped_bytes, captured.refused_bytes, ended.warnings, captured.tail[-8:]]))
"""


def test_a_disk_that_fills_up_keeps_what_it_took_and_the_rest_is_counted_as_its_fault(tmp_path):
    log = tmp_path / "x.log"
    program = FULL.format(path=sys.path, log=str(log))  # a process of its own, for the limit is a process's
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    kind, dropped, refused, (warning,), tail = json.loads(done.stdout)
    assert (kind, tail) == ("success", "the end\n")
    content = log.read_bytes()
    assert len(content) <= 65_536
    assert content.startswith(b"y\n" * 10_000)
    assert content.endswith(b"y\ny\nthe end\n")  # over what was there: the end is where the error is
    assert b"[kuber-cron: %d bytes dropped here]" % dropped in content
    assert refused == dropped - (1_000_008 - 300_000)
    assert "File too large" in warning


def test_a_log_can_be_followed_while_the_command_runs(tmp_path):
    log = tmp_path / "x.log"
    with Supervised() as commands:
        commands.start("echo first; read line; exec sleep 60", log_path=log)
        eventually(lambda: log.exists() and log.read_text() == "first\n")


def test_a_command_without_output_leaves_an_empty_log(tmp_path):
    with Supervised() as commands:
        commands.run("true", log_path=tmp_path / "x.log")
    assert (tmp_path / "x.log").read_bytes() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_does_not_fail_the_run_and_people_still_see_its_output():
    with Supervised() as commands:
        ended = commands.run("echo hello; exit 0", log_path=Path("/dev/full"))
    assert ended.outcome.is_success
    assert ended.captured.text == "hello\n"
    assert ended.captured.dropped_bytes == 6
    assert "No space left" in ended.warnings[0]


def test_why_a_command_could_not_start_stands_in_its_log(tmp_path):
    with Supervised() as commands:
        commands.run(["no-such-program"], log_path=tmp_path / "x.log")
    assert "cannot start: program 'no-such-program' was not found" in (tmp_path / "x.log").read_text()


def test_a_sink_hears_each_stream_in_the_order_of_arrival():
    told = []

    def sinks(launch):
        return [JsonLines(told.append, job=launch.job, run_id=launch.run_id, attempt=launch.attempt)]

    with Supervised(sinks=sinks) as commands:
        script = "echo a; sleep 0.1; echo b >&2; sleep 0.1; echo c; sleep 0.1; printf d >&2"
        assert commands.run(script).captured.text == "a\nb\nc\nd"
    lines = [json.loads(line) for line in "".join(told).splitlines()]
    assert [(line["stream"], line["text"]) for line in lines] == [
        ("stdout", "a"),
        ("stderr", "b"),
        ("stdout", "c"),
        ("stderr", "d"),
    ]
    assert {line["job"] for line in lines} == {"job"}


def test_a_flood_does_not_starve_the_other_commands():
    with Supervised() as commands:
        flood = commands.start("exec cat /dev/zero")
        commands.says(flood, 1_000_000)
        for _ in range(20):
            assert commands.run("echo hi").captured.text == "hi\n"
        commands.supervisor.stop(flood.execution_id, "stopped")
        assert commands.end().outcome.kind == "stopped"
