"""The first process of a container, on real processes. Being process 1 needs a pid namespace: tests/e2e has that."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[4]

# PR_SET_CHILD_SUBREAPER (36) makes it what process 1 is: the parent of everybody's orphans.
FIRST = """
import ctypes, os, signal, subprocess, sys, time
sys.path.insert(0, sys.argv[1])
from kuber_cron.cli.process import init_process as first
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0

def work():
    {work}

sys.exit(first.run_below(work))
"""


def started(work: str) -> subprocess.Popen[str]:
    program = FIRST.format(work=work.replace("\n", "\n    "))
    return subprocess.Popen(
        [sys.executable, "-c", program, str(ROOT / "src")],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


@pytest.mark.parametrize(
    ("work", "status"),
    [
        ("return 0", 0),
        ("return 7", 7),
        ("os.kill(os.getpid(), signal.SIGKILL)\nreturn 0", 128 + signal.SIGKILL),
    ],
)
def test_the_exit_status_is_that_of_the_work(work, status):
    with started(work) as process:
        assert process.wait(60) == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_reaches_the_work(number):
    work = (
        # Not by print, which a signal may interrupt and not enter again.
        "for each in (1, 2, 10, 15): signal.signal(each, lambda got, _: (os.write(1, b'%d\\n' % got), os._exit(3)))\n"
        "os.write(1, b'ready\\n')\nwhile True: signal.pause()"
    )
    with started(work) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == f"{number.value}\n"
        assert process.wait(60) == 3


@pytest.mark.skipif(
    sys.platform != "linux", reason="only on Linux do orphans have a parent that can be chosen"
)
def test_orphans_are_waited_for_while_the_work_goes_on():
    work = (
        "subprocess.run(['sh', '-c', 'sleep 0.2 & sleep 0.1 & true'])\nprint('left', flush=True)\n"
        "signal.pause()\nreturn 0"
    )
    with started(work) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "left\n"
        eventually(lambda: len(children(process.pid)) == 1)  # the work alone: no orphan, no zombie
        assert process.poll() is None
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
