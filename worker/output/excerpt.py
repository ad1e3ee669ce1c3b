"""Excerpts: the beginning and the end of an output, and which part of it came from which stream. Bounded.

Text and the order of the streams are kept apart: the text reads as the command wrote it (rq-dashboard shows it as
it is), and a list of runs of characters says which of it is stdout and which stderr.

What it does *not* keep: the middle of a long output, and the exact order of writes that arrived together (see
:mod:`kuber_cron.worker.output.capture`).
"""

import codecs
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

Stream = Literal["stdout", "stderr"]
Piece = tuple[Stream | Literal["gap"], str]

HEAD_BYTES = 4 * 1024
TAIL_BYTES = 12 * 1024
# What a change of streams costs of the two above, so that a command which alternates them byte by byte is kept in
# bounded room too. About what its mark takes in JSON.
CHANGE_BYTES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """What is kept of an output for people.

    Attributes:
        head: The first 4 KiB as text, with what is not UTF-8 replaced.
        tail: The last 12 KiB of what is not in ``head``, likewise.
        streams: Which stream each part of ``head`` and then ``tail`` came from, as runs of characters.
        total_bytes: The length of the whole, as far as its characters are complete.
        omitted_bytes: What lies between head and tail.
    """

    head: str = ""
    tail: str = ""
    streams: tuple[tuple[Stream, int], ...] = ()
    total_bytes: int = 0
    omitted_bytes: int = 0

    @property
    def text(self) -> str:
        """Head and tail in one, with a line that says what is missing between them."""
        if not self.omitted_bytes:
            return self.head + self.tail
        return f"{self.head}{_gap(self.omitted_bytes)}{self.tail}"

    def since(self, position: int) -> list[Piece]:
        """What was written after the first ``position`` bytes, by stream and in order, for those who follow.

        ``("gap", sentence)`` stands for what was written and is not kept. Exact where the output is UTF-8.
        """
        tail_at = self.total_bytes - len(self.tail.encode())
        head_end = tail_at - self.omitted_bytes
        found: list[Piece] = []
        at = 0
        for stream, text, is_tail in self._runs():
            if is_tail and at < tail_at:
                if self.omitted_bytes and position < tail_at:
                    found.append(("gap", _gap(tail_at - max(position, head_end))))
                at = tail_at
            data = text.encode()
            if at + len(data) > position:
                found.append((stream, data[max(0, position - at) :].decode("utf-8", "ignore")))
            at += len(data)
        return found

    def _runs(self) -> Iterator[tuple[Stream, str, bool]]:
        at, text = 0, self.head + self.tail
        for stream, count in self.streams:
            yield stream, text[at : at + count], at >= len(self.head)
            at += count

    def to_fields(self) -> dict[str, Any]:
        """As JSON has it, in RQ's result and where a running attempt's output is kept."""
        return {
            "head": self.head,
            "tail": self.tail,
            "streams": [list(run) for run in self.streams],
            "omitted_bytes": self.omitted_bytes,
            "total_bytes": self.total_bytes,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """What ``to_fields`` has written; further fields are not looked at.

        Raises:
            KeyError, TypeError, ValueError: It did not write this.
        """
        return cls(
            head=str(fields["head"]),
            tail=str(fields["tail"]),
            streams=tuple((_stream(name), int(count)) for name, count in fields["streams"]),
            total_bytes=int(fields["total_bytes"]),
            omitted_bytes=int(fields["omitted_bytes"]),
        )


def _stream(name: object) -> Stream:
    match name:
        case "stdout" | "stderr":
            return name
        case _:
            raise ValueError(f"{name!r} is no stream")


def _gap(count: int) -> str:
    return f"\n[kuber-cron: {count} bytes not shown]\n"


class Ends:
    """Both ends of an output while it is written. One thread writes, any may ask."""

    __slots__ = ("_head", "_head_room", "_lock", "_tail", "_tail_cost", "_tail_seen", "_total")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._head: list[tuple[Stream, bytearray]] = []
        self._head_room = HEAD_BYTES
        self._tail: deque[tuple[Stream, bytearray]] = deque()
        self._tail_cost = 0
        self._tail_seen = 0
        self._total = 0

    def write(self, stream: Stream, data: bytes) -> None:
        """Take a piece, in the order of arrival."""
        with self._lock:
            self._total += len(data)
            if self._head_room > 0:
                data = self._to_head(stream, data)
            if data:
                self._to_tail(stream, data)

    def excerpt(self, *, final: bool = False) -> Excerpt:
        """What is kept so far; ``final``: half a character at its end will not be completed any more."""
        with self._lock:  # what takes time is done outside of it, for the writer must not wait
            head = [(stream, bytes(data)) for stream, data in self._head]
            tail = deque((stream, bytearray(data)) for stream, data in self._tail)
            cost, seen, total = self._tail_cost, self._tail_seen, self._total
        _trim(tail, cost)
        omitted = seen - sum(len(data) for _, data in tail)
        decoded = _Decoded()
        decoded.take(head)
        head_length = decoded.length
        if omitted:
            decoded.skip()
        decoded.take(tail)
        if final:
            decoded.finish()
        text = "".join(decoded.texts)
        return Excerpt(
            head=text[:head_length],
            tail=text[head_length:],
            streams=tuple(decoded.runs),
            total_bytes=total - decoded.pending_bytes,
            omitted_bytes=omitted,
        )

    def _to_head(self, stream: Stream, data: bytes) -> bytes:
        """Take what has room; the rest."""
        if not self._head or self._head[-1][0] != stream:
            if self._head:
                self._head_room -= CHANGE_BYTES
            if self._head_room <= 0:
                return data
            self._head.append((stream, bytearray()))
        taken = data[: self._head_room]
        self._head[-1][1].extend(taken)
        self._head_room -= len(taken)
        return data[len(taken) :]

    def _to_tail(self, stream: Stream, data: bytes) -> None:
        self._tail_seen += len(data)
        if len(data) >= TAIL_BYTES:
            self._tail.clear()
            self._tail.append((stream, bytearray(data[-TAIL_BYTES:])))
            self._tail_cost = TAIL_BYTES
            return
        if self._tail and self._tail[-1][0] == stream:
            self._tail[-1][1].extend(data)
        else:
            self._tail_cost += CHANGE_BYTES if self._tail else 0
            self._tail.append((stream, bytearray(data)))
        self._tail_cost += len(data)
        if self._tail_cost > 2 * TAIL_BYTES:  # so that a byte is moved once, however small the pieces
            self._tail_cost = _trim(self._tail, self._tail_cost)


def _trim(tail: deque[tuple[Stream, bytearray]], cost: int) -> int:
    """Forget the oldest bytes over the limit; the cost of what is left."""
    while cost > TAIL_BYTES:
        first = tail[0][1]
        excess = cost - TAIL_BYTES
        if excess < len(first):
            del first[:excess]
            return TAIL_BYTES
        cost -= (
            len(first) + CHANGE_BYTES
        )  # there is a second one, or the first would be longer than the limit
        tail.popleft()
    return cost


class _Decoded:
    """Pieces as text. A stream's character may begin in one of its pieces and end in the next."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.runs: list[tuple[Stream, int]] = []
        self.length = 0
        self._decoders = {
            name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")
        }
        self._cut: set[Stream] = set()

    def take(self, pieces: Iterable[tuple[Stream, bytes | bytearray]]) -> None:
        for stream, data in pieces:
            at = 0
            if stream in self._cut:
                self._cut.discard(stream)
                at = _continuation(data)
            self._add(stream, self._decoders[stream].decode(data[at:]))

    def skip(self) -> None:
        """What follows is not what came next: half a character has lost its other half."""
        for decoder in self._decoders.values():
            decoder.reset()
        self._cut = {"stdout", "stderr"}

    def finish(self) -> None:
        self._add("stdout", self._decoders["stdout"].decode(b"", final=True))
        self._add("stderr", self._decoders["stderr"].decode(b"", final=True))

    @property
    def pending_bytes(self) -> int:
        """How many bytes wait for the rest of their character."""
        return sum(len(decoder.getstate()[0]) for decoder in self._decoders.values())

    def _add(self, stream: Stream, text: str) -> None:
        if text:
            self.texts.append(text)
            self.runs.append((stream, len(text)))
            self.length += len(text)


def _continuation(data: bytes | bytearray) -> int:
    """How many bytes at the start belong to a character that began before."""
    count = 0
    while count < min(3, len(data)) and data[count] & 0xC0 == 0x80:
        count += 1
    return count
