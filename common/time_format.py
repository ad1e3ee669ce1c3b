"""The one home of instants and lengths of time as text. Pure.

Instants are aware, and written as ISO 8601 in UTC with Z; lengths are given in seconds.
"""

from datetime import UTC, datetime
from typing import Literal

_MINUTE, _HOUR, _DAY = 60, 3600, 86400

Precision = Literal["auto", "seconds", "milliseconds", "microseconds"]
"""``auto``: microseconds, or no fraction where there is none. The others cut off what is finer."""


def iso(instant: datetime, precision: Precision = "auto") -> str:
    """Return an aware instant as ``2026-03-29T01:00:00Z``, with its fraction where ``precision`` keeps one."""
    if instant.tzinfo is not UTC:
        instant = instant.astimezone(UTC)
    return instant.isoformat(timespec=precision)[: -len("+00:00")] + "Z"


def display(instant: datetime) -> str:
    """Return an aware instant as tables show it: ``2026-03-29 01:00:00Z``."""
    return iso(instant, "seconds").replace("T", " ")


def rq_instant(instant: datetime) -> str:
    """Return an aware UTC instant in RQ's own form, always with microseconds (``rq.utils.utcformat``)."""
    return iso(instant, "microseconds")


def stamp(instant: datetime) -> str:
    """Return an aware instant without signs that a name may not hold: ``20260329T010000Z``."""
    return instant.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def parse(text: object) -> datetime:
    """Return the instant of an ISO 8601 text, aware UTC.

    Raises:
        ValueError: It is no text, is malformed, or has no offset, so that nobody knows which instant is meant.
    """
    instant = datetime.fromisoformat(text) if isinstance(text, str) else None
    if instant is None or instant.tzinfo is None:
        raise ValueError(f"{text!r} is no instant")
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text} lies outside the years 1 to 9999 in UTC") from error


def parse_or_none(text: object) -> datetime | None:
    """Return the instant of an ISO 8601 text, aware UTC; None where `parse` would raise."""
    try:
        return parse(text)
    except ValueError:
        return None


def span(seconds: float) -> str:
    """Return a length in at most two units: ``0 s``, ``59 s``, ``1 m 05 s``, ``2 h 00 m``, ``3 d 04 h``.

    Parts of a second are dropped, as a clock's face does; a negative length (a clock that stepped back) is 0.
    """
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} m {whole % _MINUTE:02d} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} m"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR:02d} h"


def duration(seconds: float) -> str:
    """Return how long something took: below ten seconds with one decimal, ``0.3 s``, else like `span`."""
    return f"{max(0.0, seconds):.1f} s" if seconds < 9.95 else span(seconds)


def away(seconds: float) -> str:
    """Return the distance of an instant from now in one rounded unit: ``in 3 h``, ``now``, ``5 min ago``."""
    size = abs(seconds)
    if size < 1:
        return "now"
    for limit, unit, name in ((99.5, 1, "s"), (99.5 * _MINUTE, _MINUTE, "min"), (48 * _HOUR, _HOUR, "h")):
        if size < limit:
            words = f"{round(size / unit)} {name}"
            break
    else:
        words = f"{round(size / _DAY)} d"
    return f"in {words}" if seconds > 0 else f"{words} ago"
