"""The process of an attempt, from its start to its end, as the supervisor's loop drives it.

::

    RUNNING ──process ends──────────────────────────────► DRAINING ──pipes empty, ≤ 1 s──► DONE
       │ a cause: TERM to the group                           ▲
       ▼                                                      │
    ENDING ──process ended, group empty, or KILL──► SWEEPING ─┘ nothing carries its id any more

Where a process ends by itself its children live on: a daemon that a job starts goes on, as under every cron, until the
run is attempted again. Where it is ended by us nothing is left. While it is being ended the dead process stays a zombie,
so that its number, which is the group's, cannot come to mean another process before the last signal is sent.
"""

import enum
import math
import os
import resource
import selectors
import signal
from collections.abc import Callable, Collection
from datetime import datetime

from kuber_cron.common.records.excerpt import Stream
from kuber_cron.worker.execution import child_process, leftover_processes
from kuber_cron.worker.execution.command_pipes import CommandPipes
from kuber_cron.worker.execution.launch import AttemptResult, Launch, RunningCommand
from kuber_cron.worker.execution.outcome import Cause, Outcome
from kuber_cron.worker.execution.spawn import Child, signal_group
from kuber_cron.worker.output.capture import Output

DRAIN_SECONDS = 1.0  # for output under way when the process has ended; a daemon may hold the pipes for ever
_POLL_SECONDS = (0.005, 0.1)  # first and longest interval at which a group that is being ended is polled
_GIVE_UP_SECONDS = 5.0  # after KILL; what is left then sits in the kernel and takes no signal


class Phase(enum.Enum):
    """The phase of an attempt; see the module's drawing."""

    RUNNING = enum.auto()
    ENDING = enum.auto()
    SWEEPING = enum.auto()
    DRAINING = enum.auto()
    DONE = enum.auto()


class ProcessAttempt:
    """One started command. Every method runs in the loop's thread and never blocks.

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
        self._on_done = on_done
        self._started = now
        self._ended: float | None = None  # when the loop was notified of the process's end
        self._timeout_at = _later(now, launch.timeout_seconds)
        self._drain_at = math.inf
        self._latest_kill_at = math.inf
        self._kill_at = math.inf
        self._give_up_at = math.inf
        self._poll_seconds = _POLL_SECONDS[0]
        self._leftovers: set[int] = set()
        self._returncode: int | None = None
        self._usage: resource.struct_rusage | None = None
        self.wake_at = self._timeout_at
        self._pipes = CommandPipes(
            child,
            launch.stdin,
            output,
            selector=selector,
            on_readable=self._read,
            on_writable=self._feed,
        )

    # Events ------------------------------------------------------------------------------------------------

    def exited(self, now: float) -> None:
        """Go on: the process has ended and is a zombie."""
        if self._ended is not None:
            return
        self._ended = now
        if self.phase is Phase.RUNNING:
            self._reap()
            self._drain_pipes(now)
        else:
            self._poll_end(now)

    def end(self, cause: Cause, now: float, *, grace_seconds: float | None = None) -> None:
        """Send TERM to the group now, KILL after the grace; both at once if that is 0.

        The first cause stays; of several calls the earliest KILL counts. A process that has ended by itself keeps its
        own outcome, also where the loop has not been notified of its end yet.
        """
        grace = self.launch.kill_grace_seconds if grace_seconds is None else grace_seconds
        kill_at = min(now + grace, self._latest_kill_at)
        if self.phase is Phase.RUNNING:
            if child_process.has_exited(self.pid):
                return  # the loop is about to be notified
            self.phase = Phase.ENDING
            self.cause = cause
            self._kill_at = kill_at
            signal_group(self.pid, signal.SIGTERM)
            signal_group(self.pid, signal.SIGCONT)  # one that is stopped must be able to act on TERM
            self._poll_end(now)
        elif self.phase is Phase.ENDING:
            self._kill_at = min(self._kill_at, kill_at)
            self._poll_end(now)

    def drain(self, *, term_at: float, kill_at: float) -> None:
        """Let it run on until ``term_at``, and kill it at ``kill_at`` whatever its own grace is."""
        self._drain_at = term_at
        self._latest_kill_at = kill_at
        self._kill_at = min(self._kill_at, kill_at)
        self.wake_at = min(self.wake_at, term_at, self._kill_at)

    def tick(self, now: float) -> None:
        """Act on what is due."""
        if self.phase is Phase.RUNNING:
            if now >= self._timeout_at:
                self.end("timeout", now)
            elif now >= self._drain_at:
                self.end("interrupted", now)
            else:
                self.wake_at = min(self._timeout_at, self._drain_at)
        elif self.phase is Phase.ENDING:
            self._poll_end(now)
        elif self.phase is Phase.DRAINING and now >= self.wake_at:
            self._finish()

    def swept(self, found: Collection[int], now: float) -> None:
        """Kill the processes that were found to carry the attempt's id; go on once there are none."""
        if found and now < self._give_up_at:
            self._leftovers.update(found)
            leftover_processes.kill(found)
            self.wake_at = now + _POLL_SECONDS[0]
            return
        if found:
            self.warnings.append(f"processes {sorted(found)} did not end when killed")
        self._reap()
        self._drain_pipes(now)

    def search_failed(self, now: float) -> None:
        """Have the search for leftover processes repeated, for as long as they would be killed."""
        if now < self._give_up_at:
            self.wake_at = now + _POLL_SECONDS[1]
            return
        self.warnings.append("processes that outlived the command could not be looked for")
        self.swept((), now)

    def abandon(self) -> None:
        """Kill its processes and close its descriptors, after an error of ours."""
        signal_group(self.pid, signal.SIGKILL)
        if self._usage is None:
            self._process.returncode = -signal.SIGKILL
            child_process.reap_in_background(self.pid)
        self._finish()

    # Results ------------------------------------------------------------------------------------------------------

    def running(self, now: float) -> RunningCommand:
        """Return a snapshot for a live view."""
        return RunningCommand(
            launch=self.launch,
            pid=self.pid,
            started_at=self.started_at,
            elapsed_seconds=now - self._started,
            ending=self.cause,
            output_bytes=self.output.total_bytes,
            excerpt=self.output.excerpt,
        )

    def result(self, wall: datetime) -> AttemptResult:
        """Return the attempt result. Call it once, when done, because it closes the output."""
        captured = self.output.close()
        cpu_seconds, max_rss_bytes = child_process.resources(self._usage)
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
            leftover_processes=len(self._leftovers),
            warnings=tuple(self.warnings),
        )

    # Ending -----------------------------------------------------------------------------------------------------

    def _poll_end(self, now: float) -> None:
        """Send KILL when that is due, and go on once process and group are gone; called while it is being ended."""
        if now >= self._kill_at and self._give_up_at == math.inf:
            self._give_up_at = now + _GIVE_UP_SECONDS
            signal_group(self.pid, signal.SIGKILL)
        if self._ended is None:
            self.wake_at = self._kill_at if self._give_up_at == math.inf else math.inf
            return
        if now < self._give_up_at and leftover_processes.members(self.pid, besides=self.pid):
            pause, self._poll_seconds = self._poll_seconds, min(2 * self._poll_seconds, _POLL_SECONDS[1])
            self.wake_at = now + pause
            if self._give_up_at == math.inf:
                self.wake_at = min(self.wake_at, self._kill_at)
            return
        self._give_up_at = now + _GIVE_UP_SECONDS
        self.phase = Phase.SWEEPING
        self.wake_at = now

    def _reap(self) -> None:
        """Reap the zombie, and keep what it used."""
        try:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        except ChildProcessError:  # reaped elsewhere: how it ended is unknown
            self._process.returncode = -1  # so that Popen does not wait either
            return
        if pid == 0:
            return  # not ended after all; Popen says so when it is forgotten
        self._usage = usage
        self._returncode = self._process.returncode = os.waitstatus_to_exitcode(status)

    def _drain_pipes(self, now: float) -> None:
        """Read what is in the pipes; finish at once if no process holds them, else soon."""
        self.phase = Phase.DRAINING
        self.wake_at = now + DRAIN_SECONDS
        self._pipes.close_input()
        self._pipes.read_all()
        if self._pipes.is_drained:
            self._finish()

    def _finish(self) -> None:
        self._pipes.close()
        self.phase = Phase.DONE
        self.wake_at = math.inf
        self._on_done(self)

    # Pipes ------------------------------------------------------------------------------------------------------

    def _read(self, fd: int, stream: Stream, _now: float) -> None:
        self._pipes.read(fd, stream)
        if self._pipes.is_drained and self.phase is Phase.DRAINING:
            self._finish()

    def _feed(self, _now: float) -> None:
        self._pipes.feed()


def _later(now: float, seconds: float | None) -> float:
    return math.inf if seconds is None else now + seconds
