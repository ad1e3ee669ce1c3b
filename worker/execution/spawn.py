"""Spawning: from a launch to a process with its own user, limits and pipes, or a sentence why there is none.

No ``preexec_fn``: it is unsafe beside threads and costs the fast start (vfork, 0.6 ms whatever the worker's
size). umask and user are Popen's own; memory and CPU limits are set by ``/bin/sh`` before it becomes the command,
because from outside they would come too late for its first children; niceness is no limit and is set from outside.
"""

import errno
import math
import os
import pwd
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from kuber_cron.worker.execution import shortage
from kuber_cron.worker.execution.launch import Launch
from kuber_cron.worker.execution.shortage import Shortage
from kuber_cron.worker.output.log_file import LogFile

CANNOT_EXECUTE = 126
NOT_FOUND = 127  # both as the shell has it

# A second or so of notice (XCPU) before the kernel kills for CPU time.
_CPU_NOTICE_SECONDS = 5


class CannotStartError(Exception):
    """There is no process; ``exit_code`` is the one that a shell would have returned.

    ``shortage`` says what the worker lacks, None where the command itself is at fault.
    """

    def __init__(
        self, message: str, exit_code: int = CANNOT_EXECUTE, *, shortage: Shortage | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.shortage = shortage

    @classmethod
    def of(cls, shortage: Shortage) -> "CannotStartError":
        """Return the error of what the worker lacks."""
        return cls(shortage.sentence, shortage=shortage)


@dataclass(slots=True, kw_only=True)
class Child:
    """A started process and our ends of its pipes, none of them blocking.

    Attributes:
        process: To be reaped by ``os.wait4`` and never by Popen, which would lose its resource usage.
        stdout: Read end.
        stderr: Read end.
        stdin: Write end, or None where there is nothing to write.
        warnings: What could not be done as asked.
    """

    process: subprocess.Popen[bytes]
    stdout: int
    stderr: int
    stdin: int | None
    warnings: list[str] = field(default_factory=list)


def spawn(launch: Launch, *, new_session: bool = False) -> Child:
    """Start the command, in a process group of its own.

    Args:
        launch: What to start.
        new_session: Also detach it from our terminal, because a command in the background that reads from one
            is stopped for ever.

    Raises:
        CannotStartError: It does not run, and nothing is left open.
    """
    if not launch.argv:
        raise CannotStartError("the command is empty")
    warnings: list[str] = []
    options: dict[str, Any] = {"start_new_session": True} if new_session else {"process_group": 0}
    env = _apply_user(launch, options, warnings)
    if launch.umask is not None:
        options["umask"] = launch.umask
    ours: list[int] = []
    theirs: list[int] = []
    try:
        for _ in range(2):
            read, write = os.pipe()
            ours.append(read)
            theirs.append(write)
        if launch.stdin:
            read, write = os.pipe()
            ours.append(write)
            theirs.append(read)
        for fd in ours:
            os.set_blocking(fd, False)
        process = _start(launch, env, theirs, options, warnings)
    except BaseException as error:
        for fd in ours:
            os.close(fd)
        if isinstance(error, OSError | ValueError | subprocess.SubprocessError):
            raise _refusal(launch, error) from error
        raise
    finally:
        for fd in theirs:
            os.close(fd)
    _set_niceness(launch, process.pid, warnings)
    stdin = ours[2] if launch.stdin else None
    return Child(process=process, stdout=ours[0], stderr=ours[1], stdin=stdin, warnings=warnings)


def _start(
    launch: Launch,
    env: Mapping[str, str],
    theirs: Sequence[int],
    options: dict[str, Any],
    warnings: list[str],
) -> subprocess.Popen[bytes]:
    arguments: dict[str, Any] = {
        "stdin": theirs[2] if launch.stdin else subprocess.DEVNULL,
        "stdout": theirs[0],
        "stderr": theirs[1],
        "cwd": launch.cwd,
        "close_fds": True,
    }
    argv = limited(launch.argv, launch.memory_bytes, launch.cpu_seconds)
    try:
        return subprocess.Popen(argv, env=env, **arguments, **options)
    except PermissionError as error:
        # Root without the right to change users, as in a container without capabilities.
        if "user" not in options or error.errno != errno.EPERM:
            raise
        if launch.user_required:
            sentence = f"this worker is not allowed to become user {launch.user!r}, and this job requires it"
            raise CannotStartError.of(Shortage("user", sentence)) from error
        warnings.append(f"not allowed to become user {launch.user!r}; run as the worker's own user")
        kept = {
            name: value for name, value in options.items() if name not in {"user", "group", "extra_groups"}
        }
        return subprocess.Popen(argv, env=launch.env, **arguments, **kept)


def limited(argv: Sequence[str], memory_bytes: int | None, cpu_seconds: float | None) -> list[str]:
    """Return ``argv``, under ``/bin/sh`` with ``ulimit`` where a limit is set. A limit that cannot be set is reported on stderr."""
    steps = []
    if memory_bytes is not None:
        steps.append(f"ulimit -v {max(1, memory_bytes // 1024)}")
    if cpu_seconds is not None:
        seconds = max(1, math.ceil(cpu_seconds))
        steps += [f"ulimit -S -t {seconds}", f"ulimit -H -t {seconds + _CPU_NOTICE_SECONDS}"]
    if not steps:
        return list(argv)
    script = "\n".join(f"{step} || echo 'kuber-cron: the limit was not set: {step}' >&2" for step in steps)
    return ["/bin/sh", "-c", f'{script}\nexec "$@"', "kuber-cron", *argv]


def _apply_user(launch: Launch, options: dict[str, Any], warnings: list[str]) -> Mapping[str, str]:
    """Put the user's identity into ``options`` where it is not ours; return the environment that belongs to it."""
    if launch.user is None:
        return launch.env
    account = _account(launch.user)
    if account is None:
        raise CannotStartError.of(Shortage("user", f"user {launch.user!r} is unknown on this worker"))
    if account.pw_uid == os.geteuid():
        return launch.env
    if os.geteuid() != 0:
        if launch.user_required:
            sentence = f"only root can become user {launch.user!r}, and this job requires it"
            raise CannotStartError.of(Shortage("user", sentence))
        warnings.append(f"only root can become user {launch.user!r}; run as the worker's own user")
        return launch.env
    options["user"] = account.pw_uid
    options["group"] = account.pw_gid
    options["extra_groups"] = os.getgrouplist(account.pw_name, account.pw_gid)
    env = {**launch.env, "LOGNAME": account.pw_name, "USER": account.pw_name}
    if launch.inherits_home or "HOME" not in env:
        env["HOME"] = account.pw_dir
    return env


def _account(user: str) -> pwd.struct_passwd | None:
    with suppress(KeyError):
        return pwd.getpwnam(user)
    with suppress(KeyError, ValueError, OverflowError):
        return pwd.getpwuid(int(user))
    return None


def _set_niceness(launch: Launch, pid: int, warnings: list[str]) -> None:
    if launch.nice is None:
        return
    try:
        os.setpriority(os.PRIO_PGRP, pid, os.getpriority(os.PRIO_PROCESS, 0) + launch.nice)
    except PermissionError:
        warnings.append(f"not allowed to set niceness {launch.nice}")
    except ProcessLookupError:
        pass  # it has ended already


def _refusal(launch: Launch, error: Exception) -> CannotStartError:
    """Return the sentence and the exit code for the system's error."""
    program = launch.argv[0] if launch.argv else ""
    if isinstance(error, OSError) and (lacking := shortage.of_resources(error)) is not None:
        return CannotStartError.of(lacking)
    if isinstance(error, OSError) and error.filename is not None and error.filename == launch.cwd:
        return CannotStartError(f"working directory {launch.cwd!r}: {error.strerror}")
    if isinstance(error, FileNotFoundError):
        return CannotStartError(
            f"program {program!r} was not found, or not the interpreter that it names", NOT_FOUND
        )
    if isinstance(error, OSError):
        if error.errno == errno.E2BIG:
            return CannotStartError("command and environment are longer than this system allows")
        return CannotStartError(f"program {program!r}: {error.strerror}")
    return CannotStartError(f"command or environment cannot be passed on: {error}")


def demand_log(launch: Launch, log_file: LogFile | None) -> None:
    """Return where the attempt has the log file that it must have.

    Raises:
        CannotStartError: The worker cannot make any.
    """
    if not launch.log_required or log_file is None or log_file.error is None:
        return
    if (lacking := shortage.of_log_file(log_file.error, log_file.path)) is not None:
        raise CannotStartError.of(lacking)


def signal_group(group: int, number: signal.Signals) -> None:
    """Send the signal to every process of the group; one that is gone is no error."""
    with suppress(ProcessLookupError, PermissionError):  # macOS: EPERM where only a zombie is left
        os.killpg(group, number)


def has_terminal() -> bool:
    """Return True under a controlling terminal, as ``run`` and ``exec`` may be; workers have none."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
