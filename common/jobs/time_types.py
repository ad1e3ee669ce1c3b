"""The option types of durations, instants and time zones."""

import re
from datetime import UTC, datetime, tzinfo
from typing import Any

from kuber_cron.common import time_format
from kuber_cron.common.jobs.option_types import BadValueError, ValueType

DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", re.ASCII)
_DIGITS = re.compile(r"\d{1,9}", re.ASCII)

LONGEST_SECONDS = 3650 * 86400
"""Ten years: longer is a slip of the pen, and sums with instants stay within what a datetime can hold."""


def duration_text(seconds: float) -> str:
    """Return seconds in the grammar of durations: ``5400`` is ``1h30m``, ``0`` is ``0s``."""
    left = int(seconds)
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def duration_seconds(text: str) -> float:
    """Return the seconds of ``(<n>d)?(<n>h)?(<n>m)?(<n>s)?`` or of a bare number.

    Raises:
        BadValueError: It is neither, or longer than ten years.
    """
    if _DIGITS.fullmatch(text):
        seconds = int(text)
    else:
        found = DURATION.fullmatch(text) if text else None
        if found is None:
            raise BadValueError("is not a duration", "examples: 90s, 10m, 1h30m, 2d")
        days, hours, minutes, rest = (int(part or 0) for part in found.groups())
        seconds = days * 86400 + hours * 3600 + minutes * 60 + rest
    if seconds > LONGEST_SECONDS:
        raise BadValueError("is longer than ten years", "write at most 3650d")
    return float(seconds)


def _duration(*, may_be_none: bool = False, least: int = 0) -> ValueType:
    def parse(text: str) -> float | None:
        if may_be_none and text == "none":
            return None
        seconds = duration_seconds(text)
        if seconds < least:
            none = ", or none for no limit" if may_be_none else ""
            raise BadValueError("is too short", f"write at least {least}s{none}")
        return seconds

    shape: dict[str, Any] = {
        "type": ["string", "integer"],
        "pattern": "^(none|[0-9]+|([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?)$"
        if may_be_none
        else "^([0-9]+|([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?)$",
        "minLength": 1,
        "minimum": least,
    }
    return ValueType(
        title="duration or none" if may_be_none else "duration",
        parse=parse,
        write=lambda value: "none" if value is None else duration_text(value),
        tags=frozenset({"str", "int"}),
        schema=shape,
    )


def _parse_instant(text: str) -> datetime:
    """Return an aware UTC datetime, or a naive one where the text has no offset: local time in the job's zone."""
    try:
        instant = datetime.fromisoformat(text)
        return instant if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        hint = "examples: 2026-03-29, 2026-03-29T02:30, 2026-03-29T01:00:00Z"
        raise BadValueError("is not an ISO 8601 date or time", hint) from error


def _write_instant(instant: datetime) -> str:
    return time_format.iso(instant)


zone = ValueType(title="IANA time zone", parse=str, schema={"type": "string", "minLength": 1})
duration = _duration()
limit = _duration(may_be_none=True, least=1)
window = _duration(may_be_none=True)
instant = ValueType(
    title="ISO 8601",
    parse=_parse_instant,
    write=_write_instant,
    tags=frozenset({"str", "timestamp"}),
    schema={"type": "string"},
)


def localised(instant: datetime, local: tzinfo) -> datetime:
    """Return ``instant`` as aware UTC; a naive one is local time.

    Of a repeated local time it is the first, of a skipped one the later instant.

    Beyond what a datetime can hold it is the nearest that it can.
    """
    if instant.tzinfo is not None:
        return instant
    try:
        return instant.replace(tzinfo=local).astimezone(UTC)
    except OverflowError:
        return instant.replace(tzinfo=UTC)
