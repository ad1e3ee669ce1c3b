"""The types of policy values: how each is read from text, written back, and described in the JSON Schema.

A type is data: a title, a parser, a writer, a schema. Parsers raise :class:`BadValueError` with a predicate that
reads on after ``key='value'`` (spec: cron.md §3, interface.md ``duration``).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any

DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", re.ASCII)
_DIGITS = re.compile(r"\d{1,9}", re.ASCII)
_DECIMAL = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)
_SIZE = re.compile(r"(\d{1,19})([A-Za-z]*)", re.ASCII)
_CODES = re.compile(r"(\d{1,3})(?:-(\d{1,3}))?", re.ASCII)
_GROUP = re.compile(r"([^:]*)(?::(\d{1,9}))?", re.ASCII)
_URL = re.compile(r"https?://[^\s/?#]+[^\s]*", re.ASCII)
_UMASK = re.compile(r"[0-7]{3}|0[0-7]{3}", re.ASCII)
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?", re.ASCII)

# Ten years: longer is a slip of the pen, and sums with instants stay within what a datetime can hold.
LONGEST_SECONDS = 3650 * 86400
_LONGEST_URL = 2048
_UNITS = {
    **dict.fromkeys(("", "B"), 1),
    **{unit: 1000**power for power, unit in enumerate(("kB", "MB", "GB", "TB"), start=1)},
    "KB": 1000,
    # One letter means the power of two, as it does to systemd, Docker and ulimit.
    **{
        f"{letter}{suffix}": 1024**power
        for power, letter in enumerate("KMGT", start=1)
        for suffix in ("", "i", "iB")
    },
    "k": 1024,
}


class BadValueError(ValueError):
    """A value is not of its type. ``predicate`` reads on after the value; ``hint`` says what to write."""

    def __init__(self, predicate: str, hint: str | None = None, *, words: Sequence[str] = ()) -> None:
        super().__init__(predicate)
        self.predicate = predicate
        self.hint = hint
        # What the value may have been meant to be, for a suggestion within the file's budget.
        self.words = words


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueType:
    """One type of policy value.

    Attributes:
        title: What the documentation calls it.
        parse: Text to value.
        write: Value to text; ``parse(write(value)) == value``.
        tags: Which plain YAML scalars may stand for it, by their short tag.
        plural: A YAML list of items may stand for it, read as its comma-joined text.
        schema: Its JSON Schema.
    """

    title: str
    parse: Callable[[str], Any]
    write: Callable[[Any], str] = str
    tags: frozenset[str] = field(default=frozenset({"str"}))
    plural: bool = False
    schema: Mapping[str, Any]


def duration_text(seconds: float) -> str:
    """Seconds in the grammar of durations: ``5400`` is ``1h30m``, ``0`` is ``0s``."""
    left = int(seconds)
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def duration_seconds(text: str) -> float:
    """Seconds of ``(<n>d)?(<n>h)?(<n>m)?(<n>s)?`` or of a bare number.

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


def integer(lowest: int, highest: int = 999_999_999) -> ValueType:
    """A whole number from ``lowest`` to ``highest``."""
    signed = re.compile(r"-?\d{1,9}" if lowest < 0 else r"\d{1,9}", re.ASCII)
    span = (
        f"from {lowest} to {highest}"
        if highest < 999_999_999
        else f"of at least {lowest}, with at most 9 digits"
    )

    def parse(text: str) -> int:
        if not signed.fullmatch(text):
            raise BadValueError("is not a whole number", f"write a number {span}")
        if not lowest <= int(text) <= highest:
            raise BadValueError("is out of range", f"write a number {span}")
        return int(text)

    return ValueType(
        title="int",
        parse=parse,
        tags=frozenset({"int"}),
        schema={"type": "integer", "minimum": lowest, "maximum": highest},
    )


def number(lowest: float, highest: float) -> ValueType:
    """A decimal number without exponent, from ``lowest`` to ``highest``."""

    def parse(text: str) -> float:
        if not _DECIMAL.fullmatch(text):
            raise BadValueError("is not a decimal number", f"write a number from {lowest:g} to {highest:g}")
        if not lowest <= float(text) <= highest:
            raise BadValueError("is out of range", f"write a number from {lowest:g} to {highest:g}")
        return float(text)

    return ValueType(
        title=f"float, {lowest:g} to {highest:g}",
        parse=parse,
        write=lambda value: f"{value:.9f}".rstrip("0").rstrip("."),
        tags=frozenset({"int", "float"}),
        schema={"type": "number", "minimum": lowest, "maximum": highest},
    )


def choice(*words: str) -> ValueType:
    """One of a closed set of words."""

    def parse(text: str) -> str:
        if text not in words:
            raise BadValueError(f"must be one of {', '.join(words)}", words=words)
        return text

    return ValueType(title=", ".join(words), parse=parse, schema={"enum": list(words)})


def _text(title: str, *, may_be_empty: bool = False, blanks: bool = True) -> ValueType:
    def parse(text: str) -> str:
        if not text and not may_be_empty:
            raise BadValueError("is empty", "leave the option out, or give it a value")
        if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
            raise BadValueError("holds a NUL or half a character")
        # A crontab's blanks alone: what its user word may hold, an option must be able to say.
        if not blanks and any(char in " \t\n" for char in text):
            raise BadValueError("holds a blank")
        return text

    return ValueType(
        title=title, parse=parse, schema={"type": "string", "minLength": 0 if may_be_empty else 1}
    )


def _parse_name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise BadValueError(
            "is not a name", "use letters, digits, '_' or '-', at most 63, a letter or digit at both ends"
        )
    return text


def _parse_bool(text: str) -> bool:
    if text in {"true", "yes", "on", "1"}:
        return True
    if text in {"false", "no", "off", "0"}:
        return False
    raise BadValueError("is neither true nor false", "write true or false")


def _parse_size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    unit = _UNITS.get(found[2]) if found else None
    if found is None or unit is None:
        raise BadValueError("is not a size", "examples: 512MiB, 1GiB, 1048576 (bytes), 10MB (10,000,000)")
    size: int = int(found[1]) * unit
    if not 0 < size < 2**63:
        raise BadValueError("is not a possible size", "write at least 1, and less than 8 EiB")
    return size


def _write_size(size: int) -> str:
    for power, letter in ((4, "T"), (3, "G"), (2, "M"), (1, "K")):
        if size % 1024**power == 0:
            return f"{size // 1024**power}{letter}iB"
    return str(size)


def _parse_codes(text: str, words: tuple[str, ...]) -> list[int | str]:
    codes: dict[int | str, None] = {}
    for item in text.split(","):
        part = item.strip(" \t")
        if part in words:
            codes[part] = None
            continue
        found = _CODES.fullmatch(part)
        if found is None or int(found[2] or found[1]) > 255:
            known = "".join(f", {word}" for word in words)
            raise BadValueError(
                "is not a list of exit codes", f"write numbers and ranges from 0 to 255{known}: 1,10-12"
            )
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first:
            raise BadValueError(f"holds the range {part}, which runs backwards", f"write {last}-{first}")
        codes.update(dict.fromkeys(range(first, last + 1)))
    return list(codes)


def _write_codes(codes: Sequence[int | str]) -> str:
    """Runs of following numbers as ranges, in the order given."""
    parts: list[str] = []
    run: list[int] = []

    def close() -> None:
        if run:
            parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
        run.clear()

    for code in codes:
        if isinstance(code, str):
            close()
            parts.append(code)
            continue
        if run and code != run[-1] + 1:
            close()
        run.append(code)
    close()
    return ",".join(parts)


def _outcomes(default_word: str | None, default: object) -> ValueType:
    """Exit codes and words; ``default_word`` says the default aloud, to take a ``defaults`` directive back."""

    def parse(text: str) -> object:
        if default_word is not None and text == default_word:
            return list(default) if isinstance(default, list) else default
        return _parse_codes(text, ("timeout", "signal"))

    return ValueType(
        title="exit codes, ranges, timeout, signal" + (f"; or {default_word}" if default_word else ""),
        parse=parse,
        write=lambda value: (default_word or "") if not value else _write_codes(value),
        tags=frozenset({"str", "int"}),
        plural=True,
        schema=_list_schema({"type": ["string", "integer"]}),
    )


def _parse_group(text: str) -> str:
    found = _GROUP.fullmatch(text)
    if found is None or not NAME.fullmatch(found[1]) or (found[2] is not None and int(found[2]) < 1):
        raise BadValueError("is not a group", "write a name, or name:N for at most N runs at once")
    return text if found[2] is None else f"{found[1]}:{int(found[2])}"


def _parse_names(text: str) -> list[str]:
    names: dict[str, None] = {}
    for item in text.split(","):
        names[_parse_name(item.strip(" \t"))] = None
    return list(names)


_TOLD = ("failure", "recovery", "missed", "always", "never")


def _parse_notify(text: str) -> str:
    words: dict[str, None] = {}
    for item in text.split(","):
        word = item.strip(" \t")
        if word not in _TOLD:
            raise BadValueError(f"must be a list of {', '.join(_TOLD)}", words=_TOLD)
        words[word] = None
    if "never" in words and len(words) > 1:
        raise BadValueError("says never, and something else as well", "write notify=never")
    return ",".join(words)


def _parse_instant(text: str) -> datetime:
    """An aware UTC datetime, or a naive one where the text has no offset: local time in the job's zone."""
    try:
        instant = datetime.fromisoformat(text)
        return instant if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        hint = "examples: 2026-03-29, 2026-03-29T02:30, 2026-03-29T01:00:00Z"
        raise BadValueError("is not an ISO 8601 date or time", hint) from error


def _write_instant(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _parse_url(text: str) -> str:
    if len(text) > _LONGEST_URL or not _URL.fullmatch(text):
        raise BadValueError("is not a URL", "write http://… or https://…, at most 2048 characters")
    return text


def _parse_umask(text: str) -> str:
    if not _UMASK.fullmatch(text):
        raise BadValueError("is not a umask", "write three octal digits: 022")
    return text


def _list_schema(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]}


_NAME_PATTERN = f"^{NAME.pattern}$"
_NAME_SCHEMA = {"type": "string", "pattern": _NAME_PATTERN}

name = ValueType(title="name", parse=_parse_name, schema=_NAME_SCHEMA)
zone = ValueType(title="IANA time zone", parse=str, schema={"type": "string", "minLength": 1})
boolean = ValueType(
    title="bool",
    parse=_parse_bool,
    write=lambda value: "true" if value else "false",
    tags=frozenset({"bool"}),
    schema={"type": "boolean"},
)
duration = _duration()
limit = _duration(may_be_none=True, least=1)
window = _duration(may_be_none=True)
size = ValueType(
    title="size",
    parse=_parse_size,
    write=_write_size,
    tags=frozenset({"str", "int"}),
    schema={"type": ["string", "integer"], "pattern": "^[0-9]+([kKMGT]i?B?|B)?$", "minimum": 1},
)
failures = _outcomes("any", None)
exceptions = _outcomes("none", [])
codes = ValueType(
    title="exit codes and ranges",
    parse=lambda text: _parse_codes(text, ()),
    write=_write_codes,
    tags=frozenset({"str", "int"}),
    plural=True,
    schema=_list_schema({"type": ["string", "integer"]}),
)
group = ValueType(
    title="name or name:N",
    parse=_parse_group,
    schema={"type": "string", "pattern": f"^{NAME.pattern}(:[0-9]+)?$"},
)
names = ValueType(
    title="name[,name]",
    parse=_parse_names,
    write=",".join,
    plural=True,
    schema=_list_schema({"type": "string"}),
)
notify = ValueType(
    title=f"list of {', '.join(_TOLD)}",
    parse=_parse_notify,
    plural=True,
    schema=_list_schema({"type": "string"}),
)
instant = ValueType(
    title="ISO 8601",
    parse=_parse_instant,
    write=_write_instant,
    tags=frozenset({"str", "timestamp"}),
    schema={"type": "string"},
)
url = ValueType(
    title="URL", parse=_parse_url, schema={"type": "string", "pattern": "^https?://", "maxLength": 2048}
)
umask = ValueType(
    title="octal digits", parse=_parse_umask, schema={"type": "string", "pattern": "^([0-7]{3}|0[0-7]{3})$"}
)
text = _text("string", may_be_empty=True)
path = _text("string")
word = _text("string", blanks=False)


def localised(instant: datetime, local: tzinfo) -> datetime:
    """``instant`` as aware UTC; a naive one is local time, of a repeated one the first, of a skipped one the later.

    Beyond what a datetime can hold it is the nearest that it can.
    """
    if instant.tzinfo is not None:
        return instant
    try:
        return instant.replace(tzinfo=local).astimezone(UTC)
    except OverflowError:
        return instant.replace(tzinfo=UTC)
