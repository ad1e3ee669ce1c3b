"""Tables and styled text for a terminal of some width and colour, or for a pipe. Pure but for `Terminal.of` and `write`.

In a pipe nothing is coloured, cut or left out, so that ``grep`` and ``awk`` see all there is. On a terminal that is too
narrow a table leaves out the columns that one can do without, then folds those that may be folded. A name that somebody
wants to copy is never cut.
"""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Literal, TextIO

from kuber_cron.cli.terminal.output import printable
from kuber_cron.common import time_format

Style = Literal["", "good", "bad", "busy", "wait", "dim", "bold"]
_CODES: dict[str, str] = {"good": "32", "bad": "31", "busy": "36", "wait": "33", "dim": "2", "bold": "1"}
_GAP = "  "
_NONE = "-"
_FOLDED_CELLS = 8  # a column is folded no narrower

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
        style: Returns the style of a value.
        right: Whether values stand at its right, as numbers do.
        folds: Whether values may be folded onto several lines where the terminal is too narrow.
    """

    header: str
    rank: int = 0
    style: Callable[[str], Style] | None = None
    right: bool = False
    folds: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """A terminal, or a pipe: ``width`` None. ``absolute``: instants are written in full instead of as distances."""

    width: int | None = None
    height: int | None = None
    has_colour: bool = False
    absolute: bool = False

    @classmethod
    def of(cls, stream: TextIO, *, absolute: bool = False) -> "Terminal":
        """Return the terminal of a stream. It has colour only where it can, and not with ``NO_COLOR`` set."""
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
        folded = self._folded_widths([columns[i] for i in shown], [widths[i] for i in shown])
        if folded != (whole := [widths[i] for i in shown]):
            rows = list(zip(*(cells[i] for i in shown), strict=True))
            cells_shown = _fold(
                rows, [new if new < old else None for new, old in zip(folded, whole, strict=True)]
            )
        else:
            cells_shown = [cells[i] for i in shown]
        padded = [
            self._padded(columns[place], values, width)
            for place, values, width in zip(shown, cells_shown, folded, strict=True)
        ]
        return [_GAP.join(parts).rstrip() for parts in zip(*padded, strict=True)]

    def _shown(self, columns: Sequence[Column], widths: Sequence[int]) -> list[int]:
        shown = list(range(len(columns)))
        while self._excess([widths[i] for i in shown]) > 0:
            spare = max(shown, key=lambda place: columns[place].rank)
            if columns[spare].rank == 0:
                break
            shown.remove(spare)
        return shown

    def _excess(self, widths: Sequence[int]) -> int:
        """Return by how many cells columns of these widths are too wide."""
        return 0 if self.width is None else sum(widths) + len(_GAP) * (len(widths) - 1) - self.width

    def _folded_widths(self, columns: Sequence[Column], widths: Sequence[int]) -> list[int]:
        """Return the widths with those columns narrowed that may be folded, the widest first, until all fit."""
        found = list(widths)
        for place in sorted(range(len(columns)), key=lambda place: -widths[place]):
            if columns[place].folds and (excess := self._excess(found)) > 0:
                found[place] = max(_FOLDED_CELLS, len(columns[place].header), found[place] - excess)
        return found

    def _padded(self, column: Column, values: Sequence[str], width: int) -> list[str]:
        """Return a column's lines, header first, each as wide as the column in cells of a terminal."""
        pad = _at_right if column.right else _at_left
        header = pad(self.styled(column.header, "bold"), column.header, width)
        if column.style is None or not self.has_colour:
            return [header, *(pad(value, value, width) for value in values)]
        return [header, *(pad(self.styled(value, column.style(value)), value, width) for value in values)]

    def pairs(self, found: Iterable[tuple[str, str]]) -> list[str]:
        """Return names and what they are, one a line, those without a value left out."""
        given = [(name, printable(value)) for name, value in found if value]
        width = max((len(name) for name, _ in given), default=0)
        return [
            f"{self.styled(name, 'dim')}{' ' * (width - len(name))}{_GAP}{value}" for name, value in given
        ]


def write(columns: Sequence[Column], rows: Sequence[Sequence[str]], stream: TextIO | None = None) -> None:
    """Write the table to stdout, or to `stream`. A table without rows is its headers alone."""
    target = stream or sys.stdout
    target.write("".join(f"{line}\n" for line in Terminal.of(target).table(columns, rows)))


def _fold(rows: Sequence[Sequence[str]], widths: Sequence[int | None]) -> list[list[str]]:
    """Return the columns of the rows with values folded to these widths, where one is given."""
    from rich.cells import chop_cells

    lines = [
        line
        for row in rows
        for line in zip_longest(
            *(
                # Of what takes no cell, such as a modifier alone, it leaves nothing.
                [value] if width is None else chop_cells(value, width) or [value]
                for value, width in zip(row, widths, strict=True)
            ),
            fillvalue="",
        )
    ]
    return [list(column) for column in zip(*lines, strict=True)]


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
