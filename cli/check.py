"""``kuber-cron check``: what is wrong with job files."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kuber_cron.cli import failures, options, output, reading
from kuber_cron.cli.command import Command
from kuber_cron.common.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kuber_cron.common.diagnostics import Diagnostic
    from kuber_cron.common.sources import Loaded


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
    from kuber_cron.common import lint

    loaded = reading.load(files, system=system, timezone=timezone)
    found = sorted(
        [*loaded.diagnostics, *lint.transitions(loaded.jobs, SystemClock().now())],
        key=lambda each: (loaded.files.index(each.source), each.line, each.col),
    )
    errors = sum(each.severity == "error" for each in found)
    if format_ is output.Format.JSON:
        output.write_json(_document(loaded, found, errors))
    else:
        _show(loaded, found, errors)
    return failures.PROBLEM if errors or (strict and found) else failures.OK


def _document(loaded: "Loaded", found: "Sequence[Diagnostic]", errors: int) -> dict[str, Any]:
    """Return the answer as interface.md spells it."""
    return {
        "version": 1,
        "files": list(loaded.files),
        "jobs": len(loaded.jobs),
        "errors": errors,
        "warnings": len(found) - errors,
        "diagnostics": [each.to_dict() for each in found],
    }


def _show(loaded: "Loaded", found: "Sequence[Diagnostic]", errors: int) -> None:
    from kuber_cron.common.diagnostics import render

    for each in found:
        sys.stdout.write(render(each).rstrip("\n") + "\n\n")
    parts = [
        output.counted(len(loaded.files), "file"),
        output.counted(len(loaded.jobs), "job"),
        output.counted(errors, "error"),
        output.counted(len(found) - errors, "warning"),
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
