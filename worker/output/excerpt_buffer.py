"""The excerpt of an output while it is written: head and tail in bounded room.

What this does *not* keep: the middle of a long output, and the exact order of writes that arrived together (see
:mod:`kuber_cron.worker.output.capture`).
"""

import codecs
import threading
from collections import deque
from collections.abc import Iterable

from kuber_cron.common.records.excerpt import Excerpt, Stream

HEAD_BYTES = 4 * 1024
TAIL_BYTES = 12 * 1024
# What a change of streams costs of the two above, so that a command which alternates them byte by byte is kept in
# bounded room too. About what its mark takes in JSON.
CHANGE_BYTES = 24


class ExcerptBuffer:
    """Head and tail of an output that goes on. One thread writes, any thread may read."""

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
        """Append a piece, in the order of arrival."""
        with self._lock:
            self._total += len(data)
            if self._head_room > 0:
                data = self._to_head(stream, data)
            if data:
                self._to_tail(stream, data)

    def excerpt(self, *, final: bool = False) -> Excerpt:
        """Return what is kept so far; ``final``: half a character at the end will not be completed any more."""
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
        """Append what has room to the head; return the rest."""
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
    """Drop the oldest bytes over the limit; return the cost of what is left."""
    while cost > TAIL_BYTES:
        first = tail[0][1]
        excess = cost - TAIL_BYTES
        if excess < len(first):
            del first[:excess]
            return TAIL_BYTES
        # There is a second piece, or the first would be longer than the limit.
        cost -= len(first) + CHANGE_BYTES
        tail.popleft()
    return cost


class _Decoded:
    """Pieces decoded to text. A stream's character may begin in one of its pieces and end in the next."""

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
        """Forget half characters: bytes are missing before the next piece."""
        for decoder in self._decoders.values():
            decoder.reset()
        self._cut = {"stdout", "stderr"}

    def finish(self) -> None:
        self._add("stdout", self._decoders["stdout"].decode(b"", final=True))
        self._add("stderr", self._decoders["stderr"].decode(b"", final=True))

    @property
    def pending_bytes(self) -> int:
        """The number of bytes that wait for the rest of their character."""
        return sum(len(decoder.getstate()[0]) for decoder in self._decoders.values())

    def _add(self, stream: Stream, text: str) -> None:
        if text:
            self.texts.append(text)
            self.runs.append((stream, len(text)))
            self.length += len(text)


def _continuation(data: bytes | bytearray) -> int:
    """Return how many bytes at the start belong to a character that began before."""
    count = 0
    while count < min(3, len(data)) and data[count] & 0xC0 == 0x80:
        count += 1
    return count
