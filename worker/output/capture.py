"""Output: what a command writes, on its way from its pipes to people and collectors.

A sink takes what arrives, piece by piece, with the stream that it came from, and is told when there is no more.
Nothing here fails a run or grows with the output.

Two pipes tell stdout from stderr; their order is that of arrival at the worker's loop, so writes to both that are
microseconds apart may change places. One pipe would keep them in order and lose which is which.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from kuber_cron.common.records.excerpt import Excerpt, Stream
from kuber_cron.worker.output.excerpt_buffer import ExcerptBuffer
from kuber_cron.worker.output.log_file import LogFile
from kuber_cron.worker.output.redactor import Redactor

STREAMS: tuple[Stream, ...] = ("stdout", "stderr")
MAX_LINE_BYTES = 16 * 1024  # a collector's usual limit of one line (containerd cuts there too)
_AT_ONCE_BYTES = 4 * 1024  # of short lines, as JSON a hundred times as long

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
class Captured(Excerpt):
    """What is kept of a command's output for people, redacted, and what became of its log file.

    Attributes:
        total_bytes: All that it wrote.
        dropped_bytes: What is missing from the log file: over its limit, or refused by the disk. 0 where no log
            file was asked for.
        refused_bytes: The part of it that the disk is to blame for.
        log_path: The log file, or None if there is none.
        warning: Why the log file is not whole, its limit aside, or None.
    """

    dropped_bytes: int = 0
    refused_bytes: int = 0
    log_path: Path | None = None
    warning: str | None = None


class Output:
    """All of one attempt's output: counted, excerpted, and handed to its log file and its sinks.

    The log file has it as it came; excerpt and sinks have it without the values that are to be hidden.
    """

    __slots__ = ("_kept", "_log", "_redactors", "_sinks", "total_bytes")

    def __init__(
        self, log_file: LogFile | None = None, sinks: Sequence[Sink] = (), hidden: Sequence[bytes] = ()
    ) -> None:
        """``hidden``: as :func:`kuber_cron.worker.output.redactor.values` gives them."""
        self._log = log_file
        self._sinks = list(sinks)
        self._kept = ExcerptBuffer()
        self._redactors: dict[Stream, Redactor] = (
            {"stdout": Redactor(hidden), "stderr": Redactor(hidden)} if hidden else {}
        )
        self.total_bytes = 0

    def write(self, stream: Stream, data: bytes) -> None:
        """Take one piece as it came from a pipe."""
        self.total_bytes += len(data)
        if self._log is not None:
            self._log.write(data)
        if self._redactors:
            data = self._redactors[stream].feed(data)
        self._show(stream, data)

    def excerpt(self) -> Excerpt:
        """What is kept so far. For any thread."""
        return self._kept.excerpt()

    def close(self) -> Captured:
        """The log file and the sinks are closed, and what is kept is told. Call it once."""
        for stream, redactor in self._redactors.items():
            self._show(stream, redactor.finish())
        for sink in self._sinks:
            try:
                sink.close()
            except Exception:  # a foreign sink must not cost the run its other outputs
                log.exception("output sink failed", sink=type(sink).__name__)
        self._sinks.clear()
        kept = self._kept.excerpt(final=True)
        log_file = self._log
        if log_file is not None:
            log_file.close()
        return Captured(
            head=kept.head,
            tail=kept.tail,
            streams=kept.streams,
            total_bytes=self.total_bytes,
            omitted_bytes=kept.omitted_bytes,
            dropped_bytes=log_file.dropped_bytes if log_file else 0,
            refused_bytes=log_file.refused_bytes if log_file else 0,
            log_path=log_file.path if log_file and log_file.exists else None,
            warning=log_file.warning if log_file else None,
        )

    def _show(self, stream: Stream, data: bytes) -> None:
        if not data:
            return
        self._kept.write(stream, data)
        for sink in tuple(self._sinks):
            try:
                sink.write(stream, data)
            except Exception:  # as above
                log.exception("output sink failed", sink=type(sink).__name__)
                self._sinks.remove(sink)


class JsonLines:
    """A sink that tells each line as a JSON object: job, run, attempt, stream, text (``WORKER_OUTPUT=json``).

    A line longer than 16 KiB is told in pieces; only the last has no ``"partial": true``. Each stream's lines
    are whole; an unfinished last line is told at the end.
    """

    def __init__(self, emit: Callable[[str], None], *, job: str, run_id: str, attempt: int) -> None:
        """``emit`` takes one or more JSON documents, each with its line end."""
        self._emit = emit
        about = json.dumps({"job": job, "run": run_id, "attempt": attempt}, ensure_ascii=False)[:-1]
        # An optimisation: of each line's document only the text is new.
        self._before: dict[Stream, str] = {
            stream: f'{about}, "stream": "{stream}", "text": ' for stream in STREAMS
        }
        self._rest: dict[Stream, bytes] = dict.fromkeys(STREAMS, b"")

    def write(self, stream: Stream, data: bytes) -> None:
        """Tell the lines that end in this piece."""
        for at in range(0, len(data), _AT_ONCE_BYTES):
            *lines, rest = (self._rest[stream] + data[at : at + _AT_ONCE_BYTES]).split(b"\n")
            documents = []
            for line in lines:
                if len(line) > MAX_LINE_BYTES:
                    documents += self._long(stream, line)
                else:
                    documents.append(self._document(stream, line))
            while len(rest) >= MAX_LINE_BYTES:
                documents.append(self._document(stream, rest[:MAX_LINE_BYTES], partial=True))
                rest = rest[MAX_LINE_BYTES:]
            self._rest[stream] = rest
            if documents:
                self._emit("".join(documents))

    def gap(self, missed_bytes: int) -> None:
        """So many bytes are missing before what comes next; what was unfinished before them is told."""
        self.close()
        self._emit(self._document("stderr", b"[kuber-cron: %d bytes not shown]" % missed_bytes))

    def close(self) -> None:
        """Tell what has no line end."""
        for stream, rest in self._rest.items():
            if rest:
                self._emit("".join(self._long(stream, rest)))
        self._rest = dict.fromkeys(STREAMS, b"")

    def _long(self, stream: Stream, line: bytes) -> list[str]:
        documents = []
        while len(line) > MAX_LINE_BYTES:
            documents.append(self._document(stream, line[:MAX_LINE_BYTES], partial=True))
            line = line[MAX_LINE_BYTES:]
        documents.append(self._document(stream, line))
        return documents

    def _document(self, stream: Stream, line: bytes, *, partial: bool = False) -> str:
        end = ', "partial": true}\n' if partial else "}\n"
        return self._before[stream] + _encode(line.decode("utf-8", "replace")) + end


_encode = json.JSONEncoder(ensure_ascii=False).encode
