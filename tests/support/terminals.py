"""Commands on a terminal of their own."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.cli_process import COMMAND

Start = Callable[..., "tuple[subprocess.Popen[bytes], int]"]


@contextmanager
def terminals(lines: int, cells: int, *, cwd: Path | None = None) -> Iterator[Start]:
    """Gives ``start(*words, env)``: the command on a terminal of that size; its process, and our end of the terminal."""
    started: list[tuple[subprocess.Popen[bytes], int]] = []

    def start(*words: str, env: Mapping[str, str]) -> "tuple[subprocess.Popen[bytes], int]":
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, cells, 0, 0))
        process = subprocess.Popen(
            [*COMMAND, *words],
            cwd=cwd,
            env=env,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        started.append((process, ours))
        return process, ours

    try:
        yield start
    finally:
        for process, ours in started:
            process.kill()
            process.wait()
            os.close(ours)


def seen(ours: int, *texts: str) -> str:
    """What the terminal was sent, up to where all of `texts` were in it."""
    sent = ""
    while not all(text in sent for text in texts):
        assert select.select([ours], [], [], 30)[0], f"nothing more after {sent[-800:]!r}"
        sent += os.read(ours, 65536).decode("utf-8", "replace")
    return sent
