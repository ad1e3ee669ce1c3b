"""Diagnostics: what is wrong with a job file, where, and what to write instead (spec: cron.md §5)."""

import unicodedata
from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning"]

# A terminal's width and a half; a caret beyond it shows the text around itself.
_WIDTH = 120
_LONGEST_VALUE = 60
LONGEST_TEXT = 1024
"""A diagnostic holds at most so many characters of its line: 64 KiB of one line must not be stored 3,000 times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One finding in a job file.

    Attributes:
        source: The file's name as the user gave it.
        line: 1-based line.
        col: 1-based column in characters.
        severity: ``error``: something is not loaded. ``warning``: it is loaded, and may surprise.
        code: ``KC1xx`` schedule and command, ``KC2xx`` variables and zones, ``KC3xx`` directives and
            policies, ``KC4xx`` YAML, ``KC9xx`` warnings.
        message: What is wrong, naming the value.
        hint: What to write instead, or None.
        about: The part it is about: ``minute`` … ``day-of-week``, ``schedule``, ``nickname``, ``timezone``,
            ``command``, ``environment``, ``directive``, ``line``, ``yaml``; None for the file.
        text: The source line.
    """

    source: str
    line: int
    col: int = 1
    severity: Severity = "error"
    code: str
    message: str
    hint: str | None = None
    about: str | None = None
    text: str = ""

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.col}: {self.severity}[{self.code}]: {self.message}"

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as a JSON-ready mapping (spec: interface.md, ``check``)."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A diagnostic whose file and line the caller knows."""

    col: int = 1
    severity: Severity = "error"
    code: str
    message: str
    hint: str | None = None
    about: str | None = None

    def at(self, source: str, line: int, text: str) -> Diagnostic:
        """Return the diagnostic of this fault on a line of a file."""
        return Diagnostic(
            source=source,
            line=line,
            col=self.col,
            severity=self.severity,
            code=self.code,
            message=self.message,
            hint=self.hint,
            about=self.about,
            text=text[:LONGEST_TEXT],
        )


def shown(value: str) -> str:
    """Return a value as a message quotes it: in quotes, control characters escaped, at most 60 characters."""
    return f"'{_printable(value if len(value) <= _LONGEST_VALUE else value[: _LONGEST_VALUE - 1] + '…')}'"


def in_order(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    """Return the diagnostics by line and column; those of one place stay as they were found."""
    return sorted(diagnostics, key=lambda found: (found.line, found.col))


def render(diagnostic: Diagnostic) -> str:
    """Return a diagnostic for people: header, source line, caret, hint (spec: cron.md §5).

    What a terminal would obey rather than show (control and format characters, half characters) is escaped,
    and wide characters count as two columns, so that the caret stands under its character. A long line is cut
    to the part around the column.
    """
    lines = [_printable(str(diagnostic))]
    if diagnostic.text:
        at = min(max(diagnostic.col - 1, 0), len(diagnostic.text))
        start = max(0, at - _WIDTH // 2) if len(diagnostic.text) > _WIDTH else 0
        before = _printable(diagnostic.text[start:at])
        after = _printable(diagnostic.text[at : start + _WIDTH])
        cut = "…" if start else ""
        more = "…" if start + _WIDTH < len(diagnostic.text) else ""
        lines.append(f"  {cut}{before}{after}{more}")
        lines.append("  " + " " * (len(cut) + _columns(before)) + "^")
    if diagnostic.hint is not None:
        lines.append(f"  hint: {_printable(diagnostic.hint)}")
    return "\n".join(lines)


def _printable(text: str) -> str:
    """Return ``text`` with what a terminal would obey escaped; a tab becomes a blank."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(char) for char in text)


def _visible(char: str) -> str:
    if char == "\t":
        return " "
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{{{code:x}}}"


def _columns(text: str) -> int:
    """Return the number of columns that the printable ``text`` takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
