"""Directives: policies in comments that every other cron ignores (spec: cron.md §3).

``# kuber-cron: key=value …`` binds to the next job, ``defaults`` to the jobs below, ``file`` to the file. A
comment that nearly is a directive is an error: the policy it meant to set would silently not hold.
"""

import re
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from kuber_cron.common import suggestions as similar
from kuber_cron.common.diagnostics import Fault, shown
from kuber_cron.common.jobs import text_types
from kuber_cron.common.jobs.option_types import BadValueError
from kuber_cron.common.jobs.options import ALIASES, DIRECTIVE_KEYS, KUBERNETES_KEYS, OPTIONS, Option
from kuber_cron.common.schedule import ScheduleError, timezones
from kuber_cron.common.suggestions import Suggestions

Scope = Literal["job", "defaults", "file"]

_DIRECTIVE = re.compile(r"[ \t]*#[ \t]*kuber-cron:")
_BLANKS = re.compile(r"[ \t]*")
_WORD = re.compile(r"[^ \t]*")
_KEY = re.compile(r"([^ \t=\"']*)(=?)")
_VALUE = re.compile(r'"((?:[^"\\]|\\.)*)"|\'([^\']*)\'|([^ \t"\'][^ \t]*)?')
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_FILE_KEYS = ("format", "timezone", "tz")
# The head of a comment, for near misses: everything up to a colon, or the first words.
_COMMENT_HEAD = re.compile(r"[ \t]*#!?[ \t]*([^ \t:=]{3,16}(?:[ \t]cron)?)[ \t]*(:?)[ \t]*([^ \t]{0,40})")
_SEPARATORS = re.compile(r"[-_. \t]")


@dataclass(slots=True, kw_only=True)
class Directive:
    """The content of one directive line.

    Attributes:
        scope: What it binds to.
        values: :class:`Job` attributes and their values; ``format`` for the file. Instants may still be naive.
        env: Variables of ``env.NAME``.
        faults: What is wrong with it; where there is any, nothing of it may be used.
    """

    scope: Scope = "job"
    values: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    keys: dict[str, int] = field(default_factory=dict)

    def fault(
        self, at: int, code: str, message: str, hint: str | None = None, about: str = "directive"
    ) -> None:
        """Note a fault at the 0-based offset ``at`` of the line."""
        self.faults.append(Fault(col=at + 1, code=code, message=message, hint=hint, about=about))


def read(line: str, suggestions: Suggestions) -> Directive | None:
    """Return the directive in a comment line, or None where the line is an ordinary comment."""
    head = _DIRECTIVE.match(line)
    if head is None:
        return _near_miss(line)
    directive = Directive()
    start = len(line) - len(line.lstrip(" \t"))
    at = _skip_blanks(line, head.end())
    scope = _KEY.match(line, at)
    if scope is not None and scope[1] in {"defaults", "file"} and not scope[2]:
        directive.scope = "file" if scope[1] == "file" else "defaults"
        at = _skip_blanks(line, scope.end())
    if at == len(line):
        directive.fault(start, "KC301", "empty directive", "write key=value: # kuber-cron: retries=3")
    while at < len(line):
        at = _skip_blanks(line, _read_setting(line, at, directive, suggestions))
    return directive


def read_value(option: Option, text: str, suggestions: Suggestions) -> Any:
    """Return the value of a key, from its text.

    Raises:
        BadValueError: It is not of the key's type; the hint holds the suggestion.
    """
    if option.key == "timezone":
        try:
            timezones.find(text)
        except ScheduleError as error:
            hint = suggestions.ask(text, "zone", partial(getattr, error, "hint"))
            raise BadValueError("is not a time zone", hint) from error
        return text
    try:
        return option.type.parse(text)
    except BadValueError as error:
        if error.hint is None and error.words:
            error.hint = suggestions.hint(text, error.words, option.key)
        raise


def unknown_key_hint(key: str, known: tuple[str, ...], suggestions: Suggestions) -> str | None:
    """Return the key that an unknown one was probably meant to be, as a hint."""
    if key in KUBERNETES_KEYS and KUBERNETES_KEYS[key] in known:
        return f"did you mean '{KUBERNETES_KEYS[key]}'?"
    return suggestions.hint(key, known, f"key of {len(known)}")


def _skip_blanks(line: str, at: int) -> int:
    found = _BLANKS.match(line, at)
    return found.end() if found is not None else at


def _read_setting(line: str, at: int, directive: Directive, suggestions: Suggestions) -> int:
    """Read one ``key=value`` at ``at`` into ``directive``; return the offset behind it, always further on."""
    key = _KEY.match(line, at)
    if key is None or not key[1] or not key[2]:
        return _not_a_setting(line, at, directive)
    value = _VALUE.match(line, key.end())
    if value is None or (value.end() == key.end() and line.startswith(('"', "'"), key.end())):
        directive.fault(key.end(), "KC303", f"{shown(key[1])}: the quote is not closed", "close it")
        return len(line)
    end = value.end()
    if end < len(line) and line[end] not in " \t":
        directive.fault(
            end,
            "KC303",
            f"{shown(key[1])}: text follows the closing quote",
            r"""write \" for a quote within "...", and a blank between options""",
        )
        return _end_of_word(line, end)
    if value[1] is not None:
        text = re.sub(r'\\(["\\])', r"\1", value[1])
    else:
        text = value[2] if value[2] is not None else value[3] or ""
    _set(directive, key[1], text, at, suggestions)
    return end


def _not_a_setting(line: str, at: int, directive: Directive) -> int:
    end = _end_of_word(line, at)
    word = line[at:end]
    hint: str | None = "write key=value, without blanks around ="
    if not directive.keys and "=" not in word:
        meant = similar.closest(word, ("defaults", "file"))
        if meant is not None:
            # What was meant to hold for every job below must not be lost on any of them.
            directive.scope = "defaults"
            hint = f"did you mean '{meant}'?"
    directive.fault(at, "KC300", f"{shown(word)} is not key=value", hint)
    # One finding for words that belong together: prose after the colon is one mistake, not twelve.
    rest = _skip_blanks(line, end)
    while rest < len(line):
        following = _KEY.match(line, rest)
        if following is not None and following[1] and following[2]:
            break
        rest = _skip_blanks(line, _end_of_word(line, rest))
    return rest


def _end_of_word(line: str, at: int) -> int:
    found = _WORD.match(line, at)
    return found.end() if found is not None else at


def _set(directive: Directive, written: str, text: str, at: int, suggestions: Suggestions) -> None:
    key = ALIASES.get(written, written)
    if key in directive.keys:
        directive.fault(at, "KC305", f"option {shown(written)} given twice", "keep one of them")
        return
    directive.keys[key] = at
    if directive.scope == "file":
        _set_file(directive, written, text, at, suggestions)
        return
    if key.startswith("env."):
        _set_env(directive, key, text, at)
        return
    option = OPTIONS.get(key)
    if option is None or option.yaml_only:
        hint = unknown_key_hint(written, DIRECTIVE_KEYS, suggestions)
        if key == "stdin":
            hint = "write the input after a % in the command"
        elif key in {"shell", "random_delay"}:
            hint = f"write the variable {'SHELL' if key == 'shell' else 'RANDOM_DELAY'}= above the job"
        elif key == "quiet":
            hint = "write - before the schedule"
        directive.fault(at, "KC302", f"unknown option {shown(written)}", hint)
        return
    if directive.scope == "defaults" and not option.default_allowed:
        directive.fault(at, "KC302", f"option {shown(written)} cannot be a default", "write it above one job")
        return
    try:
        directive.values[option.attribute] = read_value(option, text, suggestions)
    except BadValueError as error:
        _refuse(directive, written, text, at, error)


def _set_file(directive: Directive, written: str, text: str, at: int, suggestions: Suggestions) -> None:
    key = ALIASES.get(written, written)
    if key == "format":
        if text in {"user", "system"}:
            directive.values["format"] = text
            return
        hint = suggestions.hint(text, ("user", "system"), "format")
        directive.fault(at, "KC303", f"format={shown(text)} must be one of user, system", hint)
    elif key == "timezone":
        try:
            directive.values["timezone"] = read_value(OPTIONS["timezone"], text, suggestions)
        except BadValueError as error:
            _refuse(directive, written, text, at, error)
    elif key in OPTIONS or key.startswith("env."):
        directive.fault(
            at, "KC302", f"option {shown(written)} is not one of a file", "write it under defaults"
        )
    else:
        hint = unknown_key_hint(written, _FILE_KEYS, suggestions)
        directive.fault(at, "KC302", f"unknown option {shown(written)} of a file", hint)


def _set_env(directive: Directive, key: str, text: str, at: int) -> None:
    name = key.removeprefix("env.")
    if not _ENV_NAME.fullmatch(name):
        hint = "letters, digits and _, not a digit first: env.MODE=full"
        directive.fault(at, "KC303", f"{shown(name)} is not a variable name", hint)
        return
    if name == "RANDOM_DELAY":
        try:
            OPTIONS["random_delay"].type.parse(text)
        except BadValueError as error:
            _refuse(directive, key, text, at, error)
            return
    try:
        directive.env[name] = text_types.text.parse(text)
    except BadValueError as error:
        _refuse(directive, key, text, at, error)


def _refuse(directive: Directive, written: str, text: str, at: int, error: BadValueError) -> None:
    if written in {"timezone", "tz"}:
        directive.fault(at, "KC204", f"unknown time zone {shown(text)}", error.hint, "timezone")
    else:
        directive.fault(at, "KC303", f"{written}={shown(text)} {error.predicate}", error.hint)


def _near_miss(line: str) -> Directive | None:
    """Return a directive in error for a comment that nearly is one; None otherwise.

    Prose that names the program ("# kuber-cron runs this file") is not one: it has neither the colon nor a
    ``key=``.
    """
    head = _COMMENT_HEAD.match(line)
    if head is None or not (head[2] or "=" in head[3] or head[3] in {"defaults", "file"}):
        return None
    word = _SEPARATORS.sub("", head[1].lower())
    if word != "kubercron" and not _within_two_edits(word, "kubercron"):
        return None
    if word != "kubercron" and not head[2] and "=" not in head[3]:
        return None
    directive = Directive(scope="defaults" if head[3] in {"defaults", "file"} else "job")
    start = len(line) - len(line.lstrip(" \t"))
    directive.fault(start, "KC304", "not a valid kuber-cron directive", "did you mean '# kuber-cron:'?")
    return directive


def _within_two_edits(word: str, wanted: str) -> bool:
    """Return True if at most two insertions, deletions, replacements or swaps of neighbours lead to ``wanted``."""
    if abs(len(word) - len(wanted)) > 2:
        return False
    before: list[int] = []
    row = list(range(len(wanted) + 1))
    for i, char in enumerate(word, start=1):
        older, before, row = before, row, [i]
        for j, other in enumerate(wanted, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (char != other))
            if older and j > 1 and char == wanted[j - 2] and word[i - 2] == other:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
    return row[-1] <= 2
