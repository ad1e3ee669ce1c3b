"""What is done to the machine as processes see it: sleep, wall clocks, and what it has no more of."""

import contextlib
import os
import re
import resource
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults.kind import Act, Hit, NothingToHitError
from tests.faults.member import Member
from tests.faults.nemesis import Nemesis
from tests.faults.schedule import Step

_PIDS = Path("/sys/fs/cgroup/pids")  # the first version of cgroups; of the second, the folder above


# --- sleep -----------------------------------------------------------------------------------------------


def asleep(who: str) -> Act:
    """The machine, that of one tier, or that of one worker sleeps, with every command on it.

    The processes are stopped, and their monotonic clock has stood still when they wake, where it can be moved; their boot
    clock, the wall clock and the clocks of all others have gone on.
    """

    @contextmanager
    def act(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
        cluster = nemesis.cluster
        if who == "worker":
            members: Sequence[Member] = [nemesis.one("worker", step)]
        else:
            members = [m for m in cluster.members if m.wanted and (who == "machine" or m.role == "scheduler")]
        hit, server = Hit(returns=members), cluster.server
        for member in members:
            member.signal(signal.SIGSTOP)
        below = [pid for member in members for pid in cluster.below(member)]
        _signal_each(below, signal.SIGSTOP)
        if who == "machine":
            server.signal(signal.SIGSTOP)
        began = time.monotonic()
        yield hit
        if who == "machine":
            server.signal(signal.SIGCONT)
        for member in members:
            member.clock.sleep(time.monotonic() - began)
        _signal_each(below, signal.SIGCONT)
        for member in members:
            member.signal(signal.SIGCONT)

    return act


def _signal_each(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def wall_clock_set(whom: str, seconds: float) -> Act:
    """The wall clock of one process alone is so far ahead, or behind, for a while."""

    @contextmanager
    def act(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
        member = nemesis.one(whom, step)
        hit = Hit()
        member.clock.set_wall(seconds)
        yield hit
        member.clock.set_wall(0.0)

    return act


# --- nothing left ----------------------------------------------------------------------------------------

Bound = Callable[[int], ExitStack]
"""Bounds a process, until the stack is closed."""


def bounded(whom: str, bound: Bound) -> Act:
    """One process gets no more of something for a while."""

    @contextmanager
    def act(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
        member = nemesis.one(whom, step)
        try:
            bounds = bound(member.pid)
        except OSError:
            raise NothingToHitError from None  # it has just ended
        with bounds:
            yield Hit(returns=[member])

    return act


def _limited(pid: int, what: int, soft: int) -> ExitStack:
    _, hard = before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (soft, hard))
    stack = ExitStack()
    stack.enter_context(contextlib.suppress(ProcessLookupError))
    stack.callback(resource.prlimit, pid, what, before)
    return stack


def no_descriptors(pid: int) -> ExitStack:
    """Not one file or socket more (EMFILE)."""
    used = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    free = next(number for number in range(len(used) + 1) if number not in used)
    return _limited(pid, resource.RLIMIT_NOFILE, free)


def no_memory(pid: int) -> ExitStack:
    """Hardly a page more (ENOMEM)."""
    status = Path(f"/proc/{pid}/status").read_text()
    kilobytes = int(re.search(r"^VmSize:\s+(\d+)", status, re.MULTILINE)[1])  # type: ignore[index] # the kernel says it of each
    return _limited(pid, resource.RLIMIT_AS, (kilobytes + 256) * 1024)


def no_disk(pid: int) -> ExitStack:
    """Not one byte more in any file (EFBIG), its own log's included."""
    return _limited(pid, resource.RLIMIT_FSIZE, 1)


def no_processes(pid: int) -> ExitStack:
    """Not one process or thread more (EAGAIN).

    The limit of a user is none for root; there a group of its own has as many as the process has threads.
    """
    if os.geteuid():
        return _limited(pid, resource.RLIMIT_NPROC, 1)
    group = _groups() / f"faults-{pid}"
    before = _groups() / _group_of(pid).lstrip("/")
    with ExitStack() as undo:
        group.mkdir()
        undo.callback(_remove, group)
        (group / "cgroup.procs").write_text(str(pid))
        undo.callback(_into, before, pid)
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
        (group / "pids.max").write_text(str(threads))
        undo.callback((group / "pids.max").write_text, "max")
        return undo.pop_all()


def _groups() -> Path:
    return _PIDS if _PIDS.is_dir() else _PIDS.parent


def _group_of(pid: int) -> str:
    of_pids = r"^\d+:pids:(.*)$" if _PIDS.is_dir() else r"^0::(.*)$"
    return re.search(of_pids, Path(f"/proc/{pid}/cgroup").read_text(), re.MULTILINE)[1]  # type: ignore[index] # of each process


def _into(group: Path, pid: int) -> None:
    with contextlib.suppress(OSError):
        (group / "cgroup.procs").write_text(str(pid))


def _remove(group: Path) -> None:
    with contextlib.suppress(OSError):
        for pid in (group / "cgroup.procs").read_text().split():  # what it has started in between
            _into(group.parent, int(pid))
        group.rmdir()


def processes_need(_: object) -> str:
    """Why a process cannot be denied processes here."""
    if os.geteuid() or (_PIDS.is_dir() and os.access(_PIDS, os.W_OK)):
        return ""
    held = _PIDS.parent / "cgroup.subtree_control"
    has_pids = held.exists() and "pids" in held.read_text() and os.access(_PIDS.parent, os.W_OK)
    return "" if has_pids else "RLIMIT_NPROC is none for root, and no group of processes can be made"


@contextmanager
def log_directory_gone(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
    """Where the workers keep their commands' output is no directory any more, but a file."""
    directory = nemesis.cluster.directory / "output"
    kept = directory.with_name("output.away")
    if not directory.is_dir():
        raise NothingToHitError
    hit = Hit()
    directory.rename(kept)
    directory.touch()
    yield hit
    directory.unlink()
    kept.rename(directory)
