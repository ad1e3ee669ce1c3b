"""Text for standard output: one JSON document for programs, lines for people that cannot harm a terminal."""

import sys
import unicodedata
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from kuber_cron.control import documents


class Format(StrEnum):
    """The form in which a command answers."""

    TABLE = "table"
    JSON = "json"


def write_json(document: Mapping[str, Any]) -> None:
    """Write `document` to stdout as indented JSON."""
    sys.stdout.write(documents.indented(document))


def write_document(document: Mapping[str, Any]) -> None:
    """Write `document` to stdout as JSON: indented, but rows on a line each where they are many."""
    sys.stdout.write(documents.in_rows(document))


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
    """Write each of the lines to stdout, made printable."""
    sys.stdout.write("".join(f"{printable(line)}\n" for line in lines))


def counted(number: int, noun: str) -> str:
    """Return ``1 job``, ``2 jobs``, ``no jobs``."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
