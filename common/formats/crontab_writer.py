"""Jobs as a crontab.

Pure. What is written is read back before it is handed out, so whatever a line would change is found.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import fields, replace

from kuber_cron.common.diagnostics import shown
from kuber_cron.common.formats import crontab
from kuber_cron.common.formats.writer import (
    NO_REMARKS,
    InexpressibleError,
    Remarks,
    WrittenJobs,
    implied_delay,
    implied_shell,
    line_starts,
    options_as_text,
    remark_lines,
)
from kuber_cron.common.jobs.job import Job

_HEAD = "# kuber-cron:"
_BARE = re.compile(r"[A-Za-z0-9_./:@,+~%=-]+", re.ASCII)
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# Options of one line until it is about so long; a single long value has a line of its own.
_LINE_WIDTH = 100
# A directive with a longer value would exceed a crontab's line; as a variable it may still fit.
_LONG_VALUE = 100_000
# A backslash that stands alone before a % or a line's end would take the percent sign for itself.
_LONE_BACKSLASH = re.compile(r"(?<!\\)(?:\\\\)*+\\(?=[%\n])")


def write(jobs: Sequence[Job], remarks: Remarks = NO_REMARKS) -> WrittenJobs:
    """Return a crontab that reads back as ``jobs``, ids included; where a job has a user, it declares its format.

    Raises:
        InexpressibleError: A crontab cannot say what a job is: a command that is a list or has several lines,
            input without a line end, a shell that is not its ``SHELL``, …
    """
    # Files of a system directory have a user word, and these lines have none.
    head = f"{_HEAD} file format=user\n\n" if any(job.user is not None for job in jobs) else ""
    blocks = []
    variables: dict[str, str] = {}
    for job in jobs:
        _refuse_inexpressible(job)
        settings = [("name", job.id), ("timezone", job.timezone), *options_as_text(job, "crontab")]
        lines = []
        for name, value in job.env.items():
            if _is_directive(name, value):
                settings.append((f"env.{name}", value))
            elif variables.get(name) != value:
                variables[name] = value
                lines.append(_variable(job, name, value))
        leftover = next((name for name in variables if name not in job.env), None)
        if leftover is not None:
            why = f"the variable {shown(leftover)} of a job above it cannot be unset"
            raise InexpressibleError(job, why, hint="write the jobs into several files")
        block = [*remark_lines(job, remarks), *lines, *_directives(job, settings), _job_line(job)]
        blocks.append("\n".join(block) + "\n\n")
    text = (head + "".join(blocks)).removesuffix("\n")
    _prove(jobs, text)
    return WrittenJobs(text=text, starts=line_starts(blocks, 1 + head.count("\n")))


def adapted(job: Job) -> Job:
    """Return the same job in the words of a crontab: a line for the shell, which is its variable ``SHELL``."""
    if not isinstance(job.command, str):
        job = replace(job, command=shlex.join(job.command))
    if job.shell != implied_shell(job):
        job = replace(job, env={**job.env, "SHELL": job.shell})
    return job


def _refuse_inexpressible(job: Job) -> None:
    if not isinstance(job.command, str):
        why, hint = "its command is a list", "write it as one string, quoted for the shell"
        raise InexpressibleError(job, why, hint=hint)
    if "\n" in job.command:
        why, hint = "its command has several lines", "put them into a script, or join them with ;"
        raise InexpressibleError(job, why, hint=hint)
    if job.stdin and not job.stdin.endswith("\n"):
        raise InexpressibleError(job, "its input does not end a line", hint="end stdin with a line end")
    if job.shell != implied_shell(job):
        hint = f"set SHELL in its env: SHELL: {shown(job.shell)[1:-1]}"
        raise InexpressibleError(job, f"its shell {shown(job.shell)} is not its variable SHELL", hint=hint)
    if job.random_delay_minutes != implied_delay(job):
        hint = f"set RANDOM_DELAY in its env: RANDOM_DELAY: '{job.random_delay_minutes}'"
        raise InexpressibleError(job, "its random_delay is not its variable RANDOM_DELAY", hint=hint)


def _is_directive(name: str, value: str) -> bool:
    """Return True if ``env.NAME`` can say it, which leaves the jobs below alone."""
    if name == "RANDOM_DELAY" and not value:
        return False
    return _ENV_NAME.fullmatch(name) is not None and len(value.encode(errors="replace")) < _LONG_VALUE


def _variable(job: Job, name: str, value: str) -> str:
    """Return the line that sets a variable for this job and all below."""
    return f"{_in_quotes(job, name) if not _ENV_NAME.fullmatch(name) else name}={_in_quotes(job, value)}"


def _in_quotes(job: Job, text: str) -> str:
    """Return ``text`` in quotes that it has none of; bare where it has both kinds and may be."""
    if '"' not in text and "\n" not in text:
        return f'"{text}"'
    if "'" not in text and "\n" not in text:
        return f"'{text}'"
    if "\n" in text or text[0] in "\"'" or text != text.strip(" \t"):
        raise InexpressibleError(job, f"no quotes of a crontab hold {shown(text)}")
    return text


def _directives(job: Job, settings: Sequence[tuple[str, str]]) -> list[str]:
    """Return the settings as directive lines of readable width."""
    lines = [_HEAD]
    for key, value in settings:
        if "\n" in value:
            raise InexpressibleError(job, f"{key} has several lines")
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        setting = f" {key}={value}" if _BARE.fullmatch(value) else f' {key}="{escaped}"'
        if lines[-1] != _HEAD and len(lines[-1]) + len(setting) > _LINE_WIDTH:
            lines.append(_HEAD)
        lines[-1] += setting
    return lines


def _job_line(job: Job) -> str:
    text = str(job.command)
    if job.stdin is not None:
        # One line end is added when the line is read; of an empty line or two line ends none is missing.
        body = job.stdin[:-1]
        text += "\n" + (body if body and not body.endswith("\n") else job.stdin)
    if _LONE_BACKSLASH.search(text):
        raise InexpressibleError(job, "a lone backslash before a % or a line end of its input")
    line = f"{'-' if job.quiet else ''}{job.schedule} " + text.replace("%", r"\%").replace("\n", "%")
    # One carriage return at a line's end is dropped.
    return f"{line}\r" if line.endswith("\r") else line


def _prove(jobs: Sequence[Job], text: str) -> None:
    """Raise unless ``text`` reads back as ``jobs``; whatever was not thought of above is found here."""
    parsed = crontab.parse(text)
    if len(parsed.jobs) == len(jobs) and all(map(_is_same, parsed.jobs, jobs)):
        return
    found = {job.id: job for job in parsed.jobs}
    for job in jobs:
        read = found.get(job.id)
        if read is None:
            first = next((one for one in parsed.diagnostics if one.severity == "error"), None)
            raise InexpressibleError(job, "its line would not load" if first is None else first.message)
        if not _is_same(read, job):
            differing = sorted(
                field.name
                for field in fields(Job)
                if field.name not in {"source", "line"}
                and getattr(read, field.name) != getattr(job, field.name)
            )
            raise InexpressibleError(job, f"{', '.join(differing)} would read back as something else")


def _is_same(one: Job, other: Job) -> bool:
    return replace(one, source=other.source, line=other.line) == other
