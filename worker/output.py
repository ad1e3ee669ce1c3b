"""Output: what a command writes, from its pipes to its log file, to people and to collectors.

A sink takes what arrives, piece by piece, with the stream that it came from, and is told when there is no more.
Nothing here fails a run or grows with the output: a log file keeps the beginning and the end and says how much
lies between; a full disk costs the log and nothing else.

Two pipes tell stdout from stderr; their order is that of arrival at the worker's loop, so writes to both that are
microseconds apart may change places. One pipe would keep them in order and lose which is which.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

Stream = Literal["stdout", "stderr"]

HEAD_BYTES = 4 * 1024
TAIL_BYTES = 12 * 1024
_LOG_TAIL_BYTES = 64 * 1024  # of a log file that overflows, its last part: where the error is


class Sink(Protocol):
    """Where output goes. Called from the worker's loop: quick, never blocking; what it raises is logged once."""

    def write(self, stream: Stream, data: bytes) -> None:
        """Take one piece, in the order of arrival."""

    def close(self) -> None:
        """There is no more; called once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """What is kept of a command's output for people.

    Attributes:
        head: Its first 4 KiB, as text, bytes that are not UTF-8 replaced.
        tail: Its last 12 KiB of what is not in ``head``.
        total_bytes: All that was written.
        omitted_bytes: What lies between head and tail.
        dropped_bytes: What is in no log file: over the limit, or refused by the disk. 0 where none was asked for.
        log_path: The log file, or None if there is none.
        warning: Why the log file is not whole, other than by its limit; or None.
    """

    head: str = ""
    tail: str = ""
    total_bytes: int = 0
    omitted_bytes: int = 0
    dropped_bytes: int = 0
    log_path: Path | None = None
    warning: str | None = None

    @property
    def text(self) -> str:
        """Head and tail in one, with a line that says what is missing between them."""
        if not self.omitted_bytes:
            return self.head + self.tail
        return f"{self.head}\n[… {self.omitted_bytes} bytes …]\n{self.tail}"
