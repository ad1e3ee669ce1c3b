"""``kuber-cron stop``: end a run, or all runs of a job."""

from typing import TYPE_CHECKING, Annotated

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import completions, identity, redis_target
from kuber_cron.cli.command import Command
from kuber_cron.cli.terminal import errors, output
from kuber_cron.common.errors import UsageError

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.scripts import Store
    from kuber_cron.control.actions.results import StoppedRun


def stop(
    run: options.OptionalRunArgument = None,
    *,
    job: Annotated[
        str | None,
        typer.Option(
            "--job",
            metavar="JOB",
            help="All runs of this job instead.",
            show_default=False,
            autocompletion=completions.jobs,
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the run has ended.")] = False,
    yes: options.YesOption = False,
    redis_url: options.RedisUrlOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """End a run: one that waits (in a queue, for others, for its next attempt) at once, a running one through its worker.

    A running command gets TERM, and KILL after its kill_grace. It is not attempted again, whatever becomes of its
    worker. What comes after the run in a chain is not queued.
    """
    if (run is None) == (job is None):
        raise UsageError("say which: a RUN, or --job JOB", hint="see kuber-cron stop --help")
    if job is not None:
        return _stop_all(job, yes=yes, redis_url=redis_url, as_json=format_ is output.Format.JSON)
    with redis_target.connected(redis_url) as store:
        from kuber_cron.control.actions.stop import stop_run
        from kuber_cron.control.queries import names

        name = names.run_named(store, run or "")
        identity.confirm(f"stop {name}?", yes=yes)
        stopped = stop_run(store, name, operator=identity.operator())
        if wait:
            stopped = _awaited(store, stopped)
    if format_ is output.Format.JSON:
        from kuber_cron.control import documents

        output.write_json(documents.document(stopped))
    else:
        output.write_lines([_line(stopped)])
    return errors.OK


def _stop_all(job: str, *, yes: bool, redis_url: str | None, as_json: bool) -> int:
    with redis_target.connected(redis_url) as store:
        from kuber_cron.control.actions.stop import live_runs, stop_runs
        from kuber_cron.control.queries import names

        name = names.job_named(store, job)
        live = live_runs(store, name)
        if live:
            identity.confirm(f"stop {output.counted(len(live), 'run')} of {name}?", yes=yes)
        result = stop_runs(store, name, live, operator=identity.operator())
    if as_json:
        from kuber_cron.control import documents

        output.write_document(documents.document(result))
    else:
        output.write_lines([_line(each) for each in result.runs] or [f"no run of {name} is under way"])
    return errors.OK


def _line(stopped: "StoppedRun") -> str:
    if stopped.end is not None:
        return f"{stopped.run}: {stopped.end.outcome}"
    if stopped.state == "stopped":
        return f"{stopped.run}: stopped, it was not running"
    return f"{stopped.run}: {stopped.worker or 'its worker'} has been told to stop it"


def _awaited(store: "Store", stopped: "StoppedRun") -> "StoppedRun":
    from dataclasses import replace

    from kuber_cron.cli.commands import _follow_run
    from kuber_cron.control.actions import await_run

    since = await_run.newest_result(store, stopped.run)
    return replace(stopped, end=_follow_run.follow(store, stopped.run, since=since, is_silent=True))


COMMAND = Command(
    name="stop",
    function=stop,
    summary="End a run.",
    examples=(
        ("kuber-cron stop backup-20260329T010000Z", "ask, and end it"),
        ("kuber-cron stop backup-20260329 --yes --wait", "do not ask, and return when it has ended"),
        ("kuber-cron stop --job backup", "all its runs: a backfill that was a mistake, say"),
    ),
)
