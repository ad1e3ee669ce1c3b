"""Parsing of Redis' replies, forgivingly. Pure.

A field that another tool has spoilt reads as if it were not there, because an operator at three in the morning wants the
rest.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from kuber_cron.common import time_format

Fields = Mapping[str, str]


def fields(names: Sequence[str], values: Sequence[bytes | None]) -> Fields:
    """Return the fields of a reply to HMGET, without those that are not there."""
    return {name: text(value) for name, value in zip(names, values, strict=True) if value is not None}


def all_fields(reply: Mapping[bytes, bytes]) -> Fields:
    """Return the fields of a reply to HGETALL, or of a stream's entry."""
    return {text(name): text(value) for name, value in reply.items()}


def instant(iso: object) -> datetime | None:
    """Return an instant as RQ and we write it, aware UTC; None where it is none."""
    return time_format.parse_or_none(str(iso))


def seconds_as_instant(seconds: object) -> datetime | None:
    """Return the instant of seconds since the epoch; None where they are none."""
    try:
        return datetime.fromtimestamp(float(str(seconds)), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def milliseconds_as_instant(value: object) -> datetime | None:
    """Return the instant of a reply in milliseconds since the epoch; None where it is none."""
    milliseconds = number(text(value)) if isinstance(value, bytes | str) else 0
    return seconds_as_instant(milliseconds / 1000) if milliseconds else None


def number(value: object) -> int:
    """Return a whole number; 0 where it is none."""
    try:
        return int(str(value))
    except ValueError:
        return 0


def decimal(value: object) -> float | None:
    """Return a finite number; None where it is none."""
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
