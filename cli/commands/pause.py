"""``kuber-cron pause``: let a job's instants pass without a run for a while."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import identity, instants, redis_target
from kuber_cron.cli.command import Command
from kuber_cron.cli.terminal import errors, output
from kuber_cron.common import time_format
from kuber_cron.common.errors import UsageError

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.scripts import Store


def pause(
    job: options.OptionalJobArgument = None,
    *,
    all_: Annotated[
        bool, typer.Option("--all", help="Every job, also those that are added meanwhile.")
    ] = False,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="WHEN",
            help="An instant (ISO 8601, without an offset in the job's zone), or from now: 90m, 2h.",
            show_default=False,
        ),
    ] = None,
    redis_url: options.RedisUrlOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Let a job's instants pass without a run, until then or until it is resumed.

    They are recorded as suspended, and are not caught up with. What is queued, runs or waits for its next attempt goes
    on.
    """
    options.check_one_of(job, all_=all_)
    with redis_target.connected(redis_url) as store:
        from kuber_cron.control.actions import pause as actions
        from kuber_cron.control.queries import names

        name = None if job is None else names.job_named(store, job)
        until_at = None if until is None else _end(store, name, until)
        state = actions.pause(store, name, operator=identity.operator(), until_at=until_at)
    if format_ is output.Format.JSON:
        from kuber_cron.control import documents

        output.write_json(documents.document(state))
    else:
        how = f"paused until {time_format.iso(until_at)}" if until_at else "paused, until it is resumed"
        output.write_lines([f"{name or 'all jobs'}: {how}"])
    return errors.OK


def _end(store: "Store", job: str | None, text: str) -> datetime:
    """Return when the pause ends: of a local time that comes twice the second one."""
    from kuber_cron.common.jobs.option_types import BadValueError
    from kuber_cron.common.jobs.time_types import duration_seconds
    from kuber_cron.control.queries import redis_time, time_zone

    now = redis_time.now(store)
    try:
        return now.replace(microsecond=0) + timedelta(seconds=duration_seconds(text))
    except BadValueError:
        pass
    reading = instants.parse(text, time_zone.zone_of(store, job))
    if reading.note:
        errors.note(reading.note)
    if reading.instants[-1] <= now:
        past = time_format.iso(now.replace(microsecond=0))
        raise UsageError(f'--until "{text}" is in the past: it is {past}')
    return reading.instants[-1]


COMMAND = Command(
    name="pause",
    function=pause,
    summary="Let a job's instants pass without a run.",
    examples=(
        ("kuber-cron pause backup", "until somebody resumes it"),
        ("kuber-cron pause backup --until 2h", "for two hours"),
        ("kuber-cron pause --all --until 2026-03-29T06:00:00Z", "every job, over a maintenance"),
    ),
)
