"""The form of an option's type: how a value is read from text, written back, and described in the JSON Schema.

A type is data: a title, a parser, a writer, a schema. Parsers raise :class:`BadValueError` with a predicate that
reads on after ``key='value'`` (spec: cron.md §3). The types themselves: times, numbers and texts in the modules beside
this one; words of a closed set and truth values here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class BadValueError(ValueError):
    """A value is not of its type.

    Attributes:
        predicate: What is wrong; it reads on after the value.
        hint: What to write instead, or None.
        words: What the value may have been meant to be, for a suggestion within the file's budget.
    """

    def __init__(self, predicate: str, hint: str | None = None, *, words: Sequence[str] = ()) -> None:
        super().__init__(predicate)
        self.predicate = predicate
        self.hint = hint
        self.words = words


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueType:
    """One type of option value.

    Attributes:
        title: Its name in the manual.
        parse: Text to value.
        write: Value to text; ``parse(write(value)) == value``.
        tags: The plain YAML scalars that may stand for it, by their short tag.
        plural: A YAML list of items may stand for it, read as its comma-joined text.
        schema: Its JSON Schema.
    """

    title: str
    parse: Callable[[str], Any]
    write: Callable[[Any], str] = str
    tags: frozenset[str] = field(default=frozenset({"str"}))
    plural: bool = False
    schema: Mapping[str, Any]


def list_schema(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the JSON Schema of one ``item``, or of a list of them."""
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]}


def choice(*words: str) -> ValueType:
    """Return the type of one of a closed set of words."""

    def parse(text: str) -> str:
        if text not in words:
            raise BadValueError(f"must be one of {', '.join(words)}", words=words)
        return text

    return ValueType(title=", ".join(words), parse=parse, schema={"enum": list(words)})


def _parse_bool(text: str) -> bool:
    if text in {"true", "yes", "on", "1"}:
        return True
    if text in {"false", "no", "off", "0"}:
        return False
    raise BadValueError("is neither true nor false", "write true or false")


boolean = ValueType(
    title="bool",
    parse=_parse_bool,
    write=lambda value: "true" if value else "false",
    tags=frozenset({"bool"}),
    schema={"type": "boolean"},
)
