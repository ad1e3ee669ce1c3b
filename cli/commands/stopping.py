"""``kuber-cron stop`` and ``kuber-cron retry``: end a run, or run it again."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import completions, identity
from kuber_cron.cli.command import Command
from kuber_cron.cli.terminal import errors, output
from kuber_cron.common.errors import KuberCronError, UsageError

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.scripts import Store
    from kuber_cron.control.actions.operations import ScriptReply
    from kuber_cron.control.actions.results import Stopped

_MOST = 10_000  # runs of a job that one command stops


class RunOverError(KuberCronError):
    """The run has ended already."""

    code = "run-over"


class RunLiveError(KuberCronError):
    """The run has not ended yet."""

    code = "run-live"


class NotOursError(KuberCronError):
    """The run belongs to no job of Kuber-Cron's."""

    code = "not-ours"


class OverlapError(KuberCronError):
    """The run's job forbids it beside another one."""

    code = "overlap"


def stop(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="The run's id, or a beginning that only it has.",
            show_default=False,
            autocompletion=completions.runs,
        ),
    ] = None,
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
    with identity.acting(redis_url) as (store, acts):
        from kuber_cron.control import documents
        from kuber_cron.control.queries import names

        found = names.run_named(store, run or "")
        identity.confirm(f"stop {found}?", yes=yes)
        stopped = _stopped(found, acts.stop(found))
        if wait:
            stopped = _awaited(store, stopped)
    if format_ is output.Format.JSON:
        output.write_json(documents.document(stopped))
    else:
        output.write_lines([_told(stopped)])
    return errors.OK


def _stop_all(job: str, *, yes: bool, redis_url: str | None, as_json: bool) -> int:
    with identity.acting(redis_url) as (store, acts):
        from kuber_cron.common.records.parsing import text
        from kuber_cron.control import documents
        from kuber_cron.control.actions.results import AllStopped
        from kuber_cron.control.queries import names

        name = names.job_named(store, job)
        live: Any = store.client.zrevrange(store.keys.active(name), 0, _MOST - 1)
        if live:
            identity.confirm(f"stop {output.counted(len(live), 'run')} of {name}?", yes=yes)
        # The last in line first: one that ends lets the next go on, which would be running then.
        done = {found: acts.stop(found) for found in map(text, live)}
        stopped = [_stopped(found, what) for found, what in done.items() if what.word.startswith("STOP")]
    if as_json:
        output.write_document(documents.document(AllStopped(job=name, runs=tuple(stopped))))
    else:
        output.write_lines([_told(each) for each in stopped] or [f"no run of {name} is under way"])
    return errors.OK


def _stopped(run: str, done: "ScriptReply") -> "Stopped":
    from kuber_cron.control.actions.results import Stopped

    match done.word, done.details:
        case "STOPPED", _:
            return Stopped(run=run, state="stopped")
        case "STOPPING", (worker, *_):
            return Stopped(run=run, state="stopping", worker=worker or None)
        case "OVER", (status, outcome, *_):
            raise RunOverError(
                f"{run} has ended already: {outcome or status}", hint=f"kuber-cron show {run} tells how"
            )
        case _:
            raise refused(run, done)


def refused(run: str, done: "ScriptReply") -> KuberCronError:
    """Return why nothing can be done with the run."""
    from kuber_cron.common.errors import UnknownRunError

    if done.word == "FOREIGN":
        return NotOursError(
            f"{run} is RQ's, of no job of Kuber-Cron's", hint="rq and rq-dashboard can stop and requeue it"
        )
    return UnknownRunError(
        f"there is no record of {run} any more", hint="kuber-cron runs shows the newest ones"
    )


def _told(stopped: "Stopped") -> str:
    if stopped.end is not None:
        return f"{stopped.run}: {stopped.end.outcome}"
    if stopped.state == "stopped":
        return f"{stopped.run}: stopped, it was not running"
    return f"{stopped.run}: {stopped.worker or 'its worker'} has been told to stop it"


def _awaited(store: "Store", stopped: "Stopped") -> "Stopped":
    from dataclasses import replace

    from kuber_cron.control.actions import await_run

    silent = await_run.newest_result(store, stopped.run)
    return replace(stopped, end=await_run.follow(store, stopped.run, since=silent, is_silent=True))


def retry(
    run: options.RunArgument,
    *,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show its output, and exit with the command's own status.")
    ] = False,
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
    with identity.acting(redis_url) as (store, acts):
        from kuber_cron.control import documents
        from kuber_cron.control.actions import await_run
        from kuber_cron.control.actions.results import Retried
        from kuber_cron.control.queries import names

        found = names.run_named(store, run)
        since = await_run.newest_result(store, found)
        done = acts.retry(found, again=force, force=force)
        if done.word == "SUCCEEDED":
            identity.confirm(f"{found} has succeeded: run it again?", yes=yes)
            done = acts.retry(found, again=True)
        verdict = queued(found, done)
        if wait or not as_json:
            line = f"{found}: {QUEUED[verdict]}"
            errors.complain(f"kuber-cron: {line}") if wait else output.write_lines([line])
        end = await_run.follow(store, found, since=since, as_json=as_json) if wait else None
    if end is not None:
        errors.complain(f"kuber-cron: {found}: {await_run.sentence(end)}")
    if as_json:
        output.write_json(documents.document(Retried(run=found, verdict=verdict, end=end)))
    return errors.OK if end is None else end.exit_status


QUEUED = {"queued": "queued again", "held": "held, until other runs of its job have ended"}


def queued(run: str, done: "ScriptReply") -> "Literal['queued', 'held']":
    """Return ``queued`` or ``held``.

    Raises:
        KuberCronError: It is neither.
    """
    match done.word, done.details:
        case "QUEUED", _:
            return "queued"
        case "HELD", _:
            return "held"
        case "LIVE", (status, *_):
            raise RunLiveError(
                f"{run} has not ended: its status is {status}", hint=f"kuber-cron stop {run} ends it"
            )
        case "OVERLAP", (other, *_):
            raise OverlapError(
                f"{run}: its job forbids overlap, and {other} has not ended",
                hint="wait for that, or run this beside it with --force",
            )
        case _:
            raise refused(run, done)


STOP = Command(
    name="stop",
    function=stop,
    summary="End a run.",
    examples=(
        ("kuber-cron stop backup-20260329T010000Z", "ask, and end it"),
        ("kuber-cron stop backup-20260329 --yes --wait", "do not ask, and return when it has ended"),
        ("kuber-cron stop --job backup", "all its runs: a backfill that was a mistake, say"),
    ),
)
RETRY = Command(
    name="retry",
    function=retry,
    summary="Run a run again that has ended.",
    examples=(
        ("kuber-cron retry backup-20260329T010000Z", "queue it again, with all its retries"),
        ("kuber-cron retry backup-20260329T010000Z --wait", "its output, and its exit status"),
    ),
    notes="For a new run by the job as it is now: kuber-cron trigger JOB.",
)
