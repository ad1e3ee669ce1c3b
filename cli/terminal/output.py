"""What commands print: one JSON document for programs, tables for people, nothing that harms a terminal.

On a terminal a table is drawn by rich, folded to the width. In a pipe it is plain text in aligned columns:
no frames, no colours, and no value is ever cut, so that ``grep`` and ``awk`` see what a person sees.
"""

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, TextIO

_PLAIN_GAP = "  "
_PRETTY_ROWS = 100


class Format(StrEnum):
    """How a command answers."""

    TABLE = "table"
    JSON = "json"


def write_json(document: Mapping[str, Any], stream: TextIO | None = None) -> None:
    """Stdout holds `document` as indented JSON, in ASCII: bad UTF-8 in a job file must not make it invalid."""
    json.dump(document, stream or sys.stdout, indent=2)
    (stream or sys.stdout).write("\n")


def write_document(document: Mapping[str, Any]) -> None:
    """Stdout holds `document` as JSON: indented, but rows on a line each where they are many."""
    if not any(isinstance(value, list) and len(value) > _PRETTY_ROWS for value in document.values()):
        write_json(document)
        return
    # An optimisation: Python's own indenting takes a second for ten thousand jobs.
    parts = [f"  {json.dumps(name)}: {_value_text(value)}" for name, value in document.items()]
    sys.stdout.write("{\n" + ",\n".join(parts) + "\n}\n")


def _value_text(value: Any) -> str:
    if not isinstance(value, list):
        return json.dumps(value)
    return "[\n" + ",\n".join(f"    {json.dumps(each)}" for each in value) + "\n  ]"


def printable(text: str) -> str:
    r"""Return `text` on one line with everything escaped that would move a terminal's cursor: ``\x1b``, ``\n``.

    Control, format (bidirectional overrides) and separator characters and lone surrogates are escaped as Python
    writes them; every other character stays.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(char) if _is_harmful(char) else char for char in text)


def _is_harmful(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def write_lines(lines: Iterable[str]) -> None:
    """Stdout holds each of the lines, made printable."""
    sys.stdout.write("".join(f"{printable(line)}\n" for line in lines))


def write_table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, stream: TextIO | None = None
) -> None:
    """Stdout holds the table; values are made printable. A table without rows prints its headers alone."""
    target = stream or sys.stdout
    clean = [[printable(value) for value in row] for row in rows]
    if target.isatty():
        _write_rich(headers, clean, target)
    else:
        target.write(plain_table(headers, clean))


def plain_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the table in columns padded to their widest value, in terminal cells; no trailing blanks."""
    from rich.cells import cell_len

    lines = [list(headers), *[list(row) for row in rows]]
    widths = [max(cell_len(line[column]) for line in lines) for column in range(len(headers))]

    def padded(line: list[str]) -> str:
        cells = (value + " " * (width - cell_len(value)) for value, width in zip(line, widths, strict=True))
        return _PLAIN_GAP.join(cells).rstrip()

    return "".join(padded(line) + "\n" for line in lines)


def _write_rich(headers: Sequence[str], rows: Sequence[Sequence[str]], target: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*[Text(value) for value in row])
    Console(file=target, highlight=False).print(table)


def counted(number: int, noun: str) -> str:
    """Return ``1 job``, ``2 jobs``, ``no jobs``."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
