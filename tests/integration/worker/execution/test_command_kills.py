"""Commands that we end: timeout, stop, replace, drain; and that nothing of them is left."""

import errno
import math
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from tests.support.clocks import SteppedClock
from tests.support.supervised import DEADLINE, Supervised
from tests.support.waiting import eventually

from kuber_cron.worker.execution import leftover_processes, process_attempt
from kuber_cron.worker.execution.outcome import Outcome

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 60; done"
# A tree of three that all ignore TERM, two of them not the group's leader.
STUBBORN_TREE = "trap '' TERM; (sh -c 'sleep 61; :' ; sleep 61) & echo ready; sleep 61; sleep 61"
# In a session of its own and deaf to TERM: out of the group's reach, known by its environment alone.
DAEMON = (
    f"{sys.executable} -c 'import os, signal, time\n"
    "if os.fork(): os._exit(0)\n"
    "os.setsid()\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    'os.write(1, b"ready\\n")\n'
    "time.sleep(60)'; "
)


@pytest.fixture
def commands():
    with Supervised() as supervised:
        yield supervised
        assert supervised.supervisor.errors == 0


def remaining(launch):
    return leftover_processes.find({launch.execution_id})


def test_the_loop_goes_on_when_there_is_no_descriptor_left_to_look_for_stragglers(monkeypatch):
    find, tries = leftover_processes.find, []

    def out_of_descriptors(wanted):
        tries.append(wanted)
        if len(tries) < 3:
            raise OSError(errno.EMFILE, "Too many open files")
        return find(wanted)

    monkeypatch.setattr(leftover_processes, "find", out_of_descriptors)
    with Supervised() as commands:
        ended = commands.run("exec sleep 60", timeout_seconds=0.1)
        assert (ended.outcome.kind, ended.warnings) == ("timed_out", ())
        assert commands.run("true").outcome.is_success


def test_stragglers_that_can_never_be_looked_for_are_told_of(monkeypatch):
    def out_of_descriptors(_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(leftover_processes, "find", out_of_descriptors)
    monkeypatch.setattr(process_attempt, "_GIVE_UP_SECONDS", 0.3)
    with Supervised() as commands:
        ended = commands.run("exec sleep 60", timeout_seconds=0.1)
    assert ended.outcome.kind == "timed_out"
    assert ended.warnings == ("processes that outlived the command could not be looked for",)


def test_a_timeout_ends_the_command(commands):
    ended = commands.run("exec sleep 60", timeout_seconds=0.1)
    assert ended.outcome == Outcome(kind="timed_out", signal=signal.SIGTERM, cause="timeout")
    assert ended.elapsed_seconds >= 0.1


def test_a_command_may_clean_up_within_its_grace(commands):
    launch = commands.start("trap 'echo cleaned; exit 0' TERM; echo ready; while :; do sleep 0.01; done")
    commands.says(launch, 6)
    commands.supervisor.stop(launch.execution_id, "stopped")
    ended = commands.end()
    assert ended.captured.text.endswith("cleaned\n")
    assert ended.outcome == Outcome(kind="stopped", exit_code=0, cause="stopped")


def test_a_childs_clean_up_has_the_grace_too_when_its_parent_is_gone(commands):
    child = "trap 'sleep 0.3; echo cleaned; exit' TERM; echo ready; while :; do sleep 0.01; done"
    launch = commands.start(f'sh -c "{child}" & wait')
    commands.says(launch, 6)
    commands.supervisor.stop(launch.execution_id, "stopped")
    ended = commands.end()
    assert "cleaned" in ended.captured.text
    assert not remaining(launch)


@pytest.mark.parametrize("command", [STUBBORN, STUBBORN_TREE], ids=["alone", "tree"])
def test_what_ignores_term_is_killed_after_the_grace(commands, command):
    launch = commands.start(command, kill_grace_seconds=0.2)
    commands.says(launch, 6)
    began = time.monotonic()
    commands.supervisor.stop(launch.execution_id, "replaced")
    ended = commands.end()
    assert ended.outcome == Outcome(kind="stopped", signal=signal.SIGKILL, cause="replaced")
    assert time.monotonic() - began >= 0.2
    assert not remaining(launch)


@pytest.mark.parametrize("cause", ["timeout", "stopped", "replaced", "lost"])
def test_a_daemon_in_a_session_of_its_own_does_not_outlive_an_attempt_that_was_ended(
    commands, cause, monkeypatch
):
    monkeypatch.setattr(
        process_attempt, "DRAIN_SECONDS", 3600.0
    )  # so long the end waits for who holds the pipes
    launch = commands.start(DAEMON + "exec sleep 60", kill_grace_seconds=0.2)
    commands.says(launch, 6)
    eventually(lambda: len(remaining(launch)) == 2)
    commands.supervisor.stop(launch.execution_id, cause)
    ended = commands.end()
    assert ended.leftover_processes == 1
    assert not remaining(launch)


def test_a_daemon_of_an_attempt_that_succeeded_lives_on(commands):
    ended = commands.run(DAEMON + "exit 0")
    assert ended.outcome.is_success
    assert ended.leftover_processes == 0
    assert len(remaining(ended.launch)) == 1
    assert leftover_processes.end({ended.launch.execution_id, "nobody's"}) == 1
    assert not remaining(ended.launch)


def test_a_sweep_leaves_what_carries_another_id_alone(commands):
    launch = commands.start("echo ready; exec sleep 60")
    commands.says(launch, 6)
    assert leftover_processes.end({launch.execution_id + "0", launch.execution_id[:-1], ""}) == 0
    assert remaining(launch)


def test_a_stopped_command_hears_of_its_end(commands):
    launch = commands.start("trap 'echo cleaned; exit' TERM; echo ready; kill -STOP $$; sleep 60")
    commands.says(launch, 6)
    commands.supervisor.stop(launch.execution_id, "stopped")
    assert "cleaned" in commands.end().captured.text


def test_a_stop_that_comes_before_the_start_is_through_ends_it(commands):
    for _ in range(20):
        launch = commands.start("exec sleep 60")
        commands.supervisor.stop(launch.execution_id, "stopped")
    assert {commands.end().outcome.kind for _ in range(20)} == {"stopped"}


def test_a_stop_of_what_is_unknown_or_has_ended_does_nothing(commands):
    commands.supervisor.stop("nobody", "stopped")
    ended = commands.run("true")
    commands.supervisor.stop(ended.launch.execution_id, "stopped")
    assert commands.run("true").outcome.is_success
    assert commands.ended.empty()


def test_a_command_that_had_ended_by_itself_keeps_its_outcome_when_a_stop_comes_late():
    released = threading.Event()

    def started(launch, pid):
        if launch.job == "holds the loop":
            released.wait(DEADLINE)  # until the start and the stop of the other are both asked for
        else:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # it has ended, and the loop cannot know

    with Supervised(on_started=started) as commands:
        commands.supervisor.start(replace(commands.launch("exit 0"), job="holds the loop"))
        launch = commands.start("exit 3")
        commands.supervisor.stop(launch.execution_id, "stopped")
        released.set()
        ended = {one.launch.execution_id: one.outcome for one in (commands.end(), commands.end())}
    assert ended[launch.execution_id] == Outcome(kind="failed", exit_code=3)


def test_a_second_stop_with_less_grace_counts(commands):
    launch = commands.start(STUBBORN, kill_grace_seconds=3600)
    commands.says(launch, 6)
    commands.supervisor.stop(launch.execution_id, "stopped")
    commands.supervisor.stop(launch.execution_id, "lost", grace_seconds=0)
    ended = commands.end()
    assert ended.outcome == Outcome(kind="stopped", signal=signal.SIGKILL, cause="stopped")


def test_without_a_grace_a_command_is_killed_at_once(commands):
    launch = commands.start(STUBBORN_TREE, kill_grace_seconds=3600)
    commands.says(launch, 6)
    commands.supervisor.stop(launch.execution_id, "lost", grace_seconds=0)
    assert commands.end().outcome == Outcome(kind="lost", signal=signal.SIGKILL, cause="lost")
    assert not remaining(launch)


def test_many_that_are_ended_at_once_are_each_ended_cleanly(commands):
    launches = [commands.start(DAEMON + STUBBORN, kill_grace_seconds=0.2) for _ in range(12)]
    for launch in launches:
        commands.says(launch, 12)
    commands.supervisor.stop_all("interrupted")
    ended = [commands.end() for _ in launches]
    assert {one.outcome.kind for one in ended} == {"interrupted"}
    assert {one.leftover_processes for one in ended} == {1}
    assert not leftover_processes.find({launch.execution_id for launch in launches})


def test_timers_follow_the_clock_that_was_handed_in():
    clock = SteppedClock()
    with Supervised(clock=clock) as commands:
        launch = commands.start(STUBBORN, timeout_seconds=3600, kill_grace_seconds=60)
        commands.says(launch, 6)
        clock.advance(3599)
        commands.wake()
        assert commands.supervisor.running()[0].ending is None
        clock.advance(1)
        commands.wake()
        eventually(lambda: commands.supervisor.running()[0].ending == "timeout")
        clock.advance(60)
        commands.wake()
        eventually(lambda: _advance(clock, commands) and not commands.ended.empty())
        ended = commands.end()
    assert ended.outcome == Outcome(kind="timed_out", signal=signal.SIGKILL, cause="timeout")
    assert ended.elapsed_seconds >= 3660


def _advance(clock, commands):
    clock.advance(0.01)
    commands.wake()
    return True


def test_a_drain_lets_what_is_quick_finish_and_interrupts_the_rest():
    with Supervised() as commands:
        quick = commands.start("sleep 0.3; exit 0")
        slow = commands.start("echo ready; exec sleep 60", kill_grace_seconds=1)
        commands.says(slow, 6)
        began = time.monotonic()
        commands.supervisor.drain(3)
        assert not commands.supervisor.start(commands.launch("true"))
        outcomes = {
            ended.launch.execution_id: ended.outcome.kind for ended in (commands.end(), commands.end())
        }
        commands.thread.join(DEADLINE)
    assert outcomes == {quick.execution_id: "success", slow.execution_id: "interrupted"}
    assert 0.5 < time.monotonic() - began < 30  # the slow one would have taken a minute


def test_a_drain_is_over_in_time_whatever_a_command_thinks_of_it():
    with Supervised() as commands:
        launch = commands.start(DAEMON + STUBBORN_TREE, kill_grace_seconds=3600)
        commands.says(launch, 12)
        began = time.monotonic()
        commands.supervisor.drain(2)
        assert commands.end().outcome.kind == "interrupted"
        commands.thread.join(DEADLINE)
        assert time.monotonic() - began < 60  # two seconds, and a busy machine's pauses; its grace is an hour
    assert not remaining(launch)


def test_a_drain_of_an_idle_supervisor_is_over_at_once():
    with Supervised() as commands:
        commands.supervisor.drain(math.inf)
        commands.thread.join(DEADLINE)
        assert not commands.thread.is_alive()


def test_closing_kills_what_runs_and_tells_of_it():
    with Supervised() as commands:
        launch = commands.start(STUBBORN_TREE, kill_grace_seconds=3600)
        commands.says(launch, 6)
    assert commands.end().outcome.kind == "interrupted"
    assert not remaining(launch)


def test_members_of_a_group_are_the_living_ones():
    with subprocess.Popen(["sh", "-c", "sleep 60 & echo; wait"], process_group=0, stdout=-1) as leader:
        leader.stdout.readline()
        (child,) = eventually(lambda: leftover_processes.members(leader.pid, besides=leader.pid))
        assert set(leftover_processes.members(leader.pid, besides=0)) == {leader.pid, child}
        os.kill(leader.pid, signal.SIGKILL)
        os.waitid(os.P_PID, leader.pid, os.WEXITED | os.WNOWAIT)  # a zombie, and no member
        assert leftover_processes.members(leader.pid, besides=0) == [child]
        leftover_processes.kill([child])
        eventually(lambda: not leftover_processes.members(leader.pid, besides=0))
