"""``kuber-cron trigger``: run a job now, by the rules of its schedule's runs."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import identity
from kuber_cron.cli.command import Command
from kuber_cron.cli.terminal import errors, output

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.scripts import Store
    from kuber_cron.control.actions.results import CreatedRun, RunResult

_SECONDS = 10.0  # acting.ANSWER_SECONDS, which would be imported for --help


def trigger(
    job: options.JobArgument,
    *,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show its output, and exit with the command's own status.")
    ] = False,
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env", metavar="NAME=VALUE", help="One more variable; may be repeated.", show_default=False
        ),
    ] = None,
    force: options.ForceOption = False,
    chain: Annotated[bool, typer.Option("--chain", help="The jobs that come after it follow.")] = False,
    timeout: options.PatienceOption = _SECONDS,
    redis_url: options.RedisUrlOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Run a job now: the scheduler that leads queues it by the same rules as the runs of its schedule.

    With --wait the exit status is the command's: 128 and the signal's number where one ended it, 124 after its time
    limit, 1 where it was not run.
    """
    from kuber_cron.cli.commands import exec_ as foreground

    variables = foreground.variables(env or [])
    key = identity.signing_key()
    as_json = format_ is output.Format.JSON
    with identity.acting(redis_url) as (store, acts):
        from kuber_cron.control.queries import names

        name = names.job_named(store, job)
        asked = acts.new(
            action="trigger", job=name, env=variables, force=force, chain=chain, patience_seconds=timeout
        )
        made = acts.ask(asked, signing_key=key, wait=threading.Event().wait)
        refuse(made[0])
        if not as_json:
            say(made, to_stderr=wait)
        ends = _awaited(store, made, as_json=as_json) if wait else []
    status = next((end.exit_status for end in ends if end.exit_status), errors.OK)
    if status == errors.OK and not all(each.is_made for each in made):
        status = errors.PROBLEM
    if as_json:
        from kuber_cron.control import documents
        from kuber_cron.control.actions.results import Triggered

        answer = Triggered(runs=tuple(made), ends=tuple(ends), exit_status=status)
        output.write_json(documents.document(answer))
    return status


def refuse(made: "CreatedRun") -> None:
    """Return if the run is made, or was left out with a reason that is no error.

    Raises:
        RefusedError: its job's rules forbid it, with what to do about that; or Redis does.
    """
    from kuber_cron.control.actions.operations import RefusedError

    match made.verdict, made.reason:
        case "refused", "overlap":
            raise RefusedError(
                "overlap",
                f"job {made.job}: its runs may not overlap, and one has not ended",
                hint=f"kuber-cron runs {made.job} shows it; --force runs it all the same",
            )
        case "refused", "suspended":
            raise RefusedError(
                "suspended",
                f"job {made.job} is paused, or suspended in its file",
                hint=f"--force runs it all the same; kuber-cron resume {made.job} ends a pause",
            )
        case (("refused" | "error"), reason):
            raise RefusedError("refused", f"job {made.job}: {reason}")


_WORDS = {
    "queued": "queued",
    "held": "held, until what it waits for has ended",
    "known": "made before",
    "planned": "to be made",
    "succeeded": "left out: its instant has succeeded",
    "live": "left out: its instant has a run that has not ended",
}


def words_of(made: "CreatedRun") -> str:
    """Return a verdict for people."""
    return _WORDS.get(made.verdict) or f"{made.verdict}: {made.reason}"


def say(made: "Sequence[CreatedRun]", *, to_stderr: bool) -> None:
    """Each run, and what became of it, on a line of its own."""
    lines = [f"{each.run}: {words_of(each)}" for each in made]
    if to_stderr:
        errors.complain(*[f"kuber-cron: {line}" for line in lines])
    else:
        output.write_lines(lines)


def _awaited(store: "Store", made: "Sequence[CreatedRun]", *, as_json: bool) -> "list[RunResult]":
    from kuber_cron.control.actions import await_run

    ends = []
    for each in made:
        if each.is_made:
            end = await_run.follow(store, each.run, as_json=as_json)
            errors.complain(f"kuber-cron: {each.job}: {await_run.sentence(end)}")
            ends.append(end)
    return ends


COMMAND = Command(
    name="trigger",
    function=trigger,
    summary="Run a job now.",
    examples=(
        ("kuber-cron trigger backup", "queue one run of it"),
        ("kuber-cron trigger backup --wait", "its output, and its exit status"),
        ("kuber-cron trigger report --env MODE=full --force", "with a variable, beside another run of it"),
        ("kuber-cron trigger extract --chain", "and then what comes after it, in order"),
    ),
    notes=(
        "A job that allows no overlap is refused, put in line, or takes a run's place, as its concurrency says.\n"
        "Variables need KUBER_CRON_SIGNING_KEY_FILE where the scheduler signs."
    ),
)
