"""``kuber-cron check``: report what is wrong with job files."""

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import job_files
from kuber_cron.cli.command import Command
from kuber_cron.cli.terminal import errors, output
from kuber_cron.common.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kuber_cron.common.diagnostics import Diagnostic
    from kuber_cron.common.formats.loader import Loaded
    from kuber_cron.common.jobs.job import Job


def check(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="Job files or directories of them; - is standard input."),
    ],
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are problems too.")] = False,
    system: options.SystemOption = False,
    timezone: options.TimezoneOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Say what is wrong with job files, where, and what to write instead; load nothing."""
    from kuber_cron.common.formats import lint

    loaded = job_files.load(files, system=system, timezone=timezone)
    found = _in_order(
        [*loaded.diagnostics, *lint.transitions(loaded.jobs, SystemClock().now(), _line_of)], loaded.files
    )
    error_count = sum(each.severity == "error" for each in found)
    if format_ is output.Format.JSON:
        output.write_json(_document(loaded, found, error_count))
    else:
        _show(loaded, found, error_count)
    return errors.PROBLEM if error_count or (strict and found) else errors.OK


def _line_of(job: "Job") -> str:
    """Return the line of the job's schedule in its file; its schedule where that cannot be read (again)."""
    lines = _lines(job.source)
    return lines[job.line - 1].decode("utf-8", "replace") if 0 < job.line <= len(lines) else job.schedule


@functools.lru_cache(maxsize=8)
def _lines(source: str) -> list[bytes]:
    try:
        return Path(source).read_bytes().split(b"\n")
    except OSError:
        return []


def _in_order(found: "Sequence[Diagnostic]", files: "Sequence[str]") -> "list[Diagnostic]":
    """Return them by file as the files were read, then by line and column."""
    positions = {name: position for position, name in enumerate(files)}
    return sorted(found, key=lambda each: (positions.get(each.source, len(positions)), each.line, each.col))


def _document(loaded: "Loaded", found: "Sequence[Diagnostic]", error_count: int) -> dict[str, Any]:
    """Return the answer as interface.md spells it."""
    return {
        "version": 1,
        "files": list(loaded.files),
        "jobs": len(loaded.jobs),
        "errors": error_count,
        "warnings": len(found) - error_count,
        "diagnostics": [each.to_dict() for each in found],
    }


def _show(loaded: "Loaded", found: "Sequence[Diagnostic]", error_count: int) -> None:
    from kuber_cron.common.diagnostics import render

    for each in found:
        sys.stdout.write(render(each).rstrip("\n") + "\n\n")
    parts = [
        output.counted(len(loaded.files), "file"),
        output.counted(len(loaded.jobs), "job"),
        output.counted(error_count, "error"),
        output.counted(len(found) - error_count, "warning"),
    ]
    sys.stdout.write(", ".join(parts) + "\n")


COMMAND = Command(
    name="check",
    function=check,
    summary="Say what is wrong with job files.",
    examples=(
        ("kuber-cron check crontab", "each problem with its line, and what to write instead"),
        ("crontab -l | kuber-cron check -", "the crontab that is installed here"),
        ("kuber-cron check --system /etc/crontab", "a file with a user word"),
        ("kuber-cron check --strict jobs.d --format json", "for a pipeline: warnings count"),
    ),
)
