"""The supervisor: N commands at once from one loop in one thread, no process and no thread for each.

The loop waits on the ends of processes, on their pipes, on the next timer and on its request queue. Every other thread
calls :meth:`Supervisor.start`, :meth:`~Supervisor.stop`, :meth:`~Supervisor.drain` and :meth:`~Supervisor.close`, which
only put a request; the loop answers through two callbacks. It knows nothing of Redis.

What it does not guarantee: starting a process holds the loop for as long as the kernel takes to execute it, so a
working directory on a file system that hangs holds up all commands. A start that was accepted is answered by
exactly one ``on_ended``; one that was not (``start`` returned False) by none.

One module, because everything in it belongs to the loop's one thread.
"""

import selectors
import signal
import threading
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from kuber_cron.common.clock import Clock, SystemClock
from kuber_cron.worker.execution import exit_watch, leftover_processes
from kuber_cron.worker.execution.launch import AttemptResult, Launch, RunningCommand
from kuber_cron.worker.execution.outcome import Cause, Outcome
from kuber_cron.worker.execution.process_attempt import Phase, ProcessAttempt
from kuber_cron.worker.execution.request_queue import Request, RequestQueue
from kuber_cron.worker.execution.spawn import CannotStartError, demand_log, has_terminal, signal_group, spawn
from kuber_cron.worker.execution.start_gate import StartGate
from kuber_cron.worker.output.capture import Output, Sink
from kuber_cron.worker.output.log_file import LogFile

# The interval clock counts through a suspended machine and the selector's does not, so a timer may be late by this.
_LONGEST_WAIT_SECONDS = 30.0
_DRAIN_RESERVE_SECONDS = 1.0  # the part of a drain's time that is kept for KILL and what follows it

log = structlog.get_logger(__name__)


def no_sinks(_launch: Launch) -> Sequence[Sink]:
    """Return no sink: output goes to the log file and the excerpt alone."""
    return ()


class Supervisor:
    """Runs commands. Construct it, run :meth:`run` in a thread, and start commands from any other.

    Attributes:
        errors: Errors of our own, each logged: callbacks that raised, commands that had to be abandoned.
    """

    def __init__(
        self,
        *,
        on_started: Callable[[Launch, int], None],
        on_ended: Callable[[AttemptResult], None],
        sinks: Callable[[Launch], Sequence[Sink]] = no_sinks,
        hindrance: Callable[[str], str] = lambda _: "",
        clock: Clock | None = None,
    ) -> None:
        """All callbacks run in the loop's thread and must be quick, or every command waits for them.

        Args:
            on_started: Called with the launch and the pid; not called where nothing could be started.
            on_ended: Called once for each accepted start.
            sinks: Where else an attempt's output goes.
            hindrance: Asked immediately before a process is made: why this execution may not be started now; empty where it may.
            clock: For timers, and for the instants in results.
        """
        self._on_started = on_started
        self._on_ended = on_ended
        self._sinks = sinks
        self._gate = StartGate(hindrance)
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()  # for the two that follow
        self._accepted: set[str] = set()  # execution ids whose end has not been answered
        self._is_accepting = True
        self._attempts: dict[str, ProcessAttempt] = {}
        self._drain_at: tuple[float, float] | None = None  # TERM and KILL, for what starts while draining
        self._detach = has_terminal()
        self._selector = selectors.DefaultSelector()
        self._requests = RequestQueue(self._selector)
        self._exits = exit_watch.choose(self._selector, self._requests.put)
        self.errors = 0

    # For every thread -------------------------------------------------------------------------------------------

    def start(self, launch: Launch) -> bool:
        """Start the command soon; return False, and call nothing back, once the supervisor drains or closes.

        Raises:
            ValueError: An attempt of this execution id runs already.
        """
        with self._lock:
            if not self._is_accepting:
                return False
            if launch.execution_id in self._accepted:
                raise ValueError(f"execution {launch.execution_id!r} of run {launch.run_id!r} runs already")
            self._accepted.add(launch.execution_id)
        self._requests.put(partial(self._start, launch))
        return True

    def stop(self, execution_id: str, cause: Cause, *, grace_seconds: float | None = None) -> None:
        """End the command soon: TERM, its own grace or the one given (0: at once), KILL.

        One that is just being started is ended as soon as it runs. One that is not known has ended, or has yet to be
        started: then it is not.
        """
        self._requests.put(partial(self._stop, execution_id, cause, grace_seconds))

    def stop_all(self, cause: Cause, *, grace_seconds: float | None = None) -> None:
        """As :meth:`stop`, for all that run now."""
        self._requests.put(partial(self._stop_all, cause, grace_seconds))

    def kill_all(self, cause: Cause = "interrupted") -> None:
        """Kill all that run now, without a grace."""
        self.stop_all(cause, grace_seconds=0.0)

    def drain(self, seconds: float) -> None:
        """Start nothing more, and make :meth:`run` return within about ``seconds``.

        Commands may finish until there is only their ``kill_grace`` left (at most half of the time), then TERM,
        then KILL with a second to spare; what had to be ended is ``interrupted``.
        """
        with self._lock:
            self._is_accepting = False
        self._requests.put(partial(self._drain, seconds))

    def close(self) -> None:
        """Start nothing more, kill all that runs, and make :meth:`run` return."""
        with self._lock:
            self._is_accepting = False
        self.kill_all()

    def running(self) -> list[RunningCommand]:
        """Return what runs now, longest first."""
        now = self._clock.elapsed()
        return [attempt.running(now) for attempt in tuple(self._attempts.values())]

    # The loop ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run commands until ``drain`` or ``close`` was called and nothing runs any more. Call it once."""
        try:
            while not self._is_over():
                self._turn()
        finally:
            self._release()

    def _turn(self) -> None:
        ready = self._selector.select(self._wait_seconds())
        now = self._clock.elapsed()
        for key, _ in ready:
            self._guard(key.data, now)
        for request in self._requests.take():
            self._guard(request, now)
        for attempt in [attempt for attempt in self._attempts.values() if attempt.wake_at <= now]:
            self._guard(attempt.tick, now)
        self._sweep(now)

    def _wait_seconds(self) -> float:
        if not self._attempts:
            return _LONGEST_WAIT_SECONDS
        wake_at = min(attempt.wake_at for attempt in self._attempts.values())
        return min(_LONGEST_WAIT_SECONDS, max(0.0, wake_at - self._clock.elapsed()))

    def _guard(self, callback: Request, now: float) -> None:
        """Call it; an error of ours costs the attempt that the callback belongs to, and never the loop."""
        try:
            callback(now)
        except Exception:  # the loop's top: every other command goes on
            self.errors += 1
            log.exception("supervisor callback failed")
            owner = getattr(getattr(callback, "func", callback), "__self__", None)
            if isinstance(owner, ProcessAttempt) and owner.phase is not Phase.DONE:
                owner.abandon()

    def _sweep(self, now: float) -> None:
        """Search the machine's processes once for all attempts that wait for it."""
        waiting = [
            attempt
            for attempt in self._attempts.values()
            if attempt.phase is Phase.SWEEPING and attempt.wake_at <= now
        ]
        if not waiting:
            return
        try:
            found = leftover_processes.find({attempt.launch.execution_id for attempt in waiting})
        except OSError as error:  # no descriptor left to read processes with
            self.errors += 1
            log.warning("searching for leftover processes failed", error=str(error))
            for attempt in waiting:
                self._guard(attempt.search_failed, now)
            return
        for attempt in waiting:
            mine = [pid for pid, owner in found.items() if owner == attempt.launch.execution_id]
            self._guard(partial(attempt.swept, mine), now)

    # Requests ---------------------------------------------------------------------------------------------------

    def _start(self, launch: Launch, _now: float) -> None:
        if refusal := self._gate.refusal(launch.execution_id):
            outcome, reason = refusal
            log.warning("command not started", run=launch.run_id, reason=reason)
            self._answer(
                AttemptResult.never_ran(launch, outcome, f"not started: {reason}", self._clock.now())
            )
            return
        log_file = LogFile(launch.log_path, launch.log_limit_bytes) if launch.log_path is not None else None
        output = Output(log_file, self._sinks_of(launch), launch.hidden)
        try:
            attempt = self._begin(launch, log_file, output)
        except CannotStartError as error:
            self._refuse(launch, output, error)
            return
        except Exception as error:  # it was accepted, so it must be answered, whatever is wrong here
            self.errors += 1
            log.exception("starting a command failed", run=launch.run_id)
            self._refuse(launch, output, CannotStartError(f"error in the worker: {error!r}"))
            return
        if self._drain_at is not None:
            attempt.drain(term_at=self._drain_at[0], kill_at=self._drain_at[1])
        try:
            self._on_started(launch, attempt.pid)
        except Exception:  # the owner's callback; the command runs all the same
            self.errors += 1
            log.exception("on_started failed", run=launch.run_id)

    def _begin(self, launch: Launch, log_file: LogFile | None, output: Output) -> ProcessAttempt:
        """Start the process, and have its end watched.

        Raises:
            CannotStartError: There is no process.
        """
        demand_log(launch, log_file)
        child = spawn(launch, new_session=self._detach)
        try:
            attempt = ProcessAttempt(
                launch,
                child,
                output,
                wall=self._clock.now(),
                now=self._clock.elapsed(),  # not the one of this pass: sixty starts in one pass take a while
                selector=self._selector,
                on_done=self._done,
            )
            self._exits.add(attempt.pid, attempt.exited)
        except BaseException:
            signal_group(child.process.pid, signal.SIGKILL)
            raise
        self._attempts[launch.execution_id] = attempt
        return attempt

    def _stop(self, execution_id: str, cause: Cause, grace_seconds: float | None, now: float) -> None:
        attempt = self._attempts.get(execution_id)
        if attempt is not None:
            attempt.end(cause, now, grace_seconds=grace_seconds)
        else:
            self._gate.remember(execution_id, cause)

    def _stop_all(self, cause: Cause, grace_seconds: float | None, now: float) -> None:
        for attempt in tuple(self._attempts.values()):
            attempt.end(cause, now, grace_seconds=grace_seconds)

    def _drain(self, seconds: float, now: float) -> None:
        kill_at = now + seconds - min(_DRAIN_RESERVE_SECONDS, seconds / 4)
        for attempt in tuple(self._attempts.values()):
            grace = min(attempt.launch.kill_grace_seconds, seconds / 2)
            attempt.drain(term_at=kill_at - grace, kill_at=kill_at)
        self._drain_at = (kill_at - seconds / 2, kill_at)

    # Ends -------------------------------------------------------------------------------------------------------

    def _done(self, attempt: ProcessAttempt) -> None:
        self._exits.remove(attempt.pid)
        del self._attempts[attempt.launch.execution_id]
        self._answer(attempt.result(self._clock.now()))

    def _refuse(self, launch: Launch, output: Output, error: CannotStartError) -> None:
        output.write("stderr", f"kuber-cron: cannot start: {error.message}\n".encode("utf-8", "replace"))
        outcome = Outcome(kind="failed", exit_code=error.exit_code)
        now, captured = self._clock.now(), output.close()
        self._answer(AttemptResult.refused(launch, outcome, now, captured, error.shortage))

    def _answer(self, result: AttemptResult) -> None:
        with self._lock:
            self._accepted.discard(result.launch.execution_id)
        try:
            self._on_ended(result)
        except Exception:  # the owner's callback; the loop goes on
            self.errors += 1
            log.exception("on_ended failed", run=result.launch.run_id)

    def _sinks_of(self, launch: Launch) -> Sequence[Sink]:
        try:
            return self._sinks(launch)
        except Exception:  # a foreign sink must not cost the run
            self.errors += 1
            log.exception("output sinks failed", run=launch.run_id)
            return ()

    # The loop's end ---------------------------------------------------------------------------------------------

    def _is_over(self) -> bool:
        """Return True once nothing runs and nothing that was accepted waits: what is requested then changes nothing."""
        if self._is_accepting or self._attempts:
            return False
        with self._lock:
            return not self._accepted

    def _release(self) -> None:
        with self._lock:
            self._is_accepting = False
        self._requests.close()
        self._exits.close()
        self._selector.close()
