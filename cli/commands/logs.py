"""``kuber-cron logs``: what a run has written, from its log file where that can be read here, else from Redis."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import redis_target
from kuber_cron.cli.command import Command
from kuber_cron.cli.commands import _query
from kuber_cron.cli.terminal import errors, output
from kuber_cron.common.errors import UsageError

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.scripts import Store
    from kuber_cron.control.queries.results import LogView, RunView


def logs(
    run: options.NewestRunArgument,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run has ended, over all its attempts.")
    ] = False,
    attempt: Annotated[
        int | None,
        typer.Option("--attempt", min=1, help="This attempt; default: the newest.", show_default=False),
    ] = None,
    tail: Annotated[
        int | None, typer.Option("--tail", min=0, help="Only so many last lines.", show_default=False)
    ] = None,
    redis_url: options.RedisUrlOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Show what a run has written.

    All of it where the workers' log files can be read here (KUBER_CRON_LOG_DIR); else its first 4 KiB and its last 12
    KiB, which are in Redis. With --follow it is what Redis tells once a second, from any machine.
    """
    if follow and (format_ is output.Format.JSON or attempt is not None or tail is not None):
        raise UsageError(
            "--follow shows all that comes", hint="leave out --format json, --attempt and --tail"
        )
    where = redis_target.place(redis_url)
    with redis_target.store(where) as store:
        from kuber_cron.control.queries import output as query
        from kuber_cron.control.queries import run as run_query

        view = run_query.run(store, run, started=not follow)
        if follow and view.run.state != "ended":
            return _follow(store, view)
    found = query.output(view, where.log_dir, attempt=attempt, tail=tail)
    if format_ is output.Format.JSON:
        from kuber_cron.control import documents

        output.write_document(documents.document(found))
    else:
        _write(found, view, is_cut=tail is not None)
    return errors.OK


def _follow(store: "Store", view: "RunView") -> int:
    """Pass on what the run says until it has ended; of earlier attempts nothing."""
    from kuber_cron.cli.commands import _follow_run
    from kuber_cron.control.actions import await_run

    errors.complain(*[f"kuber-cron: {sentence}" for sentence in _beginning(view)])
    end = _follow_run.follow(store, view.run.run, since=await_run.newest_result(store, view.run.run))
    errors.complain(f"kuber-cron: {view.run.run}: {end.summary}")
    return errors.OK


def _beginning(view: "RunView") -> list[str]:
    from kuber_cron.cli.terminal import run_table

    return [] if view.run.state == "running" else [f"{view.run.run} is {run_table.state(view.run, view.now)}"]


def _write(found: "LogView", view: "RunView", *, is_cut: bool) -> None:
    sys.stdout.write(found.text)
    if found.text and not found.text.endswith("\n") and sys.stdout.isatty():
        sys.stdout.write("\n")
    sys.stdout.flush()
    if found.omitted_bytes and not is_cut:
        where = (
            f"the whole is {found.log} on {view.run.worker}"
            if found.log
            else "there is no log file with the whole"
        )
        errors.complain(f"note: {found.omitted_bytes} bytes in the middle are not in Redis; {where}")
    if not found.text:
        errors.complain(f"note: attempt {found.attempt} has written nothing")


COMMAND = Command(
    name="logs",
    function=logs,
    summary="Show what a run has written.",
    examples=(
        ("kuber-cron logs backup-20260329T013000Z", "what its newest attempt has written"),
        ("kuber-cron logs backup -f", "follow the job's newest run, from any machine"),
        ("kuber-cron logs backup --attempt 1 --tail 20", "the end of an earlier attempt"),
    ),
    notes=_query.NOTES,
)
