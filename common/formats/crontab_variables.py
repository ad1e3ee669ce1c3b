"""Variables of a crontab: ``NAME=value`` lines and what is wrong with them (spec: cron.md §2)."""

import re
from dataclasses import dataclass
from functools import partial

from kuber_cron.common.diagnostics import Fault, shown
from kuber_cron.common.jobs.option_types import BadValueError
from kuber_cron.common.jobs.options import OPTIONS
from kuber_cron.common.schedule import ScheduleError, timezones
from kuber_cron.common.suggestions import Suggestions

_ASSIGNMENT = re.compile(
    r"""[ \t]*+(?:([A-Za-z_][A-Za-z0-9_]*+)|"([^"=]*+)"|'([^'=]*+)')[ \t]*+=[ \t]*+""", re.ASCII
)
_EXPORT = re.compile(
    r"[ \t]*+(export|setenv|set|declare|local)[ \t]++(?:-[a-z]+[ \t]++)*+([A-Za-z_][A-Za-z0-9_]*+)"
)
# No field of a schedule holds "=", so a first word with one was meant to be a variable.
_NEARLY = re.compile(r"[ \t]*+([^ \t=@*]*+)[ \t]*+=")
_NEARLY_QUOTED = re.compile(r"""[ \t]*+["'][^=]*+=""")
_ONE_LINE_ZONE = re.compile(r"([^ \t]++)[ \t]++((?:[0-9*]|@[a-z]).*)")


@dataclass(slots=True, kw_only=True)
class Assignment:
    """The content of a variable line.

    Attributes:
        name: The variable; empty where the line is in error.
        value: Its value.
        fault: What is wrong; the variable is then not set.
        warning: What may surprise.
        is_zone: It sets, or was meant to set, ``CRON_TZ``.
    """

    name: str = ""
    value: str = ""
    fault: Fault | None = None
    warning: Fault | None = None
    is_zone: bool = False


def read(line: str, suggestions: Suggestions) -> Assignment | None:
    """Return the variable line, or None where the line is a job's."""
    found = _ASSIGNMENT.match(line)
    if found is None:
        return _nearly(line)
    start = len(line) - len(line.lstrip(" \t"))
    name = found[1] or found[2] or found[3] or ""
    is_zone = name == "CRON_TZ"
    if not name:
        return Assignment(fault=_fault(start, "KC201", "a variable needs a name", "write NAME=value"))
    value, fault = _value(line, found.end(), name)
    if fault is None:
        fault = _check(name, value, found.end(), suggestions)
    if fault is not None:
        return Assignment(fault=fault, is_zone=is_zone)
    return Assignment(name=name, value=value, warning=_warning(name, start), is_zone=is_zone)


def is_meant(line: str) -> bool:
    """Return True if an unreadable line would have been a variable's."""
    return _ASSIGNMENT.match(line) is not None


def is_zone(line: str) -> bool:
    """Return True if an unreadable line would have set ``CRON_TZ``."""
    found = _ASSIGNMENT.match(line)
    return found is not None and "CRON_TZ" in (found[1], found[2], found[3])


def _value(line: str, at: int, name: str) -> tuple[str, Fault | None]:
    if at == len(line) or line[at] not in "\"'":
        return line[at:].rstrip(" \t"), None
    end = line.find(line[at], at + 1)
    if end < 0:
        hint = f"close it, or leave it out: {name}={shown(line[at + 1 :])[1:-1]}"
        return "", _fault(at, "KC202", f"{shown(name)}: the quote is not closed", hint)
    rest = line[end + 1 :].lstrip(" \t")
    if rest:
        hint = "quote the whole value with the other kind of quote; there are no escapes and no comments here"
        return "", _fault(
            len(line) - len(rest), "KC203", f"{shown(name)}: text follows the closing quote", hint
        )
    return line[at + 1 : end], None


def _check(name: str, value: str, at: int, suggestions: Suggestions) -> Fault | None:
    if name in {"CRON_TZ", "TZ"}:
        on_one_line = _ONE_LINE_ZONE.fullmatch(value)
        if on_one_line is not None:
            return _fault(
                at,
                "KC208",
                f"a zone and a job on one line: {shown(f'{name}={value}')}",
                f"write CRON_TZ={shown(on_one_line[1])[1:-1]} on a line of its own, above the job",
                "timezone",
            )
    if name == "CRON_TZ" and value:
        try:
            timezones.find(value)
        except ScheduleError as error:
            hint = suggestions.ask(value, "zone", partial(getattr, error, "hint"))
            return _fault(at, "KC204", f"unknown time zone {shown(value)}", hint, "timezone")
    if name == "RANDOM_DELAY" and value:
        try:
            OPTIONS["random_delay"].type.parse(value)
        except BadValueError as error:
            return _fault(at, "KC206", f"RANDOM_DELAY={shown(value)} {error.predicate}", "write minutes: 10")
    return None


def _warning(name: str, at: int) -> Fault | None:
    if name in {"MAILTO", "MAILFROM"}:
        hint = "say whom to tell with a directive: # kuber-cron: defaults notify=failure"
        return _warn(at, "KC903", f"{name} is passed on to the commands, and no mail is sent", hint)
    if name in {"LOGNAME", "USER"}:
        hint = "to run as somebody else: # kuber-cron: user=NAME"
        return _warn(
            at, "KC904", f"{name} is passed on to the commands, and does not change who runs them", hint
        )
    return None


def _nearly(line: str) -> Assignment | None:
    """Return the fault of a line that is neither variable nor job, as far as its beginning shows; None otherwise."""
    start = len(line) - len(line.lstrip(" \t"))
    export = _EXPORT.match(line)
    if export is not None and (export[1] == "export" or "=" in line[export.end() : export.end() + 1]):
        name = export[2]
        hint = f"write {shown(name)[1:-1]}=…: variables of a crontab are exported anyway"
        message = f"{export[1]} is the shell's, not a crontab's"
        return Assignment(fault=_fault(start, "KC205", message, hint), is_zone=name == "CRON_TZ")
    found = _NEARLY.match(line)
    if found is not None and not line.startswith(('"', "'"), start):
        hint = "letters, digits and _, not a digit first; or put the name in quotes"
        return Assignment(fault=_fault(start, "KC201", f"{shown(found[1])} is not a variable name", hint))
    if _NEARLY_QUOTED.match(line):
        return Assignment(fault=_fault(start, "KC202", "the quote of the variable's name is not closed"))
    return None


def _fault(at: int, code: str, message: str, hint: str | None = None, about: str = "environment") -> Fault:
    return Fault(col=at + 1, code=code, message=message, hint=hint, about=about)


def _warn(at: int, code: str, message: str, hint: str) -> Fault:
    return Fault(col=at + 1, severity="warning", code=code, message=message, hint=hint, about="environment")
