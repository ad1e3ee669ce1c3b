"""The five fields of a schedule: from text to a set of values, or to an error that says what to write.

The grammar is cron.md §2. Values are ints; what depends on the month is kept as a word: ``"L"`` (last day),
``"LW"`` (last weekday), ``"15W"`` (the weekday nearest the 15th), ``"5L"`` (last Friday), ``"2#1"`` (first
Tuesday). Nothing here knows a calendar. Texts are capped before they are expanded.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from kuber_cron.common.schedule import field_hints
from kuber_cron.common.schedule.errors import ScheduleError
from kuber_cron.common.schedule.field_spec import (
    DAY,
    FIELD_SPECS,
    HOUR,
    MINUTE,
    WEEKDAY,
    ErrorCode,
    FieldSpec,
)

MAX_FIELD_CHARACTERS = 1024
MAX_LIST_ITEMS = 256
MAX_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Field:
    """A field that was understood.

    Attributes:
        values: The values and words that match.
        is_starred: Whether its *text* begins with ``*`` or is ``?``; ``0-59`` is full and not starred.
    """

    values: frozenset[int | str]
    is_starred: bool


_NUMBER = r"([0-9]+|[A-Za-z]{3})"
_RANGE = re.compile(rf"(?:\*|{_NUMBER}(?:-{_NUMBER})?)(?:/([0-9]+))?")
_SPREAD = re.compile(rf"{_NUMBER}?~{_NUMBER}?")
_HASHED = re.compile(rf"H(?:\({_NUMBER}-{_NUMBER}\))?(?:/([0-9]+))?")
_NEAREST = re.compile(r"([0-9]+)[Ww]")
_LAST = re.compile(rf"{_NUMBER}[Ll]")
_NTH = re.compile(rf"{_NUMBER}#([0-9]+)")


def parse(spec: FieldSpec, text: str, job_id: str = "") -> Field:
    """Return the field's values, the hashed ones spread by the job's id.

    Raises:
        ScheduleError: With the offset of the bad item within the field.
    """
    # Most fields are the same in thousands of jobs, and only these two signs depend on the job.
    return _parse(spec.index, text, job_id if "H" in text or "~" in text else "")


@lru_cache(maxsize=4096)
def _parse(index: int, text: str, job_id: str) -> Field:
    spec = FIELD_SPECS[index]
    if len(text) > MAX_FIELD_CHARACTERS:
        raise _error(
            spec, ErrorCode.LIMIT, f"{len(text)} characters, of which a field may have {MAX_FIELD_CHARACTERS}"
        )
    if text == "?" and spec in (DAY, WEEKDAY):
        return Field(frozenset(spec.all_values), is_starred=True)
    items = text.split(",")
    if len(items) > MAX_LIST_ITEMS:
        raise _error(
            spec, ErrorCode.LIMIT, f"a list of {len(items)} items, of which it may have {MAX_LIST_ITEMS}"
        )
    values: set[int | str] = set()
    offset = 0
    for item in items:
        try:
            values.update(_item(spec, item, job_id))
        except ScheduleError as error:
            error.offset = offset
            raise
        offset += len(item) + 1
    return Field(frozenset(values), is_starred=text.startswith("*"))


def _item(spec: FieldSpec, item: str, job_id: str) -> frozenset[int | str] | set[int]:
    if found := _RANGE.fullmatch(item):
        return _range(spec, item, found[1], found[2], found[3])
    if found := _HASHED.fullmatch(item):
        return _hashed(spec, item, found, job_id)
    if found := _SPREAD.fullmatch(item):
        return _spread(spec, item, found, job_id)
    if (word := _word(spec, item)) is not None:
        return frozenset((word,))
    raise _unread(spec, item)


def _range(spec: FieldSpec, item: str, first: str | None, last: str | None, step: str | None) -> set[int]:
    if first is None:
        low, high = spec.low, spec.top
    elif last is not None:
        low, high = _bounds(spec, item, first, last)
    else:
        low = value(spec, first)
        # A step without an end runs to the field's; 7/n is Sunday only.
        high = max(low, spec.top) if step is not None else low
    return _folded(spec, range(low, high + 1, _step(spec, item, step)))


def _hashed(spec: FieldSpec, item: str, found: re.Match[str], job_id: str) -> set[int]:
    low, high = spec.low, spec.hash_top
    if found[1] is not None:
        low, high = _bounds(spec, item, found[1], found[2])
    size = high - low + 1
    if found[3] is None:
        return _folded(spec, (low + slot(job_id, spec.index) % size,))
    step = _step(spec, item, found[3])
    return _folded(spec, range(low + slot(job_id, spec.index) % min(step, size), high + 1, step))


def _spread(spec: FieldSpec, item: str, found: re.Match[str], job_id: str) -> set[int]:
    low, high = spec.low, spec.top
    if found[1] is not None and found[2] is not None:
        low, high = _bounds(spec, item, found[1], found[2])
    elif found[1] is not None:
        low = value(spec, found[1])
        high = max(low, high)
    elif found[2] is not None:
        high = value(spec, found[2])
    return _folded(spec, (low + slot(job_id, spec.index) % (high - low + 1),))


def _word(spec: FieldSpec, item: str) -> str | None:
    """Return an item that depends on the month, in its canonical spelling; None if it is nothing of the spec."""
    if spec is DAY:
        if item.upper() in ("L", "LW"):
            return item.upper()
        if found := _NEAREST.fullmatch(item):
            return f"{value(spec, found[1])}W"
    if spec is WEEKDAY:
        if found := _LAST.fullmatch(item):
            return f"{value(spec, found[1]) % 7}L"
        if found := _NTH.fullmatch(item):
            weekday, nth = value(spec, found[1]) % 7, int(_digits(spec, found[2]))
            if not 1 <= nth <= 5:
                raise _error(spec, ErrorCode.OUTSIDE, f"{item} asks for week {found[2]}, and a month has 1-5")
            return f"{weekday}#{nth}"
    return None


def slot(job_id: str, index: int) -> int:
    """Return the number that spreads jobs: the same on every replica, moved only by renaming the job."""
    digest = sha256(job_id.encode("utf-8", "surrogatepass") + b"\0" + str(index).encode()).digest()
    return int.from_bytes(digest[:8], "big")


def value(spec: FieldSpec, text: str) -> int:
    """Return the number that digits or a three-letter name stand for.

    Raises:
        ScheduleError: It is too long, no name of this field, or outside the field's range.
    """
    if not text.isdigit():
        named = spec.names.get(text.lower())
        if named is None:
            raise _unread(spec, text)
        return named
    number = int(_digits(spec, text))
    if not spec.low <= number <= spec.high:
        hint = f"write 0: {spec.about}s count from 0 to {spec.high}" if number == spec.high + 1 else None
        raise _error(
            spec,
            ErrorCode.OUTSIDE,
            f"{text} is not in {spec.low}-{spec.high}",
            hint if spec in (MINUTE, HOUR) else None,
        )
    return number


def _bounds(spec: FieldSpec, item: str, first: str, last: str) -> tuple[int, int]:
    low, high = value(spec, first), value(spec, last)
    if spec is WEEKDAY and high == 0 and low > 0:
        high = 7  # fri-sun, 5-0
    if low > high:
        hint = field_hints.split_range(spec, item, (first, low), (last, high))
        raise _error(spec, ErrorCode.BACKWARDS, f"range {first}-{last} runs backwards", hint)
    return low, high


def _step(spec: FieldSpec, item: str, step: str | None) -> int:
    if step is None:
        return 1
    number = int(_digits(spec, step))
    if number < 1:
        raise _error(spec, ErrorCode.STEP, f"{item} has a step of 0", "steps count from 1")
    return number


def _digits(spec: FieldSpec, text: str) -> str:
    if len(text) > MAX_DIGITS:
        raise _error(
            spec, ErrorCode.LIMIT, f"a number of {len(text)} digits, of which it may have {MAX_DIGITS}"
        )
    return text


def _folded(spec: FieldSpec, numbers: range | tuple[int, ...]) -> set[int]:
    return {number % 7 for number in numbers} if spec is WEEKDAY else set(numbers)


def _unread(spec: FieldSpec, item: str) -> ScheduleError:
    return field_hints.explain(spec, item, is_valid=lambda suggestion: _is_valid(spec, suggestion))


def _is_valid(spec: FieldSpec, item: str) -> bool:
    try:
        parse(spec, item)
    except ScheduleError:
        return False
    return True


def _error(spec: FieldSpec, code: ErrorCode, detail: str, hint: str | None = None) -> ScheduleError:
    return ScheduleError(f"bad {spec.about}: {detail}", about=spec.about, code=code.value, hint=hint)
