"""Diagnostics: what is wrong with a job file, where, and what to write instead (spec: cron.md §5)."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning"]


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
        """The attributes as a JSON-ready mapping (spec: interface.md, ``check``)."""
        return asdict(self)
