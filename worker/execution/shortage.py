"""Shortages: what this worker lacks, so that a command which is not at fault cannot be started here.

A shortage is no outcome of a run: another worker may have what is lacking here. What would fail on every worker alike
(no such program, no right to execute it, arguments that are too long, a working directory of the job) is the command's own.
"""

import errno
import os
import subprocess
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ShortageKind = Literal["resources", "log", "user"]
"""Processes, descriptors or memory; the directory of log files; the user that a job names."""

_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOBUFS})
# A full disk is none: the output is lost then, and the command runs (spec: reliability.md §6, Output).
_LOG = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EROFS,
        errno.EIO,
        errno.ESTALE,
        errno.ENODEV,
        errno.ENXIO,
    }
)
_PROBE_SECONDS = 5.0
_SPARE_DESCRIPTORS = 2  # for the log file and the exit watch, which a probe does not have


@dataclass(frozen=True, slots=True)
class Shortage:
    """A shortage of one kind, and a sentence on it for people."""

    kind: ShortageKind
    sentence: str


def of_resources(error: OSError) -> Shortage | None:
    """Return the shortage of processes, descriptors or memory that this error of the system tells of."""
    # Without /dev/null no command gets its standard input.
    if error.errno not in _RESOURCES and error.filename != os.devnull:
        return None
    return Shortage(
        "resources", f"this worker has run out of processes, memory or descriptors: {error.strerror}"
    )


def of_log_directory(directory: Path) -> Shortage | None:
    """Return what hinders new log files in this directory, which is made where it is missing."""
    probe = directory / f".probe-{os.getpid()}"
    try:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        probe.unlink()
    except OSError as error:
        if error.errno in _LOG:
            return Shortage("log", f"no log file can be made in {directory}: {error.strerror}")
        return of_resources(error)
    return None


def of_log_file(error: OSError, path: Path) -> Shortage | None:
    """Return the shortage that kept this log file from being made; None where only the file or the disk is in the way."""
    if (resources := of_resources(error)) is not None:
        return resources
    # One job's folder may belong to somebody else, which is no shortage of the worker.
    return of_log_directory(path.parent.parent) if error.errno in _LOG else None


def of_starting() -> Shortage | None:
    """Start a process that does nothing, with all that a command is given; return what is lacking for it."""
    try:
        with ExitStack() as spare:
            for _ in range(_SPARE_DESCRIPTORS):
                spare.callback(os.close, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            process = subprocess.Popen(
                ["/bin/sh", "-c", ":"],
                env={},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0,
            )
    except OSError as error:
        return of_resources(error)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    try:
        process.wait(_PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return None
