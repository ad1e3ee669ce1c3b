"""Paper: what tables and sentences are written on, a terminal of some width and colour or a pipe. Pure but for `of`.

In a pipe nothing is coloured, cut or left out, so that ``grep`` and ``awk`` see all there is. On a terminal that is too
narrow a table leaves out the columns that one can do without, and never cuts a name that somebody wants to copy.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TextIO

from kuber_cron.cli.terminal.output import printable
from kuber_cron.common import time_format

Style = Literal["", "good", "bad", "busy", "wait", "dim", "bold"]
_CODES: dict[str, str] = {"good": "32", "bad": "31", "busy": "36", "wait": "33", "dim": "2", "bold": "1"}
_GAP = "  "
_NONE = "-"

_STYLES: dict[str, Style] = {
    "success": "good",
    "running": "busy",
    "busy": "busy",
    "queued": "wait",
    "held": "wait",
    "waiting": "wait",
    "draining": "wait",
    "paused": "wait",
    "suspended": "wait",
    "interrupted": "wait",
    "replaced": "wait",
    "removed": "wait",
    "predecessor": "wait",
    "deadline": "wait",
    "stopped": "wait",
    "skipped": "wait",
    "failed": "bad",
    "timed_out": "bad",
    "signalled": "bad",
    "lost": "bad",
    "error": "bad",
}


def style_of(text: str) -> Style:
    """Return the style of a word about a state or an outcome; its first word decides."""
    return _STYLES.get(text.partition(" ")[0], "")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        header: What stands above it.
        rank: Columns of higher rank are left out first where the terminal is too narrow; 0 stays always.
        style: Says how a value is coloured.
        right: Whether values stand at its right, as numbers do.
    """

    header: str
    rank: int = 0
    style: Callable[[str], Style] | None = None
    right: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """What is written on. ``width`` None: as wide as it takes. ``absolute``: instants in full instead of distances."""

    width: int | None = None
    height: int | None = None
    has_colour: bool = False
    absolute: bool = False

    @classmethod
    def of(cls, stream: TextIO, *, absolute: bool = False) -> "Terminal":
        """Return the paper that a stream is. Colour only on a terminal that can, and not with ``NO_COLOR`` set."""
        if not stream.isatty():
            return cls(absolute=absolute)
        try:
            size = os.get_terminal_size(stream.fileno())
        except OSError:
            return cls(absolute=absolute)
        can = os.environ.get("TERM", "").lower() not in {"dumb", "unknown", ""}
        return cls(
            width=size.columns or None,
            height=size.lines or None,
            has_colour=can and not os.environ.get("NO_COLOR"),
            absolute=absolute,
        )

    def styled(self, text: str, style: Style) -> str:
        """Return `text` in that style, where there is colour."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if style and self.has_colour else text

    def moment(self, at: datetime | None, now: datetime) -> str:
        """Return when `at` is: ``5 min ago``, or in full."""
        if at is None:
            return _NONE
        if self.absolute:
            return time_format.display(at)
        return time_format.away((at - now).total_seconds())

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
        """Return the table's lines, header first; values are made printable."""
        cells = [[printable(row[place]) for row in rows] for place in range(len(columns))]
        widths = [
            max([len(column.header), *map(cell_length, values)])
            for column, values in zip(columns, cells, strict=True)
        ]
        shown = self._shown(columns, widths)
        padded = [self._padded(columns[place], cells[place], widths[place]) for place in shown]
        return [_GAP.join(parts).rstrip() for parts in zip(*padded, strict=True)]

    def _shown(self, columns: Sequence[Column], widths: Sequence[int]) -> list[int]:
        shown = list(range(len(columns)))
        while (
            self.width is not None
            and sum(widths[i] for i in shown) + len(_GAP) * (len(shown) - 1) > self.width
        ):
            spare = max(shown, key=lambda place: columns[place].rank)
            if columns[spare].rank == 0:
                break
            shown.remove(spare)
        return shown

    def _padded(self, column: Column, values: Sequence[str], width: int) -> list[str]:
        """Return a column's lines, header first, each as wide as the column in cells of a terminal."""
        pad = _at_right if column.right else _at_left
        header = pad(self.styled(column.header, "bold"), column.header, width)
        if column.style is None or not self.has_colour:
            return [header, *(pad(value, value, width) for value in values)]
        return [header, *(pad(self.styled(value, column.style(value)), value, width) for value in values)]

    def pairs(self, found: Iterable[tuple[str, str]]) -> list[str]:
        """Return names and what they are, one a line, those without a value left out."""
        told = [(name, printable(value)) for name, value in found if value]
        width = max((len(name) for name, _ in told), default=0)
        return [f"{self.styled(name, 'dim')}{' ' * (width - len(name))}{_GAP}{value}" for name, value in told]


def _at_left(text: str, value: str, width: int) -> str:
    return text + " " * (width - cell_length(value))


def _at_right(text: str, value: str, width: int) -> str:
    return " " * (width - cell_length(value)) + text


def cell_length(text: str) -> int:
    """Return how many cells of a terminal the text takes."""
    if text.isascii():  # an optimisation: nearly all of them
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
