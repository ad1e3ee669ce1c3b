"""Leftover processes: those of an attempt that outlive it, found and killed.

An attempt's process group is ended by signal; a process that has left it (a daemon that called setsid) is known by
the attempt's own ``KUBER_CRON_EXECUTION`` in its environment, as it was when the process was executed. A process
that left the group *and* wiped its environment cannot be distinguished from a stranger's and is left alone.

A search costs 10 to 20 µs for each process of the machine, so it is made only after a kill, for all attempts that wait
for it at once.
"""

import os
import signal
import sys
import threading
from collections.abc import Collection, Iterable
from contextlib import suppress

import psutil

from kuber_cron.worker.execution.environment import EXECUTION, RUN

_MAX_PASSES = 50
_PASS_SECONDS = 0.02


def find(execution_ids: Collection[str]) -> dict[int, str]:
    """Return the living processes, this one excepted, that carry one of the ids in their environment: pid → id."""
    if not execution_ids:
        return {}
    wanted = set(execution_ids)
    found = ((pid, _variable(pid, EXECUTION)) for pid in _pids() if pid != os.getpid())
    return {pid: execution for pid, execution in found if execution in wanted}


def attempts() -> set[tuple[str, str]]:
    """Return the (run id, execution id) pairs that living processes, this one excepted, carry in their environment."""
    found = set()
    for pid in _pids():
        if pid != os.getpid() and (execution := _variable(pid, EXECUTION)):
            found.add((_variable(pid, RUN) or "", execution))
    return found


def members(group: int, *, besides: int) -> list[int]:
    """Return the living processes of a process group, ``besides`` and zombies excepted."""
    found = []
    for pid in _pids():
        with suppress(OSError):  # ended meanwhile
            if pid != besides and os.getpgid(pid) == group and not _is_zombie(pid):
                found.append(pid)
    return found


def kill(pids: Iterable[int]) -> None:
    """Send KILL to each of them; one that has ended meanwhile is no error."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def end(execution_ids: Collection[str]) -> int:
    """Kill every process of these attempts on this machine; return how many had to be killed.

    For a worker that starts, and one that takes a lost run over. Searches again until nothing is found, for about a
    second, because a process may fork between being found and being killed.
    """
    killed: set[int] = set()
    for _ in range(_MAX_PASSES):
        found = find(execution_ids)
        if not found:
            break
        killed.update(found)
        kill(found)
        threading.Event().wait(_PASS_SECONDS)
    return len(killed)


if sys.platform == "linux":

    def _pids() -> list[int]:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - half the time of iterdir

    def _variable(pid: int, name: str) -> str | None:
        try:
            with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:  # noqa: PTH123 - read for each process
                data = b"\0" + file.read()
        except OSError:  # ended, or another user's
            return None
        _, found, rest = data.partition(b"\0" + name.encode() + b"=")
        return rest.partition(b"\0")[0].decode("utf-8", "surrogateescape") if found else None

    def _is_zombie(pid: int) -> bool:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123 - as above
            return file.read().rpartition(b") ")[2][:1] in {b"Z", b"X"}

else:

    def _pids() -> list[int]:
        return psutil.pids()

    def _variable(pid: int, name: str) -> str | None:
        try:
            return psutil.Process(pid).environ().get(name)
        except (psutil.Error, OSError):
            return None

    def _is_zombie(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.Error:
            return True
