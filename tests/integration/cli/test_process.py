import os
import signal
import subprocess
import sys

import pytest
from tests.support.cli_process import COMMAND, environment, kuber_cron
from tests.support.waiting import eventually

from kuber_cron import __version__

DAILY = ("next", "--schedule", "30 2 * * *", "--timezone", "Europe/Berlin", "--from", "2026-03-28")


def test_the_version_is_the_packages():
    assert kuber_cron("--version").stdout == f"kuber-cron {__version__}\n"


def test_without_a_command_the_help_is_shown_as_a_usage_error():
    done = kuber_cron()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == kuber_cron("--help").stdout


def test_a_reader_that_has_seen_enough_is_met_with_silence():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*COMMAND, *DAILY, "-n", "1000"],
        env=environment(),
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_ctrl_c_during_a_quick_command_is_130_and_silent():
    process = subprocess.Popen(
        [*COMMAND, "check", "-"], env=environment(), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        # Its input is read after everything is imported; a pipe that takes more than it holds proves that it reads.
        process.stdin.write(b"# a comment\n" * 100_000)
        process.stdin.flush()

        def has_ended():
            # Again and again, as a person would: a signal just before the system call is seen after it.
            process.send_signal(signal.SIGINT)
            return process.poll() is not None

        eventually(has_ended, 20, every=0.2)
        assert process.returncode == 130
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stderr.close()


# What a quick command must not wait for. The heavy ones cost more than everything else together.
HEAVY = {"kubernetes", "redis", "rq", "prometheus_client", "pydantic_settings", "psutil", "rich.live"}


@pytest.mark.parametrize(
    "words",
    [["--help"], ["run", "--help"], ["next", "--schedule", "@daily"], ["check", "-"]],
    ids=["help", "run-help", "next", "check"],
)
def test_a_quick_command_imports_no_heavy_client(words):
    program = (
        "import sys; from kuber_cron.cli.app import execute; execute(sys.argv[1:]); "
        "sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    imported = set(done.stderr.split())
    assert "kuber_cron.cli.app" in imported
    assert imported & HEAVY == set()
