"""A child process after its end: has it ended, what has it used, who reaps it."""

import os
import resource
import sys
import threading
from contextlib import suppress

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # getrusage(2)


def reap_in_background(pid: int) -> None:
    """Reap a child that was killed, in a thread: killed is not yet dead, and the loop does not wait."""
    threading.Thread(target=_wait_for, args=(pid,), name=f"wait-{pid}", daemon=True).start()


def _wait_for(pid: int) -> None:
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def has_exited(pid: int) -> bool:
    """Return True if our child has ended, without reaping it; False where the system cannot say."""
    if sys.platform == "darwin":
        return False
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def resources(usage: resource.struct_rusage | None) -> tuple[float, int | None]:
    """Return CPU seconds, and the largest resident size where that says anything.

    A child is born with its parent's peak (the memory is shared until exec), so a figure up to our own is ours.
    """
    if usage is None:
        return 0.0, None
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rss = usage.ru_maxrss * _RSS_UNIT if usage.ru_maxrss > own else None
    return usage.ru_utime + usage.ru_stime, rss
