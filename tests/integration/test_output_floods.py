"""Output of real commands: floods in bounded memory, a log file to follow, a disk that is full."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from supervising import Supervised
from waiting import eventually

from kuber_cron.worker.output import JsonLines

FLOOD = """
import json, sys
sys.path[:0] = {path!r}
import resource
from pathlib import Path
from supervising import Supervised
with Supervised() as commands:
    commands.run("true", log_path=Path({log!r}))
    before = int(Path("/proc/self/statm").read_text().split()[1])
    ended = commands.run("head -c 200000000 /dev/zero; echo the end", log_path=Path({log!r}), log_limit_bytes=1_000_000)
    after = int(Path("/proc/self/statm").read_text().split()[1])
print(json.dumps({{
    "grown": (after - before) * resource.getpagesize(), "kind": ended.outcome.kind,
    "total": ended.captured.total_bytes, "dropped": ended.captured.dropped_bytes, "tail": ended.captured.tail[-8:],
}}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_hundred_megabytes_leave_memory_and_log_bounded_and_the_end_is_kept(tmp_path):
    log = tmp_path / "x.log"
    program = FLOOD.format(path=sys.path, log=str(log))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    told = json.loads(done.stdout)
    assert (told["kind"], told["total"], told["tail"]) == ("success", 200_000_008, "the end\n")
    assert told["grown"] < 2_000_000
    assert log.stat().st_size <= 1_000_000 + 100
    assert log.read_bytes().endswith(b"the end\n")
    assert told["dropped"] == 200_000_008 - 1_000_000


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
