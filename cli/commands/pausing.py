"""``kuber-cron pause`` and ``kuber-cron resume``: nothing of a job is queued by its schedule for a while."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import completions, identity, instants
from kuber_cron.cli.command import Command
from kuber_cron.cli.terminal import errors, output
from kuber_cron.common.errors import UsageError

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.scripts import Store
    from kuber_cron.control.actions.results import Paused

ALL = "*"

JobArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="JOB", help="The job's name.", show_default=False, autocompletion=completions.jobs
    ),
]


def pause(
    job: JobArgument = None,
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
    _one_of(job, all_=all_)
    with identity.acting(redis_url) as (store, acts):
        name = _name(store, job)
        until_at = None if until is None else _instant(store, name, until, acts.now())
        acts.pause(name, until_at)
        answer = _answer(name, paused=True, until_at=until_at)
    told = f"paused until {instants.iso(until_at)}" if until_at else "paused, until it is resumed"
    return _tell(answer, told, format_)


def resume(
    job: JobArgument = None,
    *,
    all_: Annotated[bool, typer.Option("--all", help="End the pause of all jobs.")] = False,
    redis_url: options.RedisUrlOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Let a paused job go on with its next instant. A pause of one job and a pause of all are ended each by itself."""
    _one_of(job, all_=all_)
    with identity.acting(redis_url) as (store, acts):
        name = _name(store, job)
        done = acts.resume(name)
    is_held = "1" in done.details
    changed = done.word == "RESUMED"
    if is_held and format_ is output.Format.TABLE:
        identity.note("all jobs are paused still: kuber-cron resume --all ends that")
    answer = _answer(name, paused=False, changed=changed, all_paused=is_held)
    return _tell(answer, "resumed" if changed else "was not paused", format_)


def _one_of(job: str | None, *, all_: bool) -> None:
    if (job is None) != all_:
        raise UsageError("say which: a JOB, or --all", hint="kuber-cron jobs lists them")


def _name(store: "Store", job: str | None) -> str:
    from kuber_cron.control.queries import names

    return ALL if job is None else names.job_named(store, job)


def _instant(store: "Store", job: str, text: str, now: datetime) -> datetime:
    """Return when the pause ends: of a local time that comes twice the second one."""
    from kuber_cron.common.jobs.option_types import BadValueError
    from kuber_cron.common.jobs.time_types import duration_seconds

    try:
        return now.replace(microsecond=0) + timedelta(seconds=duration_seconds(text))
    except BadValueError:
        pass
    meant = instants.parse(text, identity.zone_of(store, job))
    if meant.note:
        identity.note(meant.note)
    if meant.instants[-1] <= now:
        raise UsageError(f'--until "{text}" is in the past: it is {instants.iso(now.replace(microsecond=0))}')
    return meant.instants[-1]


def _answer(
    name: str,
    *,
    paused: bool,
    until_at: datetime | None = None,
    changed: bool = True,
    all_paused: bool = False,
) -> "Paused":
    from kuber_cron.control.actions.results import Paused

    job = None if name == ALL else name
    return Paused(job=job, paused=paused, until_at=until_at, changed=changed, all_paused=all_paused)


def _tell(answer: "Paused", told: str, format_: output.Format) -> int:
    if format_ is output.Format.JSON:
        from kuber_cron.control import documents

        output.write_json(documents.document(answer))
    else:
        output.write_lines([f"{answer.job or 'all jobs'}: {told}"])
    return errors.OK


PAUSE = Command(
    name="pause",
    function=pause,
    summary="Let a job's instants pass without a run.",
    examples=(
        ("kuber-cron pause backup", "until somebody resumes it"),
        ("kuber-cron pause backup --until 2h", "for two hours"),
        ("kuber-cron pause --all --until 2026-03-29T06:00:00Z", "every job, over a maintenance"),
    ),
)
RESUME = Command(
    name="resume",
    function=resume,
    summary="Let a paused job go on.",
    examples=(
        ("kuber-cron resume backup", "from its next instant on"),
        ("kuber-cron resume --all", "end the pause of all jobs"),
    ),
)
