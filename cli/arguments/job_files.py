"""Job files named on the command line: read, their errors shown, one job found by its name."""

import os
import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from kuber_cron.cli.terminal import errors as failures
from kuber_cron.cli.terminal import output
from kuber_cron.common import suggestions
from kuber_cron.common.config import environment
from kuber_cron.common.errors import KuberCronError, UsageError
from kuber_cron.common.jobs.job import Job

if TYPE_CHECKING:
    from kuber_cron.common.formats.loader import Loaded

STDIN = "-"


class NotOnStdinError(UsageError):
    """The command reads its files again and again, which standard input does not allow."""

    def __init__(self, command: str) -> None:
        super().__init__(
            f"{command} cannot read jobs from standard input (-): it follows changes of its files",
            hint="save the jobs in a file and name that",
        )


class NoJobsError(KuberCronError):
    """No file holds a job that can be loaded."""

    code = "no-jobs"


def default_timezone(given: str | None) -> str:
    """Return the zone of jobs that name none: the flag's, else ``KUBER_CRON_TIMEZONE``, else UTC.

    Raises:
        UsageError: There is no such zone.
    """
    name = given or environment.read(os.environ, "timezone") or "UTC"
    from kuber_cron.common.schedule import ScheduleError, timezones

    try:
        timezones.find(name)
    except ScheduleError as error:
        raise UsageError(error.message, hint=error.hint) from error
    return name


def load(files: Sequence[str], *, system: bool, timezone: str | None) -> "Loaded":
    """Return what `files` hold: paths of files and directories, or ``-`` for what standard input holds.

    Raises:
        UsageError: An unknown zone, or ``-`` beside other files.
        KuberCronError: A file is missing or cannot be read.
    """
    from kuber_cron.common.formats import loader

    zone = default_timezone(timezone)
    is_system = system or environment.read(os.environ, "jobs_format").lower() == "system"
    if STDIN not in files:
        return loader.load(files, system=is_system, timezone=zone)
    if len(files) > 1:
        raise UsageError("- (standard input) cannot stand beside other files", hint="check them one by one")
    return _standard_input(system=is_system, timezone=zone)


def _standard_input(*, system: bool, timezone: str) -> "Loaded":
    from kuber_cron.common.formats import loader

    return loader.read(sys.stdin.buffer.read(), "stdin", system=system, timezone=timezone)


def complain(loaded: "Loaded") -> int:
    """Write the errors in what was loaded to standard error; return the exit status that they deserve.

    For commands that go on with the good jobs: one bad line never hides another, and is never passed over in silence.
    """
    from kuber_cron.common.diagnostics import render

    errors = [each for each in loaded.diagnostics if each.severity == "error"]
    for each in errors:
        failures.complain(*render(each).splitlines())
    if errors:
        failures.complain(
            f"{output.counted(len(errors), 'error')}, {output.counted(len(loaded.jobs), 'job')} loaded"
        )
    return failures.PROBLEM if errors else failures.OK


def job_named(jobs: Sequence[Job], name: str) -> Job:
    """Return the job of that name.

    Raises:
        UnknownJobError: There is none; the hint names the most similar ones.
    """
    for job in jobs:
        if job.id == name:
            return job
    from kuber_cron.control.queries.names import UnknownJobError  # loads Redis' client, and is rarely needed

    near = suggestion(name, [job.id for job in jobs])
    raise UnknownJobError(f'there is no job "{name}"', hint=near or names_of(jobs))


def names_of(jobs: Sequence[Job]) -> str:
    """Return the first ten names as a hint."""
    names = [job.id for job in jobs[:10]]
    return (
        f"the jobs are: {', '.join(names)}{', …' if len(jobs) > len(names) else ''}"
        if names
        else "no job is loaded"
    )


def suggestion(word: str, known: Collection[str]) -> str | None:
    """Return ``did you mean backup?`` for the most similar known word, or None where none is near."""
    near = suggestions.closest(word, known)
    return f"did you mean {near}?" if near else None
