"""``kuber-cron convert``: write jobs in another form."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import job_files, output_files
from kuber_cron.cli.command import Command
from kuber_cron.cli.terminal import errors, output
from kuber_cron.common.errors import KuberCronError
from kuber_cron.common.formats.registry import FORMATS

if TYPE_CHECKING:
    from kuber_cron.common.formats.writer import WrittenJobs

    Target = str
else:
    # Typer wants an enum, which mypy cannot know where its words come from the registry.
    Target = StrEnum("Target", {name.upper(): name for name in FORMATS})


class InputHasErrorsError(KuberCronError):
    """The input has errors, and a converted file must not lose the jobs that stand on those lines."""

    code = "input-has-errors"


def convert(
    jobs: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="Job files or directories of them; - is standard input."),
    ],
    *,
    to: Annotated[Target, typer.Option("--to", help="The form to write.")],
    out: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to; default: stdout.", show_default=False),
    ] = None,
    image: Annotated[
        str, typer.Option("--image", metavar="IMAGE", help="The container image of --to kubernetes.")
    ] = "IMAGE",
    system: options.SystemOption = False,
    timezone: options.TimezoneOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Write jobs as YAML, as a crontab or as Kubernetes CronJobs; nothing is written where the input has errors."""
    loaded = job_files.load(jobs, system=system, timezone=timezone)
    if job_files.complain(loaded):
        raise InputHasErrorsError(
            "the input has errors, so nothing was written", hint="mend what kuber-cron check says about it"
        )
    written = FORMATS[to].write(loaded.jobs, image=image)
    output_files.write(written.text, out)
    if format_ is output.Format.JSON:
        output.write_json(_document(to, out, written, len(loaded.jobs)))
        return errors.OK
    if out is None:
        sys.stdout.write(written.text)
    errors.complain(*[f"note: {output.printable(note)}" for note in written.notes])
    return errors.OK


def _document(to: str, out: Path | None, written: "WrittenJobs", jobs: int) -> dict[str, Any]:
    """Return what was done as JSON shows it; the text itself only where it went to no file."""
    return {
        "version": 1,
        "to": str(to),
        "jobs": jobs,
        "file": None if out is None else str(out),
        "text": written.text if out is None else None,
        "notes": list(written.notes),
    }


COMMAND = Command(
    name="convert",
    function=convert,
    summary="Write jobs in another form.",
    examples=(
        (
            "kuber-cron convert crontab --to yaml -o jobs.yaml",
            "every job with its policies, for YAML's friends",
        ),
        (
            "crontab -l | kuber-cron convert - --to kubernetes --image registry/app:1.2",
            "CronJob manifests, with notes on what is lost",
        ),
        ("kuber-cron convert jobs.yaml --to crontab", "and back"),
    ),
)
