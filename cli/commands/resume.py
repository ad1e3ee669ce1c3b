"""``kuber-cron resume``: let a paused job go on."""

from typing import Annotated

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import identity, redis_target
from kuber_cron.cli.command import Command
from kuber_cron.cli.terminal import errors, output


def resume(
    job: options.OptionalJobArgument = None,
    *,
    all_: Annotated[bool, typer.Option("--all", help="End the pause of all jobs.")] = False,
    redis_url: options.RedisUrlOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Let a paused job go on with its next instant. A pause of one job and a pause of all are ended each by itself."""
    options.check_one_of(job, all_=all_)
    with redis_target.connected(redis_url) as store:
        from kuber_cron.control.actions import pause
        from kuber_cron.control.queries import names

        name = None if job is None else names.job_named(store, job)
        state = pause.resume(store, name, operator=identity.operator())
    if format_ is output.Format.JSON:
        from kuber_cron.control import documents

        output.write_json(documents.document(state))
        return errors.OK
    if state.all_paused:
        errors.note("all jobs are paused still: kuber-cron resume --all ends that")
    output.write_lines([f"{name or 'all jobs'}: {'resumed' if state.changed else 'was not paused'}"])
    return errors.OK


COMMAND = Command(
    name="resume",
    function=resume,
    summary="Let a paused job go on.",
    examples=(
        ("kuber-cron resume backup", "from its next instant on"),
        ("kuber-cron resume --all", "end the pause of all jobs"),
    ),
)
