import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Literal

from kuber_cron.common.time_format import iso
from kuber_cron.control import documents


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


AT = datetime(2026, 3, 29, 3, tzinfo=timezone(timedelta(hours=2)))


def test_a_record_is_its_attributes_in_their_order_with_instants_in_utc():
    record = Outer(
        name="a", parts=(Inner(at=AT, word="yes"),), first=Inner(at=AT), pairs=(("x", 1),), either=("a", "b")
    )
    assert json.loads(json.dumps(documents.document(record))) == {
        "version": 1,
        "name": "a",
        "number": None,
        "share": 0.5,
        "parts": [{"at": "2026-03-29T01:00:00Z", "word": "yes"}],
        "first": {"at": "2026-03-29T01:00:00Z", "word": None},
        "texts": [],
        "pairs": [["x", 1]],
        "either": ["a", "b"],
        "counts": None,
    }
    assert list(documents.document(record)) == ["version", *(Outer.__annotations__)]


def test_a_fraction_of_a_second_is_kept():
    at = datetime(2026, 3, 29, 1, 0, 0, 250000, tzinfo=UTC)
    assert iso(at) == "2026-03-29T01:00:00.250000Z"


def test_the_schema_says_types_nulls_words_and_what_the_docstring_says():
    found = documents.document_schema(Outer)
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
    found = documents.definitions([Outer])
    assert list(found) == ["Inner"]
    inner = found["Inner"]["properties"]
    assert inner["at"]["description"] == "When. It goes on in a second line."
    assert inner["word"] == {
        "description": "`yes` or `no`.",
        "anyOf": [{"enum": ["yes", "no"]}, {"type": "null"}],
    }
