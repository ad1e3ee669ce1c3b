"""A service on the command line is a process with signals, so each of these is one."""

import select
import signal
import subprocess
import sys

import pytest
from tests.support.cli_process import end

# The service announces on stdout what it was asked, so that a test waits for that and for no time to pass.
PROGRAM = """
import sys, threading
from kuber_cron.cli.process import lifecycle as serving
from kuber_cron.common.errors import RedisUnreachableError

class Announcing:
    def __init__(self, ends_on):
        self.ends_on, self.over, self.error = ends_on, threading.Event(), None
    def start(self): self.say("start")
    def drain(self): self.say("drain")
    def abort(self): self.say("abort")
    def say(self, word):
        print(word, flush=True)
        if word == self.ends_on: self.over.set()
        if word == self.ends_on == "start": self.error = RedisUnreachableError("gone")
    def wait(self, timeout_seconds=None):
        self.over.wait(timeout_seconds)
        if self.error: raise self.error
        return self.over.is_set()

try:
    sys.exit(serving.serve(Announcing(sys.argv[1])))
except RedisUnreachableError as error:
    print("raised", error.message)
    sys.exit(1)
"""


@pytest.fixture
def serve():
    started = []

    def start(ends_on):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, ends_on], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "start\n"
        return process

    yield start
    end(started)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_drains_and_the_status_is_0(serve, number):
    process = serve("drain")
    process.send_signal(number)
    assert process.stdout.readline() == "drain\n"
    assert process.wait(60) == 0


def press_ctrl_c_again(process):
    """What comes within a fifth of a second is the same press."""
    assert select.select([process.stdout], [], [], 0.3)[0] == []
    process.send_signal(signal.SIGINT)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_it_drains_ends_at_once_with_130(serve, first):
    process = serve("abort")
    process.send_signal(first)
    assert process.stdout.readline() == "drain\n"
    press_ctrl_c_again(process)
    assert process.stdout.readline() == "abort\n"
    assert process.wait(60) == 130


def test_a_repeated_sigterm_does_not_cut_the_grace_short(serve):
    process = serve("abort")
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "drain\n"
    for _ in range(5):
        process.send_signal(signal.SIGTERM)
    press_ctrl_c_again(process)
    assert process.stdout.readline() == "abort\n"
    assert process.wait(60) == 130


def test_one_ctrl_c_that_arrives_twice_is_one(serve):
    process = serve("abort")
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "drain\n"
    process.send_signal(signal.SIGINT)
    assert select.select([process.stdout], [], [], 0.3)[0] == []


def test_what_ends_the_service_otherwise_is_raised(serve):
    process = serve("start")
    assert process.stdout.readline() == "raised gone\n"
    assert process.wait(60) == 1
