"""Attempt: one command from its start to its end, as the supervisor's loop drives it.

::

    RUNNING ──process ends──────────────────────────────► DRAINING ──pipes empty, ≤ 1 s──► DONE
       │ a cause: TERM to the group                           ▲
       ▼                                                      │
    ENDING ──process ended, group empty, or KILL──► SWEEPING ─┘ nothing carries its id any more

A process that ended by itself leaves its children alone: a daemon that a job starts goes on, as under every cron, until
the run is attempted again.
One that we ended leaves nothing. While it is being ended the dead process stays a zombie, so that its number,
which is the group's, cannot come to mean somebody else before the last signal is sent.
"""

import enum
import math
import os
import resource
import selectors
import signal
import sys
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from functools import partial

from kuber_cron.common.records.excerpt import Stream
from kuber_cron.worker.execution import leftover_processes
from kuber_cron.worker.execution.launch import AttemptResult, Launch, RunningCommand
from kuber_cron.worker.execution.outcome import Cause, Outcome
from kuber_cron.worker.execution.spawn import Child, signal_group
from kuber_cron.worker.output.capture import Output

READ_BYTES = 64 * 1024  # a pipe's usual capacity: one read empties it
DRAIN_SECONDS = (
    1.0  # for output that is under way when the process has ended; a daemon may hold the pipes for ever
)
_LOOK_SECONDS = (0.005, 0.1)  # first and longest pause between looks at a group that is being ended
_GIVE_UP_SECONDS = 5.0  # after KILL; what is left then sits in the kernel and takes no signal
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # getrusage(2)


class Phase(enum.Enum):
    """Where an attempt stands; see the module's drawing."""

    RUNNING = enum.auto()
    ENDING = enum.auto()
    SWEEPING = enum.auto()
    DRAINING = enum.auto()
    DONE = enum.auto()


class ProcessAttempt:
    """One started command. Everything here runs in the loop's thread and never blocks.

    Attributes:
        launch: What was started.
        pid: Its process and process group.
        phase: Where it stands.
        cause: Why it is being ended, or None.
        output: What it has written.
        started_at: Wall clock, aware UTC.
        warnings: What could not be done as asked.
        wake_at: When :meth:`tick` is to be called next, on the interval clock; infinite for never.
    """

    def __init__(
        self,
        launch: Launch,
        child: Child,
        output: Output,
        *,
        wall: datetime,
        now: float,
        selector: selectors.BaseSelector,
        on_done: Callable[["ProcessAttempt"], None],
    ) -> None:
        self.launch = launch
        self.pid = child.process.pid
        self.phase = Phase.RUNNING
        self.cause: Cause | None = None
        self.output = output
        self.started_at = wall
        self.warnings = child.warnings
        self._process = child.process
        self._selector = selector
        self._on_done = on_done
        self._started = now
        self._ended: float | None = None  # when the process was seen to have ended
        self._timeout_at = _later(now, launch.timeout_seconds)
        self._drain_at = math.inf
        self._latest_kill_at = math.inf
        self._kill_at = math.inf
        self._give_up_at = math.inf
        self._look_seconds = _LOOK_SECONDS[0]
        self._stragglers: set[int] = set()
        self._returncode: int | None = None
        self._usage: resource.struct_rusage | None = None
        self._pipes: dict[int, Stream] = {child.stdout: "stdout", child.stderr: "stderr"}
        self._stdin = child.stdin
        self._input = memoryview(launch.stdin or b"")
        self.wake_at = self._timeout_at
        for fd, stream in self._pipes.items():
            selector.register(fd, selectors.EVENT_READ, partial(self._read, fd, stream))
        if self._stdin is not None:
            selector.register(self._stdin, selectors.EVENT_WRITE, self._feed)
            self._feed(now)

    # What the loop tells --------------------------------------------------------------------------------------

    def exited(self, now: float) -> None:
        """The process has ended and is a zombie."""
        if self._ended is not None:
            return
        self._ended = now
        if self.phase is Phase.RUNNING:
            self._reap()
            self._drain_pipes(now)
        else:
            self._look(now)

    def end(self, cause: Cause, now: float, *, grace_seconds: float | None = None) -> None:
        """TERM goes to the group now, KILL after the grace; both at once if that is 0.

        The first cause stays; asked again, the earlier KILL counts. A process that has ended by itself, heard of
        or not, keeps the outcome it earned.
        """
        grace = self.launch.kill_grace_seconds if grace_seconds is None else grace_seconds
        kill_at = min(now + grace, self._latest_kill_at)
        if self.phase is Phase.RUNNING:
            if _has_exited(self.pid):
                return  # the loop is about to hear of it
            self.phase = Phase.ENDING
            self.cause = cause
            self._kill_at = kill_at
            signal_group(self.pid, signal.SIGTERM)
            signal_group(self.pid, signal.SIGCONT)  # one that is stopped must be able to act on TERM
            self._look(now)
        elif self.phase is Phase.ENDING:
            self._kill_at = min(self._kill_at, kill_at)
            self._look(now)

    def drain(self, *, term_at: float, kill_at: float) -> None:
        """It may run on until ``term_at``, and is killed at ``kill_at`` whatever its own grace says."""
        self._drain_at = term_at
        self._latest_kill_at = kill_at
        self._kill_at = min(self._kill_at, kill_at)
        self.wake_at = min(self.wake_at, term_at, self._kill_at)

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self.phase is Phase.RUNNING:
            if now >= self._timeout_at:
                self.end("timeout", now)
            elif now >= self._drain_at:
                self.end("interrupted", now)
            else:
                self.wake_at = min(self._timeout_at, self._drain_at)
        elif self.phase is Phase.ENDING:
            self._look(now)
        elif self.phase is Phase.DRAINING and now >= self.wake_at:
            self._finish()

    def swept(self, found: Collection[int], now: float) -> None:
        """These carried the attempt's id when it was last looked for, and it goes on once there are none."""
        if found and now < self._give_up_at:
            self._stragglers.update(found)
            leftover_processes.kill(found)
            self.wake_at = now + _LOOK_SECONDS[0]
            return
        if found:
            self.warnings.append(f"processes {sorted(found)} did not end when killed")
        self._reap()
        self._drain_pipes(now)

    def unseen(self, now: float) -> None:
        """What carries the attempt's id could not be looked for: again soon, for as long as it would be killed."""
        if now < self._give_up_at:
            self.wake_at = now + _LOOK_SECONDS[1]
            return
        self.warnings.append("processes that outlived the command could not be looked for")
        self.swept((), now)

    def abandon(self) -> None:
        """Its processes are killed and its descriptors closed, after an error of ours."""
        signal_group(self.pid, signal.SIGKILL)
        if self._usage is None:
            # Killed is not yet dead, and the loop does not wait.
            self._process.returncode = -signal.SIGKILL
            threading.Thread(target=_wait_for, args=(self.pid,), name=f"wait-{self.pid}", daemon=True).start()
        self._finish()

    # What people ask --------------------------------------------------------------------------------------------

    def running(self, now: float) -> RunningCommand:
        """A snapshot for a live view."""
        return RunningCommand(
            launch=self.launch,
            pid=self.pid,
            started_at=self.started_at,
            elapsed_seconds=now - self._started,
            ending=self.cause,
            output_bytes=self.output.total_bytes,
            excerpt=self.output.excerpt,
        )

    def ended(self, wall: datetime) -> AttemptResult:
        """The result. Call it once, when done: it closes the output."""
        captured = self.output.close()
        cpu_seconds, max_rss_bytes = _resources(self._usage)
        if captured.warning is not None:
            self.warnings.append(captured.warning)
        return AttemptResult(
            launch=self.launch,
            outcome=Outcome.of(self._returncode, cause=self.cause, success=self.launch.success_codes),
            pid=self.pid,
            started_at=self.started_at,
            ended_at=wall,
            elapsed_seconds=max(0.0, (self._started if self._ended is None else self._ended) - self._started),
            captured=captured,
            cpu_seconds=cpu_seconds,
            max_rss_bytes=max_rss_bytes,
            leftover_processes=len(self._stragglers),
            warnings=tuple(self.warnings),
        )

    # Ending -----------------------------------------------------------------------------------------------------

    def _look(self, now: float) -> None:
        """While it is being ended: KILL when that is due; on when process and group are gone."""
        if now >= self._kill_at and self._give_up_at == math.inf:
            self._give_up_at = now + _GIVE_UP_SECONDS
            signal_group(self.pid, signal.SIGKILL)
        if self._ended is None:
            self.wake_at = self._kill_at if self._give_up_at == math.inf else math.inf
            return
        if now < self._give_up_at and leftover_processes.members(self.pid, besides=self.pid):
            pause, self._look_seconds = self._look_seconds, min(2 * self._look_seconds, _LOOK_SECONDS[1])
            self.wake_at = now + pause
            if self._give_up_at == math.inf:
                self.wake_at = min(self.wake_at, self._kill_at)
            return
        self._give_up_at = now + _GIVE_UP_SECONDS
        self.phase = Phase.SWEEPING
        self.wake_at = now

    def _reap(self) -> None:
        """The zombie is gone, and what it used is known."""
        try:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        except ChildProcessError:  # somebody else has reaped it: nobody knows how it ended
            self._process.returncode = -1  # so that Popen does not wait either
            return
        if pid == 0:
            return  # not ended after all; Popen says so when it is forgotten
        self._usage = usage
        self._returncode = self._process.returncode = os.waitstatus_to_exitcode(status)

    def _drain_pipes(self, now: float) -> None:
        """What is in the pipes is read; done at once if nobody holds them, else soon."""
        self.phase = Phase.DRAINING
        self.wake_at = now + DRAIN_SECONDS
        self._close_stdin()
        for fd, stream in tuple(self._pipes.items()):
            self._read(fd, stream, now)
        if not self._pipes and self.phase is Phase.DRAINING:
            self._finish()

    def _finish(self) -> None:
        for fd in tuple(self._pipes):
            self._close_pipe(fd)
        self._close_stdin()
        self.phase = Phase.DONE
        self.wake_at = math.inf
        self._on_done(self)

    # Pipes ------------------------------------------------------------------------------------------------------

    def _read(self, fd: int, stream: Stream, _now: float) -> None:
        if fd not in self._pipes:
            return  # closed since the selector saw it
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self.output.write(stream, data)
            return
        self._close_pipe(fd)
        if not self._pipes and self.phase is Phase.DRAINING:
            self._finish()

    def _close_pipe(self, fd: int) -> None:
        del self._pipes[fd]
        self._selector.unregister(fd)
        os.close(fd)

    def _feed(self, _now: float) -> None:
        if self._stdin is None:
            return
        try:
            while self._input:
                self._input = self._input[os.write(self._stdin, self._input) :]
        except BlockingIOError:
            return
        except OSError:  # EPIPE: it does not want the rest, which is its own affair
            pass
        self._close_stdin()

    def _close_stdin(self) -> None:
        if self._stdin is not None:
            self._selector.unregister(self._stdin)
            os.close(self._stdin)
            self._stdin = None


def _wait_for(pid: int) -> None:
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _later(now: float, seconds: float | None) -> float:
    return math.inf if seconds is None else now + seconds


def _has_exited(pid: int) -> bool:
    """Whether our child has ended, without reaping it; False where the system cannot say."""
    if sys.platform == "darwin":
        return False
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _resources(usage: resource.struct_rusage | None) -> tuple[float, int | None]:
    """CPU seconds, and the largest resident size where it says anything.

    A child is born with its parent's peak (the memory is shared until exec), so a figure up to our own is ours.
    """
    if usage is None:
        return 0.0, None
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rss = usage.ru_maxrss * _RSS_UNIT if usage.ru_maxrss > own else None
    return usage.ru_utime + usage.ru_stime, rss
