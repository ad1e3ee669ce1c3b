import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Literal

import pytest

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


def test_json_stays_one_ascii_document_with_bad_utf8_in_it():
    text = documents.indented({"text": "caf\udce9 ☃"})
    assert text.isascii()
    assert json.loads(text) == {"text": "caf\udce9 ☃"}


@pytest.mark.parametrize("count", [0, 3, 500])
def test_a_document_is_the_same_json_however_many_rows_it_has(count):
    document = {"version": 1, "now": "x", "jobs": [{"job": f"job-{i}", "last": None} for i in range(count)]}
    text = documents.in_rows(document)
    assert json.loads(text) == document
    assert len(text.splitlines()) == (4 * count + 6 if 0 < count < 100 else count + 6 if count else 5)
