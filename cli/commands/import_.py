"""``kuber-cron import``: write the jobs that CronJob manifests become, and report what differs line by line."""

import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import output_files
from kuber_cron.cli.command import Command
from kuber_cron.cli.terminal import errors, output, table
from kuber_cron.cli.terminal.table import Column
from kuber_cron.common.errors import KuberCronError, UsageError
from kuber_cron.common.formats.registry import FORMATS, JOB_FILES

if TYPE_CHECKING:
    from kuber_cron.common.formats.cronjob.importer import ImportResult

    FormOption = str
else:
    # Typer wants an enum, which mypy cannot know where its words come from the registry.
    FormOption = StrEnum("FormOption", {name.upper(): name for name in JOB_FILES})

_STDIN = "-"


class QueueByOption(StrEnum):
    """The sources of a job's queue."""

    NONE = "none"
    IMAGE = "image"
    NAMESPACE = "namespace"


class NoCronJobsError(KuberCronError):
    """There is no CronJob to import."""

    code = "no-cronjobs"


def import_(
    manifests: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE", help="Manifests, YAML or JSON, or directories of them; - is standard input."
        ),
    ],
    *,
    to: Annotated[FormOption, typer.Option("--to", help="The form to write.")] = "yaml",
    out: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to; default: stdout.", show_default=False),
    ] = None,
    queue_by: Annotated[
        QueueByOption,
        typer.Option("--queue-by", help="Give jobs of one image, or namespace, a queue of their own."),
    ] = QueueByOption.NONE,
    timezone: Annotated[
        str,
        typer.Option(
            "--timezone", metavar="ZONE", help="kube-controller-manager's, for CronJobs that name none."
        ),
    ] = "UTC",
    entrypoint: Annotated[
        list[str] | None,
        typer.Option(
            "--entrypoint",
            metavar="IMAGE=COMMAND",
            help="What an image runs where a CronJob has no command.",
            show_default=False,
        ),
    ] = None,
    container: Annotated[
        list[str] | None,
        typer.Option(
            "--container",
            metavar="NAME",
            help="Take this one of several containers, and leave the others out.",
            show_default=False,
        ),
    ] = None,
    with_namespace: Annotated[
        bool, typer.Option("--with-namespace", help="Begin each job's name with its namespace.")
    ] = False,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-R", help="Read directories with all below them.")
    ] = False,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Write the jobs that Kubernetes CronJobs become, and say on standard error what differs, line by line."""
    from kuber_cron.common.formats.cronjob import importer, pod_reader

    chosen = importer.ImportOptions(
        form=to,
        timezone=_zone(timezone),
        queue_by=queue_by.value,
        with_namespace=with_namespace,
        choice=pod_reader.ContainerChoice(
            containers=frozenset(container or ()), entrypoints=dict(map(_entrypoint, entrypoint or ()))
        ),
    )
    named = list(_contents(manifests, recursive=recursive))
    report = importer.import_cronjobs(named, chosen)
    if report.cronjobs == 0 and format_ is output.Format.TABLE:
        _show_diagnostics(report)
    if report.cronjobs == 0:
        raise NoCronJobsError(
            f"there is no CronJob in {', '.join(manifests)}",
            hint="kubectl get cronjobs --all-namespaces -o yaml | kuber-cron import -",
        )
    if report.jobs:
        output_files.write(report.text, out)
    if format_ is output.Format.JSON:
        output.write_json(_document(report, [name for name, _ in named], to, out))
    else:
        if out is None:
            sys.stdout.write(report.text)
            sys.stdout.flush()  # the report follows, on a terminal too
        _show(report)
    return errors.PROBLEM if _error_count(report) else errors.OK


def _zone(name: str) -> str:
    from kuber_cron.common.schedule import ScheduleError, timezones

    try:
        timezones.find(name)
    except ScheduleError as error:
        raise UsageError(error.message, hint=error.hint) from error
    return name


def _entrypoint(text: str) -> tuple[str, Sequence[str]]:
    image, equals, command = text.partition("=")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--entrypoint {text}: {error}", hint="quote it as for a shell") from error
    if not image or not equals or not words:
        hint = "for example --entrypoint 'registry/app:1.2=/usr/bin/app serve'"
        raise UsageError(f"--entrypoint {text} is not IMAGE=COMMAND", hint=hint)
    return image, words


def _contents(manifests: Sequence[str], *, recursive: bool) -> Iterator[tuple[str, bytes]]:
    from kuber_cron.common.formats import loader

    for each in manifests:
        if each == _STDIN:
            yield "stdin", sys.stdin.buffer.read()
        else:
            yield from loader.contents([each], suffixes=FORMATS["kubernetes"].suffixes, recursive=recursive)


def _error_count(report: "ImportResult") -> int:
    return sum(each.severity == "error" for each in report.diagnostics)


def _document(report: "ImportResult", names: Sequence[str], to: str, out: Path | None) -> dict[str, Any]:
    """Return what was done as JSON shows it; the text itself only where it went to no file."""
    error_count = _error_count(report)
    return {
        "version": 1,
        "files": list(dict.fromkeys(names)),
        "to": str(to),
        "cronjobs": report.cronjobs,
        "jobs": len(report.jobs),
        "errors": error_count,
        "warnings": len(report.diagnostics) - error_count,
        "file": str(out) if out is not None and report.jobs else None,
        "text": report.text if out is None else None,
        "needs": [
            {"queue": queue, **need.to_dict(), "jobs": jobs}
            for queue, needs in report.needs.items()
            for need, jobs in needs.items()
        ],
        "diagnostics": [each.to_dict() for each in report.diagnostics],
    }


def _show(report: "ImportResult") -> None:
    from kuber_cron.common.formats.cronjob.difference_codes import DIFFERENCES

    _show_diagnostics(report)
    counts = Counter(each.code for each in report.diagnostics)
    if counts:
        rows = [[code, str(count), DIFFERENCES[code].title] for code, count in sorted(counts.items())]
        errors.complain("")
        table.write([Column("CODE"), Column("TIMES"), Column("ABOUT", folds=True)], rows, sys.stderr)
    rows = [
        [queue, need.kind, need.name, need.source, str(len(jobs))]
        for queue, needs in report.needs.items()
        for need, jobs in needs.items()
    ]
    if rows:
        errors.complain("", "what the workers of each queue must have:")
        columns = [
            Column("QUEUE"),
            Column("WHAT"),
            Column("NAME"),
            Column("FROM", folds=True),
            Column("JOBS"),
        ]
        table.write(columns, sorted(rows), sys.stderr)
    error_count = _error_count(report)
    errors.complain(
        "",
        f"{len(report.jobs)} of {output.counted(report.cronjobs, 'CronJob')} taken over, "
        f"{output.counted(error_count, 'error')}, {output.counted(len(report.diagnostics) - error_count, 'warning')}",
    )


def _show_diagnostics(report: "ImportResult") -> None:
    """Write each to standard error: an error with its line and what to do, a warning on one line."""
    from kuber_cron.common.diagnostics import render

    for each in report.diagnostics:
        if each.severity == "error":
            errors.complain(*render(each).splitlines())
        else:
            hint = f" ({each.hint})" if each.hint else ""
            errors.complain(output.printable(f"{each}{hint}"))


COMMAND = Command(
    name="import",
    function=import_,
    summary="Take over Kubernetes CronJobs.",
    examples=(
        (
            "kubectl get cronjobs --all-namespaces -o yaml | kuber-cron import - -o jobs.yaml",
            "what a cluster runs, with a line for everything that differs",
        ),
        (
            "kuber-cron import -R manifests --queue-by image -o jobs.yaml",
            "a queue for each image, and what the workers of each must have",
        ),
        (
            "kuber-cron import cronjob.yaml --entrypoint 'registry/app:1.2=/usr/bin/app'",
            "a CronJob whose command stands in its image",
        ),
    ),
    notes="ConfigMaps in the input give the values that CronJobs ask them for; Secrets never do.",
)
