"""The errors of a field's items: why one is not understood, and what to write instead.

Reached only with an item that ``fields`` has refused. A suggestion is shown only if the parser takes it.
"""

import re
from collections.abc import Callable

from kuber_cron.common import suggestions
from kuber_cron.common.schedule.errors import ScheduleError
from kuber_cron.common.schedule.field_spec import DAY, MINUTE, MONTHS, WEEKDAY, WEEKDAYS, ErrorCode, FieldSpec

_SHOWN_CHARACTERS = 40
_LONG_NAMES = {
    long: long[:3]
    for long in (
        *("january", "february", "march", "april", "june", "july"),
        *("august", "september", "sept", "october", "november", "december"),
        *(
            "sunday",
            "monday",
            "tuesday",
            "tues",
            "wednesday",
            "thursday",
            "thur",
            "thurs",
            "friday",
            "saturday",
        ),
    )
}
_WORD = re.compile(r"[A-Za-z]+")
# Spellings of other programs, and slips, each with cron's own form; tried in this order.
_REPAIRS = (
    (re.compile(r"\*([0-9]+)"), r"*/\1"),  # *5
    (re.compile(r"/([0-9]+)"), r"*/\1"),  # /5
    (re.compile(r"\*-([0-9]+)"), r"*/\1"),
    (re.compile(r"h(.*)"), r"H\1"),
    (re.compile(r"[Rr](/[0-9]+)?"), r"H\1"),  # croniter's random
    (re.compile(r"[Ll]([0-7]|[A-Za-z]{3})"), r"\1L"),  # croniter's last Friday
    (re.compile(r"[Ww]([0-9]+)"), r"\1W"),
    (re.compile(r"[Ww][Ll]"), "LW"),
    (re.compile(r"[Ll]"), "6L"),  # Quartz: L among the weekdays is Saturday
    (re.compile(r"(\w+)\.\.(\w+)"), r"\1-\2"),
    (re.compile(r"(\w+)[;|](\w+)"), r"\1,\2"),
    (re.compile(r"(.+?),+"), r"\1"),
)
_MISPLACED = re.compile(
    r"[?]|[Ll][Ww]?|[Ww][Ll]?|[Ll][0-9A-Za-z]*(?:-[0-9]+)?|\w+[LlWw]|[Ww][0-9]+|.*#.*|[Hh]\b.*|[Rr]\b.*"
)


def explain(spec: FieldSpec, item: str, *, is_valid: Callable[[str], bool]) -> ScheduleError:
    """Return the error for an item that the grammar does not have in this field.

    ``is_valid`` returns True if the parser takes an item here.
    """
    code, detail = _diagnose(spec, item)
    return ScheduleError(
        f"bad {spec.about}: {detail}",
        about=spec.about,
        code=code.value,
        hint=lambda: _hint(spec, item, is_valid),
    )


def _diagnose(spec: FieldSpec, item: str) -> tuple[ErrorCode, str]:
    quoted = shown(item)
    if not item:
        return ErrorCode.SYNTAX, "an item of the list is empty"
    if _MISPLACED.fullmatch(item):
        return ErrorCode.MISPLACED, f"'{quoted}' {_why_misplaced(spec, item)}"
    for word in _WORD.findall(item):
        if word.lower() not in spec.names:
            return ErrorCode.NAME, f"'{quoted}' {_why_no_name(spec, word.lower())}"
    return ErrorCode.SYNTAX, _why_unread(item, quoted)


def _why_unread(item: str, quoted: str) -> str:
    if any(character.isnumeric() and not character.isascii() for character in item):
        return f"'{quoted}' has digits other than 0-9"
    if item.count("/") > 1:
        return f"'{quoted}' has two steps"
    if item.startswith("-"):
        return f"'{quoted}' has no number before the '-'"
    if item.count("-") > 1:
        return f"'{quoted}' has two ranges"
    if item.endswith(("-", "/")):
        return f"'{quoted}' lacks its last number"
    return f"cannot read '{quoted}'"


def _why_misplaced(spec: FieldSpec, item: str) -> str:
    if item == "?":
        return "stands alone" if spec in (DAY, WEEKDAY) else "belongs in the day fields"
    if item.startswith("h"):
        return "is lower case"
    if item[0] in "HRr":
        return "is not in the form H, H(1-5) or H/15"
    if "#" in item:
        return "is not in the form 5#2, the second Friday" if spec is WEEKDAY else "belongs in day-of-week"
    if spec is DAY:
        return "is not one of L, LW and 15W"
    if spec is WEEKDAY:
        return "is not in the form 5L, the last Friday"
    return "belongs in the day fields"


def _why_no_name(spec: FieldSpec, word: str) -> str:
    short = _LONG_NAMES.get(word, word)
    if short in spec.names:
        return "is too long: names have three letters"
    for names, owner in ((MONTHS, "month"), (WEEKDAYS, "day-of-week")):
        if short in names:
            return f"is a name of the {owner} field"
    if not spec.names:
        return "has letters, and this field takes numbers"
    return f"is no {'weekday' if spec is WEEKDAY else 'month'}: " + " ".join(spec.names)


def _hint(spec: FieldSpec, item: str, is_valid: Callable[[str], bool]) -> str | None:
    if not item:
        return "remove the comma that has nothing beside it"
    if len(item) > _SHOWN_CHARACTERS:
        return None
    if item == "?" and spec not in (DAY, WEEKDAY):
        return "write *"
    if spec is MINUTE and _WORD.fullmatch(item) and _LONG_NAMES.get(item.lower(), item.lower()) in WEEKDAYS:
        return f"the fields are minute hour day-of-month month day-of-week: 0 0 * * {item[:3].lower()}"
    for candidate in _candidates(spec, item):
        if candidate != item and is_valid(candidate):
            return f"write {candidate}"
    return None


def _candidates(spec: FieldSpec, item: str) -> list[str]:
    found = [pattern.sub(form, item) for pattern, form in _REPAIRS if pattern.fullmatch(item)]
    if spec.names:
        found.append(_WORD.sub(lambda word: _LONG_NAMES.get(word[0].lower(), word[0]), item))
        names = (*spec.names, *_LONG_NAMES)
        found.append(_WORD.sub(lambda word: _nearest_name(word[0], names), item))
    return found


def _nearest_name(word: str, names: tuple[str, ...]) -> str:
    near = suggestions.closest(word.lower(), names)
    return _LONG_NAMES.get(near, near) if near else word


def split_range(spec: FieldSpec, item: str, start: tuple[str, int], end: tuple[str, int]) -> str | None:
    """Return the hint for a range that runs backwards: the two ranges that it was meant to be.

    ``start`` and ``end`` are the text and the number of the range's two ends.
    A step goes on counting across the border, as it would in a range that ran on.
    """
    (first, low), (last, high) = start, end
    if "~" in item:
        return f"write {last}~{first}"
    if item.startswith("H"):
        return f"write {item.replace(f'{first}-{last}', f'{last}-{first}')}"
    # Weekdays go round from 7, Sunday, to 1.
    bottom = 1 if spec is WEEKDAY else spec.low
    step = int(item.partition("/")[2] or 1)
    if step < 1:
        return None
    resume = low + ((spec.high - low) // step + 1) * step - (spec.high - bottom + 1)
    named = not (first.isdigit() and last.isdigit())
    parts = [_span(spec, low, spec.high, step, named=named)]
    if resume <= high:
        parts.append(_span(spec, resume, high, step, named=named))
    return "write " + ",".join(parts)


def _span(spec: FieldSpec, low: int, high: int, step: int, *, named: bool) -> str:
    spelt = {number: name for name, number in spec.names.items()} if named else {}
    if spec is WEEKDAY and named:
        spelt[7] = "sun"
    first, last = str(spelt.get(low, low)), str(spelt.get(high, high))
    if low + step > high:
        return first
    return f"{first}-{last}" + (f"/{step}" if step > 1 else "")


def shown(text: str) -> str:
    """Return the text as it may stand in a message: short, and with nothing that moves the cursor."""
    cut = text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
    return cut if cut.isprintable() else cut.encode("unicode_escape", "backslashreplace").decode("ascii")
