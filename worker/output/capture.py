"""The capture of a command's output, on its way from its pipes to its log file, its excerpt and its sinks.

A sink takes the output piece by piece, with the stream that each came from, and is closed at the end. Nothing here fails
a run or grows with the output.

Two pipes separate stdout from stderr; their order is that of arrival at the worker's loop, so writes to both that are
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
_SLICE_BYTES = 4 * 1024  # of short lines, as JSON a hundred times as long

log = structlog.get_logger(__name__)


class Sink(Protocol):
    """A receiver of output. Called from the worker's loop: quick, never blocking.

    An error of a sink is logged, and that sink gets nothing more.
    """

    def write(self, stream: Stream, data: bytes) -> None:
        """Take a piece, in the order of arrival."""

    def close(self) -> None:
        """End: nothing follows; called once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured(Excerpt):
    """The excerpt of a command's output, redacted, and what became of its log file.

    Attributes:
        total_bytes: All that the command wrote.
        dropped_bytes: What is missing from the log file: over its limit, or refused by the disk. 0 where no log
            file was asked for.
        refused_bytes: The part of that which the disk refused.
        log_path: The log file, or None if there is none.
        warning: Why the log file lacks output for another reason than its limit, or None.
    """

    dropped_bytes: int = 0
    refused_bytes: int = 0
    log_path: Path | None = None
    warning: str | None = None


class Output:
    """The whole output of one attempt: counted, excerpted, and written to its log file and its sinks.

    The log file gets it as it came; excerpt and sinks get it without the values that are to be hidden.
    """

    __slots__ = ("_kept", "_log", "_redactors", "_sinks", "total_bytes")

    def __init__(
        self, log_file: LogFile | None = None, sinks: Sequence[Sink] = (), hidden: Sequence[bytes] = ()
    ) -> None:
        """``hidden``: as :func:`kuber_cron.worker.output.redactor.values` returns them."""
        self._log = log_file
        self._sinks = list(sinks)
        self._kept = ExcerptBuffer()
        self._redactors: dict[Stream, Redactor] = (
            {"stdout": Redactor(hidden), "stderr": Redactor(hidden)} if hidden else {}
        )
        self.total_bytes = 0

    def write(self, stream: Stream, data: bytes) -> None:
        """Take a piece as it came from a pipe."""
        self.total_bytes += len(data)
        if self._log is not None:
            self._log.write(data)
        if self._redactors:
            data = self._redactors[stream].feed(data)
        self._pass_on(stream, data)

    def excerpt(self) -> Excerpt:
        """Return what is kept so far. For any thread."""
        return self._kept.excerpt()

    def close(self) -> Captured:
        """Close the log file and the sinks, and return what is kept. Call it once."""
        for stream, redactor in self._redactors.items():
            self._pass_on(stream, redactor.finish())
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

    def _pass_on(self, stream: Stream, data: bytes) -> None:
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
    """A sink that emits each line as a JSON object: job, run, attempt, stream, text (``WORKER_OUTPUT=json``).

    A line longer than 16 KiB is emitted in pieces; only the last has no ``"partial": true``. Each stream's lines
    are whole; an unfinished last line is emitted at the end.
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
        """Emit the lines that end in this piece."""
        for at in range(0, len(data), _SLICE_BYTES):
            *lines, rest = (self._rest[stream] + data[at : at + _SLICE_BYTES]).split(b"\n")
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
        """Emit what was unfinished, and a line on how many bytes are missing before the next piece."""
        self.close()
        self._emit(self._document("stderr", b"[kuber-cron: %d bytes not shown]" % missed_bytes))

    def close(self) -> None:
        """Emit what has no line end."""
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
