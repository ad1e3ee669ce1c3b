"""Output: what a command writes, on its way from its pipes to people and collectors.

A sink takes what arrives, piece by piece, with the stream that it came from, and is told when there is no more.
Nothing here fails a run or grows with the output.

Two pipes tell stdout from stderr; their order is that of arrival at the worker's loop, so writes to both that are
microseconds apart may change places. One pipe would keep them in order and lose which is which.
"""

import codecs
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import structlog

from kuber_cron.worker.logfile import LogFile, Tail

Stream = Literal["stdout", "stderr"]

HEAD_BYTES = 4 * 1024
TAIL_BYTES = 12 * 1024
MAX_LINE_BYTES = 16 * 1024  # a collector's usual limit of one line (containerd cuts there too)

log = structlog.get_logger(__name__)


class Sink(Protocol):
    """Where output goes. Called from the worker's loop: quick, never blocking.

    A sink that raises is logged and left out from then on.
    """

    def write(self, stream: Stream, data: bytes) -> None:
        """Take one piece, in the order of arrival."""

    def close(self) -> None:
        """There is no more; called once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """What is kept of a command's output for people.

    Attributes:
        head: Its first 4 KiB as text, with what is not UTF-8 replaced.
        tail: The last 12 KiB of what is not in ``head``, likewise.
        total_bytes: All that it wrote.
        omitted_bytes: What lies between head and tail.
        dropped_bytes: What is missing from the log file: over its limit, or refused by the disk. 0 where no log
            file was asked for.
        log_path: The log file, or None if there is none.
        warning: Why the log file is not whole, its limit aside, or None.
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
        return f"{self.head}\n[kuber-cron: {self.omitted_bytes} bytes not shown]\n{self.tail}"


class Output:
    """All of one attempt's output: counted, excerpted, and handed to its log file and its sinks."""

    __slots__ = ("_head", "_log", "_sinks", "_tail", "_tail_seen", "total_bytes")

    def __init__(self, log_file: LogFile | None = None, sinks: Sequence[Sink] = ()) -> None:
        self._log = log_file
        self._sinks = list(sinks)
        self._head = b""
        self._tail: Tail | None = None
        self._tail_seen = 0
        self.total_bytes = 0

    def write(self, stream: Stream, data: bytes) -> None:
        """Take one piece as it came from a pipe."""
        self.total_bytes += len(data)
        self._excerpt(data)
        if self._log is not None:
            self._log.write(data)
        for sink in tuple(self._sinks):
            try:
                sink.write(stream, data)
            except Exception:  # a foreign sink must not cost the run its other outputs
                log.exception("output sink failed", sink=type(sink).__name__)
                self._sinks.remove(sink)

    def close(self) -> Captured:
        """The log file and the sinks are closed, and what is kept is told. Call it once."""
        for sink in self._sinks:
            try:
                sink.close()
            except Exception:  # as above
                log.exception("output sink failed", sink=type(sink).__name__)
        self._sinks.clear()
        head, tail, omitted = self._texts()
        if self._log is None:
            return Captured(head=head, tail=tail, total_bytes=self.total_bytes, omitted_bytes=omitted)
        self._log.close()
        return Captured(
            head=head,
            tail=tail,
            total_bytes=self.total_bytes,
            omitted_bytes=omitted,
            dropped_bytes=self._log.dropped_bytes,
            log_path=self._log.path if self._log.exists else None,
            warning=self._log.warning,
        )

    def _excerpt(self, data: bytes) -> None:
        room = HEAD_BYTES - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            if self._tail is None:
                self._tail = Tail(TAIL_BYTES)
            self._tail.write(data)
            self._tail_seen += len(data)

    def _texts(self) -> tuple[str, str, int]:
        """Head, tail and the number of bytes between them, no character cut in two."""
        if self._tail is None:
            return self._head.decode("utf-8", "replace"), "", 0
        tail = self._tail.read()
        omitted = self._tail_seen - len(tail)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        head = decoder.decode(self._head)
        if omitted:
            decoder.reset()  # half a character at the head's end has lost its other half
            tail = tail[_continuation(tail) :]
        return head, decoder.decode(tail, final=True), omitted


def _continuation(data: bytes) -> int:
    """How many bytes at the start belong to a character that began before."""
    count = 0
    while count < min(3, len(data)) and data[count] & 0xC0 == 0x80:
        count += 1
    return count


class JsonLines:
    """A sink that tells each line as a JSON object: job, run, attempt, stream, text (``WORKER_OUTPUT=json``).

    A line longer than 16 KiB is told in pieces; only the last has no ``"partial": true``. Each stream's lines
    are whole; an unfinished last line is told at the end.
    """

    def __init__(self, emit: Callable[[str], None], *, job: str, run_id: str, attempt: int) -> None:
        """``emit`` takes one JSON document without a line end, and must not block."""
        self._emit = emit
        self._about = {"job": job, "run": run_id, "attempt": attempt}
        self._rest: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}

    def write(self, stream: Stream, data: bytes) -> None:
        """Tell the lines that end in this piece."""
        *lines, rest = (self._rest[stream] + data).split(b"\n")
        for line in lines:
            self._tell(stream, line)
        while len(rest) >= MAX_LINE_BYTES:
            self._tell_one(stream, rest[:MAX_LINE_BYTES], partial=True)
            rest = rest[MAX_LINE_BYTES:]
        self._rest[stream] = rest

    def close(self) -> None:
        """Tell what has no line end."""
        for stream, rest in self._rest.items():
            if rest:
                self._tell(stream, rest)

    def _tell(self, stream: Stream, line: bytes) -> None:
        while len(line) > MAX_LINE_BYTES:
            self._tell_one(stream, line[:MAX_LINE_BYTES], partial=True)
            line = line[MAX_LINE_BYTES:]
        self._tell_one(stream, line, partial=False)

    def _tell_one(self, stream: Stream, line: bytes, *, partial: bool) -> None:
        document = {**self._about, "stream": stream, "text": line.decode("utf-8", "replace")}
        if partial:
            document["partial"] = True
        self._emit(json.dumps(document, ensure_ascii=False))
