"""The schema of a record is made from its attributes and its docstring."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from kuber_cron.cli.reference import json_page


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """One of them.

    Attributes:
        at: When. It goes on
            in a second line.
        word: ``yes`` or ``no``.
    """

    at: datetime
    word: Literal["yes", "no"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    """All of them.

    Attributes:
        parts: The parts.
    """

    name: str
    number: int | None = None
    share: float = 0.5
    parts: tuple[Inner, ...] = ()
    first: Inner | None = None
    texts: tuple[str, ...] = ()
    pairs: tuple[tuple[str, int], ...] = ()
    either: str | tuple[str, ...] | None = None
    counts: Mapping[str, int] | None = None


def test_the_schema_says_types_nulls_words_and_what_the_docstring_says():
    found = json_page.document_schema(Outer)
    properties = found["properties"]
    null = {"type": "null"}
    assert found["required"] == ["version", *Outer.__annotations__]
    assert properties["version"] == {"const": 1}
    assert properties["name"] == {"type": "string"}
    assert properties["number"] == {"anyOf": [{"type": "integer"}, null]}
    assert properties["share"] == {"type": "number"}
    assert properties["parts"] == {
        "description": "The parts.",
        "type": "array",
        "items": {"$ref": "#/$defs/Inner"},
    }
    assert properties["first"] == {"anyOf": [{"$ref": "#/$defs/Inner"}, null]}
    assert properties["pairs"]["items"] == {
        "type": "array",
        "prefixItems": [{"type": "string"}, {"type": "integer"}],
    }
    assert properties["either"]["anyOf"] == [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}},
        null,
    ]
    assert properties["counts"]["anyOf"][0]["additionalProperties"] == {"type": "integer"}


def test_the_records_within_are_defined_once_by_their_names():
    found = json_page.definitions([Outer])
    assert list(found) == ["Inner"]
    inner = found["Inner"]["properties"]
    assert inner["at"]["description"] == "When. It goes on in a second line."
    assert inner["word"] == {
        "description": "`yes` or `no`.",
        "anyOf": [{"enum": ["yes", "no"]}, {"type": "null"}],
    }
