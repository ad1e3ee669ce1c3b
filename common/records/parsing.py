"""Replies: what Redis holds, read forgivingly. Pure.

A field that another tool has spoilt is as if it were not there, for whoever looks at three in the morning wants the rest.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

Fields = Mapping[str, str]


def told(names: Sequence[str], values: Sequence[bytes | None]) -> Fields:
    """What HMGET has answered, without what is not there."""
    return {name: text(value) for name, value in zip(names, values, strict=True) if value is not None}


def told_all(fields: Mapping[bytes, bytes]) -> Fields:
    """What HGETALL or an entry of a stream holds."""
    return {text(name): text(value) for name, value in fields.items()}


def instant(iso: object) -> datetime | None:
    """An instant as RQ and we write it, aware UTC."""
    try:
        found = datetime.fromisoformat(str(iso))
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo is not None else None


def seconds_as_instant(seconds: object) -> datetime | None:
    """Seconds since the epoch as an instant."""
    try:
        return datetime.fromtimestamp(float(str(seconds)), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def number(value: object) -> int:
    """A whole number, 0 where it is none."""
    try:
        return int(str(value))
    except ValueError:
        return 0


def decimal(value: object) -> float | None:
    """A number, None where it is none, or none that JSON has."""
    try:
        found = float(value if isinstance(value, int | float) else str(value))
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def text(value: bytes | str | None) -> str:
    """Return a reply's value as text: absent as empty, and what is not UTF-8 replaced."""
    if value is None:
        return ""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
