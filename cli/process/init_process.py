"""The first process of a container: it hands signals on, and reaps whatever dies without a parent.

A command that leaves a process behind (``nohup job &``) leaves it to process 1, and process 1 has to wait for it
when it ends: otherwise it stays a zombie for as long as the container lives. The worker waits for its own
commands by their numbers and must not wait for any other process, so as process 1 it is two processes: this one,
which does nothing else, and the worker below it. So an image that somebody builds needs no tini.
"""

import os
import signal
from collections.abc import Callable, Iterator

from kuber_cron.cli.terminal import errors

FIRST = 1
# The kernel sends these two to every process at the terminal, so to the worker too; handed on they would count twice.
_FROM_TERMINAL = {signal.SIGINT, signal.SIGQUIT}
# What a fault of this process brings, and what no process can wait for.
_NOT_WAITED_FOR = {
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
}


def run_below(work: Callable[[], int]) -> int:
    """Run ``work`` in a process below this one; return its exit status, 128 + n after a signal n.

    Whatever becomes a child of this process meanwhile is reaped. To be called before there are threads.
    """
    waited_for = signal.valid_signals() - _NOT_WAITED_FOR
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return work()
    is_at_terminal = os.isatty(0)
    while True:
        number = signal.sigwait(waited_for)
        if number != signal.SIGCHLD:
            if not (is_at_terminal and number in _FROM_TERMINAL):
                os.kill(child, number)
            continue
        for pid, status in _reaped():
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else errors.SIGNALLED - code


def _reaped() -> Iterator[tuple[int, int]]:
    """Yield the number and the status of every child that has ended, reaped."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status
