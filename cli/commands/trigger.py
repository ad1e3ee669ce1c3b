"""``kuber-cron trigger``: run a job now, by the rules of its schedule's runs."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import identity, redis_target, variables
from kuber_cron.cli.command import Command
from kuber_cron.cli.terminal import errors, output

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.scripts import Store
    from kuber_cron.control.actions.results import CreatedRun, RunResult

_SECONDS = 10.0  # leader_requests.ANSWER_SECONDS, whose import --help does not wait for


def trigger(
    job: options.JobArgument,
    *,
    wait: options.WaitOption = False,
    env: options.EnvOption = None,
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
    as_json = format_ is output.Format.JSON
    extra = variables.parse(env or [])
    key = identity.signing_key()
    with redis_target.connected(redis_url) as store:
        from kuber_cron.control.actions import trigger as actions
        from kuber_cron.control.actions.leader_requests import RequestTerms

        terms = RequestTerms(
            operator=identity.operator(),
            signing_key=key,
            timeout_seconds=timeout,
            wait=threading.Event().wait,
        )
        runs = actions.trigger(store, job, terms, env=extra, force=force, chain=chain)
        if not as_json:
            _show(runs, to_stderr=wait)
        ends = _awaited(store, runs, as_json=as_json) if wait else []
    status = next((end.exit_status for end in ends if end.exit_status), errors.OK)
    if status == errors.OK and not all(each.is_made for each in runs):
        status = errors.PROBLEM
    if as_json:
        from kuber_cron.control import documents
        from kuber_cron.control.actions.results import TriggerResult

        result = TriggerResult(runs=runs, ends=tuple(ends), exit_status=status)
        output.write_json(documents.document(result))
    return status


_WORDS = {
    "queued": "queued",
    "held": "held, until what it waits for has ended",
    "known": "made before",
    "planned": "to be made",
    "succeeded": "left out: its instant has succeeded",
    "live": "left out: its instant has a run that has not ended",
}


def words_of(run: "CreatedRun") -> str:
    """Return a verdict for people."""
    return _WORDS.get(run.verdict) or f"{run.verdict}: {run.reason}"


def _show(runs: "Sequence[CreatedRun]", *, to_stderr: bool) -> None:
    lines = [f"{each.run}: {words_of(each)}" for each in runs]
    if to_stderr:
        errors.complain(*[f"kuber-cron: {line}" for line in lines])
    else:
        output.write_lines(lines)


def _awaited(store: "Store", runs: "Sequence[CreatedRun]", *, as_json: bool) -> "list[RunResult]":
    from kuber_cron.cli.commands import _follow_run

    ends = []
    for each in runs:
        if each.is_made:
            end = _follow_run.follow(store, each.run, as_json=as_json)
            errors.complain(f"kuber-cron: {each.job}: {end.summary}")
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
