"""``kuber-cron json-schema``: print the JSON Schema of YAML job files, for editors."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from kuber_cron.cli.arguments import output_files
from kuber_cron.cli.command import Command
from kuber_cron.cli.terminal import errors


def json_schema(
    *,
    out: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to; default: stdout.", show_default=False),
    ] = None,
) -> int:
    """Print the JSON Schema of YAML job files, by which editors complete and check them."""
    from importlib import resources

    text = (resources.files("kuber_cron.common.formats") / "jobfile.schema.json").read_text(encoding="utf-8")
    output_files.write(text, out)
    if out is None:
        sys.stdout.write(text)
    return errors.OK


COMMAND = Command(
    name="json-schema",
    function=json_schema,
    summary="Print the JSON Schema of job files.",
    examples=(
        (
            "kuber-cron json-schema -o jobfile.schema.json",
            "name it in a job file: # yaml-language-server: $schema=jobfile.schema.json",
        ),
    ),
)
