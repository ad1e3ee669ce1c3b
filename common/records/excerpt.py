"""The excerpt of an output: its beginning and its end, and which part came from which stream. Pure.

Redis holds it in RQ's result of an attempt, and while the attempt runs in ``output:<execution>``. Text and the order of
the streams are kept apart: the text reads as the command wrote it (rq-dashboard shows it as it is), and a list of runs
of characters says which of it is stdout and which stderr.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

Stream = Literal["stdout", "stderr"]
Piece = tuple[Stream | Literal["gap"], str]
"""A part of an output and the stream that it came from, or ``gap`` and a sentence on what is missing there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """The part of an output that is kept for people to read.

    Attributes:
        head: The first 4 KiB as text, with what is not UTF-8 replaced.
        tail: The last 12 KiB of what is not in ``head``, likewise.
        streams: Which stream each part of ``head`` and then ``tail`` came from, as runs of characters.
        total_bytes: The length of the whole output, as far as its characters are complete.
        omitted_bytes: The length of the part between head and tail, which is not kept.
    """

    head: str = ""
    tail: str = ""
    streams: tuple[tuple[Stream, int], ...] = ()
    total_bytes: int = 0
    omitted_bytes: int = 0

    @property
    def text(self) -> str:
        """Head and tail in one, with a line between them on how much is missing."""
        if not self.omitted_bytes:
            return self.head + self.tail
        return f"{self.head}{_gap(self.omitted_bytes)}{self.tail}"

    def since(self, position: int) -> list[Piece]:
        """Return what was written after the first ``position`` bytes, by stream and in order.

        ``("gap", sentence)`` stands for bytes that were written and are not kept. Exact where the output is UTF-8.
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
        """Return the excerpt as JSON has it, in RQ's result and in ``output:<execution>``."""
        return {
            "head": self.head,
            "tail": self.tail,
            "streams": [list(run) for run in self.streams],
            "omitted_bytes": self.omitted_bytes,
            "total_bytes": self.total_bytes,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """Return the excerpt that ``to_fields`` has written; further fields are ignored.

        Raises:
            KeyError, TypeError, ValueError: ``to_fields`` did not write this.
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
