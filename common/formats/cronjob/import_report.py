"""The report about one CronJob that is read: differences with their places, and what its workers need."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kuber_cron.common.diagnostics import LONGEST_TEXT, Diagnostic
from kuber_cron.common.formats.cronjob.difference_codes import DIFFERENCES
from kuber_cron.common.formats.cronjob.typed_values import TypedValue, WrongTypeError


@dataclass(frozen=True, slots=True)
class SourcePosition:
    """The place of a document in its file.

    Attributes:
        source: The file, as the user named it.
        lines: The document's lines.
        before: How many lines of the file stand before it.
    """

    source: str
    lines: Sequence[str]
    before: int = 0

    def diagnostic(self, code: str, value: TypedValue, message: str, hint: str | None = None) -> Diagnostic:
        """Return the diagnostic of a difference at ``value``."""
        text = self.lines[value.line] if value.line < len(self.lines) else ""
        return Diagnostic(
            source=self.source,
            line=self.before + value.line + 1,
            col=value.column + 1,
            severity="error" if DIFFERENCES[code].is_error else "warning",
            code=code,
            message=message,
            hint=hint,
            about=value.path or None,
            text=text[:LONGEST_TEXT],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Something that the workers of a job must have.

    Attributes:
        kind: ``image``, ``variable``, ``volume`` or ``account``.
        name: The image, the variable's name (``*`` for all of a source), the mount's path, the account.
        source: Where it comes from in Kubernetes, in words; empty where the name says it all.
    """

    kind: str
    name: str
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes, for JSON."""
        return {"kind": self.kind, "name": self.name, "source": self.source or None}


@dataclass(slots=True)
class ImportReport:
    """The state of one CronJob's reading.

    Attributes:
        position: Its document.
        label: What messages call it.
        diagnostics: What was found, in the order of finding.
        needs: What its workers must have, with the position that says so.
    """

    position: SourcePosition
    label: str
    diagnostics: list[Diagnostic] = field(default_factory=list)
    needs: list[tuple[Need, TypedValue]] = field(default_factory=list)

    @property
    def is_refused(self) -> bool:
        """True if the CronJob cannot be taken over."""
        return any(each.severity == "error" for each in self.diagnostics)

    def add(self, code: str, value: TypedValue, message: str, hint: str | None = None) -> None:
        """Note a difference at ``value``."""
        self.diagnostics.append(self.position.diagnostic(code, value, f"{self.label}: {message}", hint))

    def refuse(self, error: WrongTypeError) -> None:
        """Note a value of a wrong type."""
        self.add("KC502", error.value, error.message, error.hint)

    def add_need(self, kind: str, name: str, value: TypedValue, source: str = "") -> None:
        """Note that its workers must have something."""
        self.needs.append((Need(kind=kind, name=name, source=source), value))
