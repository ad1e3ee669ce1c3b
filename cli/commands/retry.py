"""``kuber-cron retry``: run a run again that has ended."""

from typing import Annotated

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import identity, redis_target
from kuber_cron.cli.command import Command
from kuber_cron.cli.terminal import errors, output

QUEUED = {"queued": "queued again", "held": "held, until other runs of its job have ended"}
"""What people read of a run that was to be queued again."""


def retry(
    run: options.RunArgument,
    *,
    wait: options.WaitOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also beside other runs of its job, and one that has succeeded.")
    ] = False,
    yes: options.YesOption = False,
    redis_url: options.RedisUrlOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Queue a run again that has ended, with all its retries: as if it were attempted for the first time.

    It runs what it was made with, also after the job's file was edited. One that has succeeded is run again only with
    --yes or --force, or if you say so.
    """
    as_json = format_ is output.Format.JSON
    with redis_target.connected(redis_url) as store:
        from kuber_cron.cli.commands import _follow_run
        from kuber_cron.control.actions import await_run
        from kuber_cron.control.actions.errors import RunSucceededError
        from kuber_cron.control.actions.retry import retry_run
        from kuber_cron.control.queries import names

        name = names.run_named(store, run)
        since = await_run.newest_result(store, name)
        operator = identity.operator()
        try:
            retried = retry_run(store, name, operator=operator, even_succeeded=force, force=force)
        except RunSucceededError:
            identity.confirm(f"{name} has succeeded: run it again?", yes=yes)
            retried = retry_run(store, name, operator=operator, even_succeeded=True)
        if wait or not as_json:
            line = f"{name}: {QUEUED[retried.verdict]}"
            errors.complain(f"kuber-cron: {line}") if wait else output.write_lines([line])
        end = _follow_run.follow(store, name, since=since, as_json=as_json) if wait else None
    if end is not None:
        errors.complain(f"kuber-cron: {name}: {end.summary}")
    if as_json:
        from dataclasses import replace

        from kuber_cron.control import documents

        output.write_json(documents.document(replace(retried, end=end)))
    return errors.OK if end is None else end.exit_status


COMMAND = Command(
    name="retry",
    function=retry,
    summary="Run a run again that has ended.",
    examples=(
        ("kuber-cron retry backup-20260329T010000Z", "queue it again, with all its retries"),
        ("kuber-cron retry backup-20260329T010000Z --wait", "its output, and its exit status"),
    ),
    notes="For a new run by the job as it is now: kuber-cron trigger JOB.",
)
