"""The job lines of a crontab: schedule, user, flags, command and its input, each with what is wrong with it.

Pure. One line at a time; what stands above a line (directives, variables, defaults) is the business of ``crontab``.
"""

import re
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from kuber_cron.common.diagnostics import Fault
from kuber_cron.common.formats import lint
from kuber_cron.common.formats.resolver import ParsedFile
from kuber_cron.common.schedule import Schedule, ScheduleError

MAX_LINE_BYTES = 131_072
BLANKS = " \t"

_HALVES = re.compile("[\ud800-\udfff]")
# Possessive: a line of 128 KiB is walked once.
_FIVE_FIELDS = re.compile(r"[^ \t]++(?:[ \t]++[^ \t]++){4}")
_NICKNAME = re.compile(r"@[^ \t]*+")
_EVERY = re.compile(r"@every(?=[ \t])[ \t]++[^ \t]++", re.IGNORECASE)
_WORD = re.compile(r"[^ \t]++")
_SPACE = re.compile(r"[ \t]++")
_FLAG = re.compile(r"-([nqs])(?:[ \t]++|$)")
_PERCENT = re.compile(r"\\[\\%]|%")
_FLAG_VALUES: dict[str, dict[str, Any]] = {
    "n": {"notify": "failure"},
    "q": {"quiet": True},
    "s": {"concurrency": "forbid"},
}


@dataclass(slots=True)
class JobLine:
    """One job line, taken apart.

    Attributes:
        number: 1-based line.
        text: The line.
        start: 0-based offset of its first character that is no blank.
        schedule_end: 0-based offset behind the schedule.
        schedule: The schedule's text with its blanks collapsed.
        never: True if the schedule can never match; None if that depends on the job's id.
        command_at: 0-based offset of the command.
        cut_at: Offset within the command of its first unescaped %, or None.
        values: The :class:`Job` attributes that the line sets, the schedule apart.
    """

    number: int
    text: str
    start: int
    schedule_end: int = 0
    schedule: str = ""
    never: bool | None = False
    command_at: int = 0
    cut_at: int | None = None
    values: dict[str, Any] = field(default_factory=dict)


class JobLineParser:
    """A parser of job lines, which reports to their file what may surprise about them."""

    def __init__(self, file: ParsedFile) -> None:
        self._file = file
        # Files repeat their mistakes: the error of a schedule is worked out once.
        self._schedules: dict[str, tuple[str, bool | None] | Fault] = {}

    def parse(self, job: JobLine, *, has_user: bool) -> Fault | None:
        """Fill ``job`` from its text.

        Args:
            job: A line of which number, text and start are known.
            has_user: A user word stands between schedule and command.

        Returns:
            The fault for which the line is no job, or None.
        """
        line, at = job.text, job.start
        if line[at] == "-" and line[at + 1 : at + 2].strip(BLANKS):
            job.values["quiet"] = True
            at += 1
        if line[at] == "@":
            found = _EVERY.match(line, at) or _NICKNAME.match(line, at)
        else:
            found = _FIVE_FIELDS.match(line, at)
        job.schedule_end = len(line.rstrip(BLANKS)) if found is None else found.end()
        fault = self._check_schedule(job, line[at : job.schedule_end], at)
        if fault is not None:
            if line.startswith(("- ", "-\t"), job.start):
                return replace(fault, hint="write the - for quiet without a blank behind it")
            sixth = _WORD.match(line, _end(_SPACE, line, job.schedule_end))
            if fault.hint is None and line[at] != "@" and sixth and lint.looks_like_a_field(sixth[0]):
                hint = "a schedule has five fields, minutes first; seconds are written @every 30s"
                return replace(fault, hint=hint)
            return fault
        schedule_at = at
        at = _end(_SPACE, line, job.schedule_end)
        if has_user:
            at = self._read_user(job, at)
        while (flag := _FLAG.match(line, at)) is not None:
            job.values |= _FLAG_VALUES[flag[1]]
            at = flag.end()
        job.command_at = at
        fault = _read_command(job, has_user=has_user)
        if fault is None:
            for warning in (
                *lint.steps(job.schedule, schedule_at),
                *lint.command(line[at:], job.schedule, at, cut_at=job.cut_at, user_word=has_user),
            ):
                self._file.report(warning, job.number, line)
        return fault

    def _read_user(self, job: JobLine, at: int) -> int:
        """Take in the user word; return the offset behind it and its blanks."""
        end = _end(_WORD, job.text, at)
        if end > at:
            job.values["user"] = job.text[at:end]
            for warning in lint.user(job.text[at:end], at):
                self._file.report(warning, job.number, job.text)
        return _end(_SPACE, job.text, end)

    def _check_schedule(self, job: JobLine, text: str, at: int) -> Fault | None:
        known = self._schedules.get(text)
        if known is None:
            known = self._schedules[text] = self._parse_schedule(text)
        if isinstance(known, Fault):
            return replace(known, col=at + known.col)
        job.schedule, job.never = known
        return None

    def _parse_schedule(self, text: str) -> tuple[str, bool | None] | Fault:
        try:
            # Whether a text is a schedule depends on no zone, and the job's id is not known yet.
            schedule = Schedule.parse(text)
        except ScheduleError as error:
            hint = self._file.suggestions.ask(text, "schedule", partial(getattr, error, "hint"))
            return Fault(
                col=error.offset + 1, code=error.code, message=error.message, hint=hint, about=error.about
            )
        return schedule.text, None if "H" in text or "~" in text else schedule.never


def _read_command(job: JobLine, *, has_user: bool) -> Fault | None:
    command, stdin, job.cut_at = split_percent(job.text[job.command_at :])
    if command.strip(BLANKS):
        job.values["command"] = command
        job.values["stdin"] = stdin
        return None
    message, hint = "missing command", "write it behind the schedule"
    if has_user:
        message = (
            "missing command after the user name" if "user" in job.values else "missing user name and command"
        )
        hint = "files without a user word are declared so: # kuber-cron: file format=user"
    elif job.cut_at is not None:
        message, hint = "missing command before the '%'", "what follows a % is the command's input"
    return Fault(
        col=max(job.schedule_end, job.command_at) + 1,
        code="KC111",
        message=message,
        hint=hint,
        about="command",
    )


def split_percent(text: str) -> tuple[str, str | None, int | None]:
    r"""Return a command, its standard input (None: closed), and where its first unescaped % stands (None: nowhere).

    Only ``\%`` is unescaped, to ``%``; a pair of backslashes stays as it is (cronie; Debian makes one of them).
    """
    if "%" not in text:
        return text, None, None
    parts: list[str] = []
    command: str | None = None
    cut_at: int | None = None
    at = 0
    for found in _PERCENT.finditer(text):
        parts.append(text[at : found.start()])
        at = found.end()
        if found[0] == "%":
            if command is None:
                command = "".join(parts)
                cut_at = found.start()
                parts = []
            else:
                parts.append("\n")
        else:
            parts.append("%" if found[0] == r"\%" else found[0])
    parts.append(text[at:])
    rest = "".join(parts)
    if command is None:
        return rest, None, None
    return command, rest if not rest or rest.endswith("\n") else rest + "\n", cut_at


def unreadable(line: str) -> Fault | None:
    """Return the fault for which nothing of a line can be read, or None."""
    if len(line) > MAX_LINE_BYTES // 4 and len(line.encode("utf-8", "surrogatepass")) > MAX_LINE_BYTES:
        message = f"the line is longer than {MAX_LINE_BYTES:,} bytes"
        return Fault(code="KC116", message=message, hint="put the command into a script", about="line")
    if line.isascii():
        at = line.find("\0")
    else:
        halves = _HALVES.search(line)
        at = line.find("\0")
        if halves is not None and not 0 <= at < halves.start():
            byte = ord(halves[0])
            shown_byte = f"byte {byte - 0xDC00:#04x}" if 0xDC80 <= byte <= 0xDCFF else "half a character"
            message = f"not UTF-8: {shown_byte}"
            return Fault(
                col=halves.start() + 1,
                code="KC115",
                message=message,
                hint="save the file as UTF-8",
                about="line",
            )
    if at < 0:
        return None
    return Fault(
        col=at + 1,
        code="KC115",
        message="a NUL character",
        hint="delete it, or save the file as UTF-8",
        about="line",
    )


def _end(pattern: re.Pattern[str], line: str, at: int) -> int:
    found = pattern.match(line, at)
    return at if found is None else found.end()
