"""A schedule's text as words: blanks, nicknames, durations, and what is wrong before any field is read."""

import re

from kuber_cron.common import suggestions
from kuber_cron.common.schedule.errors import ScheduleError
from kuber_cron.common.schedule.field_hints import shown
from kuber_cron.common.schedule.field_spec import FIELD_SPECS, ErrorCode
from kuber_cron.common.schedule.fields import MAX_DIGITS

Words = list[tuple[str, int]]
"""Each word and its 0-based offset."""

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
    "@every_minute": "* * * * *",
}
_ALL_NICKNAMES = (*NICKNAMES, "@reboot", "@every", "@after")

LEAST_EVERY_SECONDS = 1
MOST_EVERY_SECONDS = 7 * 86_400

_WORD = re.compile(r"[^ \t]+")
# Any space but blank and tab, and what is not seen at all; line ends have no place in a schedule either.
_UNSEEN = re.compile(
    "[^\\S \\t]|[\\x00-\\x08\\x0e-\\x1f\\x7f\\xad\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060\\ufeff]"
)
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_DURATION = re.compile(r"(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?")
_UNIT_SECONDS = (86_400, 3600, 60, 1)
_FIELD_NAMES = " ".join(spec.about for spec in FIELD_SPECS)


def split(text: str) -> Words:
    """Return the words between blanks and tabs, at least one.

    Raises:
        ScheduleError: The text is empty, or has a character that looks like a blank and is none.
    """
    if unseen := _UNSEEN.search(text):
        raise _unseen(unseen)
    words = [(found[0], found.start()) for found in _WORD.finditer(text)]
    if not words:
        raise _error("schedule", ErrorCode.SHAPE, "it is empty", f"the fields are {_FIELD_NAMES}")
    return words


def nickname(words: Words) -> str:
    """Return the nickname that the words begin with; only ``@every`` has a word after it.

    Raises:
        ScheduleError: There is none of that name, or it has words after it.
    """
    name, offset = words[0]
    if name not in _ALL_NICKNAMES:
        detail = f"{shown(name)} is not one of {' '.join(_ALL_NICKNAMES)}"
        raise ScheduleError(
            f"bad nickname: {detail}",
            about="nickname",
            code=ErrorCode.NICKNAME.value,
            hint=lambda: _suggest_nickname(words),
            offset=offset,
        )
    if name != "@every" and len(words) > 1:
        extra, at = words[1]
        raise _error(
            "nickname",
            ErrorCode.NICKNAME,
            f"{name} stands alone, without '{shown(extra)}'",
            f"write {name}",
            at,
        )
    return name


def every_seconds(words: Words) -> int:
    """Return the period of ``@every DURATION`` in seconds.

    Raises:
        ScheduleError: It is missing, no duration, or not from 1 s to 7 d.
    """
    if len(words) == 1:
        raise _error("nickname", ErrorCode.DURATION, "@every lacks its duration", "write @every 5m")
    given, offset = words[1]
    joined = "".join(word for word, _ in words[1:])
    if len(words) > 2:
        hint = f"write @every {joined}" if _seconds(joined) else None
        raise _error(
            "nickname", ErrorCode.DURATION, f"@every takes one word, not {len(words) - 1}", hint, words[2][1]
        )
    seconds = _seconds(given)
    if seconds is None:
        detail = f"'{shown(given)}' is not a duration such as 90s, 5m or 1h30m"
        raise _error("nickname", ErrorCode.DURATION, detail, _repaired_duration(given), offset)
    if not LEAST_EVERY_SECONDS <= seconds <= MOST_EVERY_SECONDS:
        raise _error(
            "nickname", ErrorCode.DURATION, f"@every {shown(given)} is not from 1s to 7d", offset=offset
        )
    return seconds


def require_five(words: Words) -> None:
    """Raise unless there are five words.

    Raises:
        ScheduleError: There are more or fewer, or the first is a variable.
    """
    if variable := _VARIABLE.fullmatch(words[0][0]):
        name, zone = variable.groups()
        hint = (
            f"write CRON_TZ={shown(zone)} on a line of its own, above"
            if name.upper().endswith("TZ")
            else f"write {shown(words[0][0])} on a line of its own, above"
        )
        raise _error(
            "schedule", ErrorCode.VARIABLE, f"{name}= stands on the schedule's line", hint, words[0][1]
        )
    if len(words) == 5:
        return
    if len(words) < 5:
        detail = f"{len(words)} field{'s' if len(words) > 1 else ''} of five"
        raise _error("schedule", ErrorCode.SHAPE, detail, _few_hint(words), words[0][1])
    hint = "leave the seconds out; what runs more often than each minute is written @every 30s"
    raise _error("schedule", ErrorCode.SHAPE, f"{len(words)} fields, not five", hint, words[5][1])


def _few_hint(words: Words) -> str:
    bare = words[0][0]
    if len(words) == 1 and f"@{bare.lower()}" in _ALL_NICKNAMES:
        return f"write @{bare.lower()}"
    return f"the fields are {_FIELD_NAMES}"


def _suggest_nickname(words: Words) -> str | None:
    name = words[0][0]
    if name == "@" and len(words) > 1 and f"@{words[1][0].lower()}" in _ALL_NICKNAMES:
        return f"write @{words[1][0].lower()}"
    if name.lower() in _ALL_NICKNAMES:
        return f"write {name.lower()}"
    near = suggestions.closest(name, _ALL_NICKNAMES)
    return f"did you mean {near}?" if near else None


def _seconds(duration: str) -> int | None:
    found = _DURATION.fullmatch(duration)
    if not found or not duration or any(len(part) > MAX_DIGITS for part in found.groups() if part):
        return None
    return sum(int(part) * unit for part, unit in zip(found.groups(), _UNIT_SECONDS, strict=True) if part)


def _repaired_duration(given: str) -> str | None:
    if given.isascii() and given.isdigit() and len(given) <= MAX_DIGITS:
        return f"write @every {given}s"
    lower = given.lower()
    return f"write @every {lower}" if lower != given and _seconds(lower) else None


def _unseen(found: re.Match[str]) -> ScheduleError:
    code = ord(found[0])
    name = {0xA0: "a no-break space", 0x0A: "a line end", 0x0D: "a line end"}.get(
        code, "a space of another kind" if found[0].isspace() else "an invisible character"
    )
    remedy = "write a plain blank there" if found[0].isspace() else "delete it"
    return _error("schedule", ErrorCode.CHARACTER, f"it has {name} (U+{code:04X})", remedy, found.start())


def _error(
    about: str, code: ErrorCode, detail: str, hint: str | None = None, offset: int = 0
) -> ScheduleError:
    return ScheduleError(f"bad {about}: {detail}", about=about, code=code.value, hint=hint, offset=offset)
