"""Crontab files: the format of cron(8), with policies in comments (spec: cron.md §2 and §3).

Pure: text in, jobs and diagnostics out; nothing in a file makes it raise, and no bad line hides another. Lines
in error cost only themselves, but for two: a directive in error costs its job, and an invalid ``CRON_TZ`` the
jobs below, for no job may run under a policy or in a zone that was guessed.
"""

import re
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from kuber_cron.common.diagnostics import Fault, shown
from kuber_cron.common.formats import crontab_directives, crontab_variables, lint
from kuber_cron.common.formats.crontab_directives import Directive
from kuber_cron.common.formats.resolver import ParsedFile, ParsedJob, link
from kuber_cron.common.jobs import job_ids
from kuber_cron.common.jobs.job import Parsed
from kuber_cron.common.jobs.time_types import localised
from kuber_cron.common.schedule import Schedule, ScheduleError, timezones

MAX_LINE_BYTES = 131_072
MAX_JOBS = 10_000
MAX_VARIABLES = 1_000

_BOM = "\ufeff"
_BLANKS = " \t"
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


def parse(
    text: str | bytes,
    source: str = "crontab",
    system: bool = False,  # noqa: FBT001, FBT002 - spec: interface.md
    timezone: str = "UTC",
) -> Parsed:
    """The jobs of one crontab, and everything wrong with it by line and column. Never raises on content.

    Args:
        text: The file. Lone surrogates, as ``surrogateescape`` makes them, count as bad UTF-8.
        source: Its name in diagnostics.
        system: The sixth word is a user, unless a directive of the file says otherwise.
        timezone: The zone of jobs that name none.

    Raises:
        ScheduleError: There is no such ``timezone``.
    """
    return link([read(text, source, system=system, timezone=timezone)])


def read(text: str | bytes, source: str, *, system: bool, timezone: str) -> ParsedFile:
    """One crontab as drafts, to be linked with those of other files.

    Raises:
        ScheduleError: There is no such ``timezone``.
    """
    timezones.find(timezone)
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    reader = _Reader(ParsedFile(source=source), system=system, timezone=timezone)
    if text.startswith(_BOM):
        text = text[1:]
        fault = Fault(severity="warning", code="KC906", message="a byte order mark was dropped", about="line")
        reader.file.report(fault, 1, text[:80].partition("\n")[0].rstrip("\r"))
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, start=1):
        reader.read_line(number, line)
    reader.end()
    return reader.file


@dataclass(slots=True)
class _Pending:
    """The directives that wait for the next job."""

    values: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    lines: list[tuple[int, str]] = field(default_factory=list)
    is_bad: bool = False


@dataclass(slots=True)
class _Line:
    """A job's line on its way to a draft."""

    number: int
    text: str
    start: int
    end: int = 0
    schedule: str = ""
    never: bool | None = False
    command_at: int = 0
    cut_at: int | None = None
    values: dict[str, Any] = field(default_factory=dict)


class _Reader:
    """The state of a crontab from line to line."""

    def __init__(self, file: ParsedFile, *, system: bool, timezone: str) -> None:
        self.file = file
        self._is_system = system
        self._file_zone = timezone
        self._pending = _Pending()
        self._defaults: dict[str, Any] = {}
        self._defaults_env: dict[str, str] = {}
        self._spoiled_by: tuple[str, int] | None = None
        self._bad_zone_line: int | None = None
        self._cron_tz = ""
        self._label: str | None = None
        self._env: dict[str, str] = {}
        self._env_is_shared = False
        self._jobs = 0
        self._variables: set[str] = set()
        self._warned_return = False
        self._file_keys: set[str] = set()
        # Files repeat their mistakes: what a schedule's error says is worked out once.
        self._schedules: dict[str, tuple[str, bool | None] | Fault] = {}

    def read_line(self, number: int, line: str) -> None:
        """Take in one line, without its line end."""
        if line.endswith("\r"):
            line = line[:-1]
            if not self._warned_return:
                self._warned_return = True
                message = "lines end in a carriage return, which was dropped; said once a file"
                warning = Fault(
                    severity="warning",
                    code="KC905",
                    col=len(line) + 1,
                    message=message,
                    about="line",
                    hint="save with Unix line ends",
                )
                self.file.report(warning, number, line)
        stripped = line.lstrip(_BLANKS)
        if not stripped:
            self._label = None
            return
        fault = _unreadable(line)
        if fault is not None:
            self.file.report(fault, number, line)
            self._spoil(number, line, stripped)
        elif stripped[0] == "#":
            self._comment(number, line)
        else:
            assignment = crontab_variables.read(line, self.file.suggestions)
            if assignment is not None:
                self._assign(number, line, assignment)
            else:
                self._job(number, line, len(line) - len(stripped))

    def end(self) -> None:
        """Complain about directives that no job followed."""
        if self._pending.is_bad:
            return
        for number, text in self._pending.lines:
            fault = Fault(
                col=_start(text) + 1,
                code="KC308",
                message="directive is not followed by a job",
                about="directive",
                hint="write it above the job; for all jobs below: # kuber-cron: defaults …",
            )
            self.file.report(fault, number, text)

    def _spoil(self, number: int, line: str, stripped: str) -> None:
        """An unreadable line costs what it would have been, in the way that bad lines of its kind do."""
        if stripped[0] == "#":
            directive = crontab_directives.read(line, self.file.suggestions)
            if directive is not None:
                self._lose(directive, number, line)
        elif crontab_variables.is_meant(line):
            if crontab_variables.is_zone(line):
                self._bad_zone_line = number
        else:
            self._jobs += 1
            self._take_pending()

    # Comments and directives

    def _comment(self, number: int, line: str) -> None:
        directive = crontab_directives.read(line, self.file.suggestions)
        if directive is None:
            label = job_ids.label(line)
            if label is not None:
                self._label = label
            elif job_ids.is_commented_out(line):
                self._label = None
            return
        if directive.scope == "file" and self._jobs:
            message, hint = "file directive must come before the first job", "move it to the top of the file"
            fault = Fault(col=_start(line) + 1, code="KC306", message=message, hint=hint, about="directive")
            self.file.report(fault, number, line)
            return
        self._refuse_repetitions(directive)
        for fault in directive.faults:
            self.file.report(fault, number, line)
        if directive.faults:
            self._lose(directive, number, line)
        elif directive.scope == "file":
            self._file_keys.update(directive.keys)
            self._is_system = (
                directive.values.get("format", "system" if self._is_system else "user") == "system"
            )
            self._file_zone = directive.values.get("timezone", self._file_zone)
        elif directive.scope == "defaults":
            self._defaults.update(directive.values)
            self._defaults_env.update(directive.env)
        else:
            self._pending.values.update(directive.values)
            self._pending.env.update(directive.env)
            self._pending.keys.update(directive.keys)
            self._pending.lines.append((number, line))

    def _refuse_repetitions(self, directive: Directive) -> None:
        """A key may stand once in all directives of a job, and once in those of the file; defaults may change."""
        if directive.scope == "defaults":
            return
        seen = self._file_keys if directive.scope == "file" else self._pending.keys
        for key, at in directive.keys.items():
            if key in seen:
                directive.fault(at, "KC305", f"option {shown(key)} given twice", "keep one of them")

    def _lose(self, directive: Directive, number: int, line: str) -> None:
        if directive.scope == "job":
            self._pending.is_bad = True
            self._pending.lines.append((number, line))
            if "id" in directive.values:
                self._pending.values["id"] = directive.values["id"]
        elif self._spoiled_by is None and not (directive.scope == "file" and self._jobs):
            self._spoiled_by = (directive.scope, number)

    # Variables

    def _assign(self, number: int, line: str, assignment: crontab_variables.Assignment) -> None:
        if assignment.is_zone:
            self._bad_zone_line = number if assignment.fault is not None else None
        if assignment.fault is None and assignment.name not in self._variables:
            if len(self._variables) >= MAX_VARIABLES:
                if assignment.is_zone:
                    self._bad_zone_line = number
                message = f"more than {MAX_VARIABLES:,} variables in a file"
                assignment.fault = Fault(
                    col=_start(line) + 1, code="KC207", message=message, about="environment"
                )
            else:
                self._variables.add(assignment.name)
        if assignment.fault is not None:
            self.file.report(assignment.fault, number, line)
            return
        if assignment.warning is not None:
            self.file.report(assignment.warning, number, line)
        if assignment.name == "TZ" and not self._cron_tz:
            fault = Fault(
                col=_start(line) + 1,
                severity="warning",
                code="KC902",
                message="TZ is passed on to the commands, and does not set the zone of the schedules",
                hint=f"write CRON_TZ={shown(assignment.value)[1:-1]} for that",
                about="environment",
            )
            self.file.report(fault, number, line)
        if self._env_is_shared:
            self._env = dict(self._env)
            self._env_is_shared = False
        self._env[assignment.name] = assignment.value
        if assignment.is_zone:
            self._cron_tz = assignment.value

    # Jobs

    def _take_pending(self) -> _Pending:
        """The directives above a job line, bad ones included: they are not the next job's."""
        pending, self._pending = self._pending, _Pending()
        self._label = None
        return pending

    def _job(self, number: int, line: str, start: int) -> None:
        label = self._label
        pending = self._take_pending()
        self._jobs += 1
        if self._jobs > MAX_JOBS:
            if self._jobs == MAX_JOBS + 1:
                excess = Fault(
                    col=start + 1,
                    code="KC114",
                    message=f"more than {MAX_JOBS:,} jobs in a file: this one and those below are not loaded",
                    hint="spread them over several files",
                    about="line",
                )
                self.file.report(excess, number, line)
            return
        job = _Line(number, line, start)
        fault = self._read_job(job) or self._not_loadable(job, pending)
        if fault is not None:
            self.file.report(fault, number, line)
            if "id" in pending.values:
                self.file.lost.setdefault(pending.values["id"], number)
            return
        values = self._values(job, pending)
        if job.schedule == "@after" and not values.get("after"):
            fault = Fault(
                col=job.start + 1,
                code="KC313",
                message="@after names no job to run after",
                hint="write # kuber-cron: after=NAME above it",
                about="directive",
            )
            self.file.report(fault, number, line)
            return
        name = values.pop("id", None)
        self.file.drafts.append(
            ParsedJob(
                line=number,
                text=line,
                name=name,
                never=job.never,
                about="directive",
                values=values,
                label=name or label or job_ids.of_command(values["command"]),
            )
        )

    def _read_job(self, job: _Line) -> Fault | None:
        """Cut a job's line into its parts; the fault that stops it, or None."""
        line, at = job.text, job.start
        if line[at] == "-" and line[at + 1 : at + 2].strip(_BLANKS):
            job.values["quiet"] = True
            at += 1
        if line[at] == "@":
            found = _EVERY.match(line, at) or _NICKNAME.match(line, at)
        else:
            found = _FIVE_FIELDS.match(line, at)
        job.end = len(line.rstrip(_BLANKS)) if found is None else found.end()
        fault = self._check_schedule(job, line[at : job.end], at)
        if fault is not None:
            if line.startswith(("- ", "-\t"), job.start):
                return replace(fault, hint="write the - for quiet without a blank behind it")
            sixth = _WORD.match(line, _end(_SPACE, line, job.end))
            if fault.hint is None and line[at] != "@" and sixth and lint.looks_like_a_field(sixth[0]):
                hint = "a schedule has five fields, minutes first; seconds are written @every 30s"
                return replace(fault, hint=hint)
            return fault
        schedule_at = at
        at = self._read_user(job, _end(_SPACE, line, job.end))
        while (flag := _FLAG.match(line, at)) is not None:
            job.values |= _FLAG_VALUES[flag[1]]
            at = flag.end()
        job.command_at = at
        fault = self._read_command(job)
        if fault is None:
            for warning in (
                *lint.steps(job.schedule, schedule_at),
                *lint.command(line[at:], job.schedule, at, cut_at=job.cut_at, user_word=self._is_system),
            ):
                self.file.report(warning, job.number, line)
        return fault

    def _read_user(self, job: _Line, at: int) -> int:
        """Take in the user word where files have one; the offset behind it and its blanks."""
        if not self._is_system:
            return at
        end = _end(_WORD, job.text, at)
        if end > at:
            job.values["user"] = job.text[at:end]
            for warning in lint.user(job.text[at:end], at):
                self.file.report(warning, job.number, job.text)
        return _end(_SPACE, job.text, end)

    def _check_schedule(self, job: _Line, text: str, at: int) -> Fault | None:
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
            hint = self.file.suggestions.ask(text, "schedule", partial(getattr, error, "hint"))
            return Fault(
                col=error.offset + 1, code=error.code, message=error.message, hint=hint, about=error.about
            )
        return schedule.text, None if "H" in text or "~" in text else schedule.never

    def _read_command(self, job: _Line) -> Fault | None:
        command, stdin, job.cut_at = split_percent(job.text[job.command_at :])
        if command.strip(_BLANKS):
            job.values["command"] = command
            job.values["stdin"] = stdin
            return None
        message, hint = "missing command", "write it behind the schedule"
        if self._is_system:
            message = (
                "missing command after the user name"
                if "user" in job.values
                else "missing user name and command"
            )
            hint = "files without a user word are declared so: # kuber-cron: file format=user"
        elif job.cut_at is not None:
            message, hint = "missing command before the '%'", "what follows a % is the command's input"
        return Fault(
            col=max(job.end, job.command_at) + 1, code="KC111", message=message, hint=hint, about="command"
        )

    def _not_loadable(self, job: _Line, pending: _Pending) -> Fault | None:
        """Why the job is not loaded though its own line is in order."""
        if pending.is_bad:
            message = "job not loaded: its kuber-cron directive above is invalid"
            return Fault(col=job.start + 1, code="KC310", message=message, about="directive")
        if self._spoiled_by is not None:
            scope, number = self._spoiled_by
            message = f"job not loaded: the {scope} directive on line {number} is invalid"
            return Fault(col=job.start + 1, code="KC310", message=message, about="directive")
        if self._bad_zone_line is not None:
            message = f"job not loaded: CRON_TZ on line {self._bad_zone_line} is invalid"
            return Fault(col=job.start + 1, code="KC311", message=message, about="directive")
        return None

    def _values(self, job: _Line, pending: _Pending) -> dict[str, Any]:
        """The attributes of a job: what its line says beats the defaults, and its own directives beat both."""
        values = {**self._defaults, **job.values, **pending.values}
        values["schedule"] = job.schedule
        values["timezone"] = (
            pending.values.get("timezone")
            or self._cron_tz
            or self._defaults.get("timezone")
            or self._file_zone
        )
        if self._defaults_env or pending.env:
            values["env"] = {**self._env, **self._defaults_env, **pending.env}
        else:
            values["env"] = self._env
            self._env_is_shared = True
        complete(values)
        return values


def complete(values: dict[str, Any]) -> None:
    """Fill in what variables decide unless it is said otherwise, and fix local instants in the job's zone."""
    env = values["env"]
    if env:
        if env.get("SHELL"):
            values.setdefault("shell", env["SHELL"])
        if env.get("RANDOM_DELAY"):
            values.setdefault("random_delay_minutes", int(env["RANDOM_DELAY"]))
    for key in ("not_before", "not_after"):
        if key in values:
            values[key] = localised(values[key], ZoneInfo(values["timezone"]))


def split_percent(text: str) -> tuple[str, str | None, int | None]:
    r"""A command, its standard input (None: closed), and where its first unescaped % stands (None: nowhere).

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


def _unreadable(line: str) -> Fault | None:
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


def _start(line: str) -> int:
    return len(line) - len(line.lstrip(_BLANKS))


def _end(pattern: re.Pattern[str], line: str, at: int) -> int:
    found = pattern.match(line, at)
    return at if found is None else found.end()
