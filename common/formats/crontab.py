"""Crontab files: the format of cron(8), with policies in comments (spec: cron.md §2 and §3).

Pure: text in, jobs and diagnostics out; nothing in a file makes it raise, and no bad line hides another. Lines
in error cost only themselves, but for two: a directive in error costs its job, and an invalid ``CRON_TZ`` the
jobs below, for no job may run under a policy or in a zone that was guessed.
"""

from kuber_cron.common.diagnostics import Fault, shown
from kuber_cron.common.formats import crontab_directives, crontab_variables
from kuber_cron.common.formats.crontab_directives import Directive
from kuber_cron.common.formats.crontab_lines import BLANKS, JobLine, JobLineParser, unreadable
from kuber_cron.common.formats.crontab_scope import PendingDirectives, Scope
from kuber_cron.common.formats.resolver import MAX_JOBS, ParsedFile, ParsedJob, link
from kuber_cron.common.jobs import job_ids
from kuber_cron.common.jobs.job import Parsed
from kuber_cron.common.schedule import timezones

MAX_VARIABLES = 1_000

_BOM = "\ufeff"


def parse(
    text: str | bytes,
    source: str = "crontab",
    system: bool = False,  # noqa: FBT001, FBT002 - spec: interface.md
    timezone: str = "UTC",
) -> Parsed:
    """Return the jobs of one crontab, and everything wrong with it by line and column; never raise on content.

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
    """Return the jobs of one crontab, to be linked with those of other files.

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


class _Reader:
    """The state of a crontab from line to line."""

    def __init__(self, file: ParsedFile, *, system: bool, timezone: str) -> None:
        self.file = file
        self._parser = JobLineParser(file)
        self._is_system = system
        self._scope = Scope(timezone)
        self._pending = PendingDirectives()
        self._label: str | None = None
        self._jobs = 0
        self._variables: set[str] = set()
        self._warned_return = False
        self._file_keys: set[str] = set()

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
        stripped = line.lstrip(BLANKS)
        if not stripped:
            self._label = None
            return
        fault = unreadable(line)
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
        """Report directives that no job followed."""
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
        """Let an unreadable line cost what it would have been, in the way that bad lines of its kind do."""
        if stripped[0] == "#":
            directive = crontab_directives.read(line, self.file.suggestions)
            if directive is not None:
                self._lose(directive, number, line)
        elif crontab_variables.is_meant(line):
            if crontab_variables.is_zone(line):
                self._scope.bad_zone_line = number
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
            self._scope.file_zone = directive.values.get("timezone", self._scope.file_zone)
        elif directive.scope == "defaults":
            self._scope.add_defaults(directive)
        else:
            self._pending.add(directive, number, line)

    def _refuse_repetitions(self, directive: Directive) -> None:
        """Refuse a key that stands twice in the directives of a job, or in those of the file; defaults may change."""
        if directive.scope == "defaults":
            return
        seen = self._file_keys if directive.scope == "file" else self._pending.keys
        for key, at in directive.keys.items():
            if key in seen:
                directive.fault(at, "KC305", f"option {shown(key)} given twice", "keep one of them")

    def _lose(self, directive: Directive, number: int, line: str) -> None:
        if directive.scope == "job":
            self._pending.lose(directive, number, line)
        elif self._scope.spoiled_by is None and not (directive.scope == "file" and self._jobs):
            self._scope.spoiled_by = (directive.scope, number)

    # Variables

    def _assign(self, number: int, line: str, assignment: crontab_variables.Assignment) -> None:
        if assignment.is_zone:
            self._scope.bad_zone_line = number if assignment.fault is not None else None
        if assignment.fault is None and assignment.name not in self._variables:
            if len(self._variables) >= MAX_VARIABLES:
                if assignment.is_zone:
                    self._scope.bad_zone_line = number
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
        if assignment.name == "TZ" and not self._scope.sets_cron_tz:
            fault = Fault(
                col=_start(line) + 1,
                severity="warning",
                code="KC902",
                message="TZ is passed on to the commands, and does not set the zone of the schedules",
                hint=f"write CRON_TZ={shown(assignment.value)[1:-1]} for that",
                about="environment",
            )
            self.file.report(fault, number, line)
        self._scope.assign(assignment.name, assignment.value, is_zone=assignment.is_zone)

    # Jobs

    def _take_pending(self) -> PendingDirectives:
        """Return the directives above a job line, bad ones included: they are not the next job's."""
        pending, self._pending = self._pending, PendingDirectives()
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
        job = JobLine(number, line, start)
        fault = self._parser.parse(job, has_user=self._is_system) or self._scope.refusal(job, pending)
        if fault is not None:
            self.file.report(fault, number, line)
            if "id" in pending.values:
                self.file.lost.setdefault(pending.values["id"], number)
            return
        values = self._scope.values(job, pending)
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
        self.file.jobs.append(
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


def _start(line: str) -> int:
    return len(line) - len(line.lstrip(BLANKS))
