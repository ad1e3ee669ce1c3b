"""``kuber-cron logs``: what a run has written, from its log file where that can be read here, else from Redis."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import redis_target
from kuber_cron.cli.command import Command
from kuber_cron.cli.commands import _query
from kuber_cron.cli.terminal import errors, output
from kuber_cron.common.errors import KuberCronError, UsageError

if TYPE_CHECKING:
    from kuber_cron.common.records.attempt import AttemptRecord
    from kuber_cron.common.redis_store.scripts import Store
    from kuber_cron.control.queries.results import LogView, RunView


class NoSuchAttemptError(KuberCronError):
    """The run has no attempt of that number, or its output is not kept."""

    code = "no-such-attempt"


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
        from kuber_cron.cli.commands import show

        seen = show.view(store, run, started=not follow)
        if follow and seen.run.state != "ended":
            return _follow(store, seen)
    found = _read(_chosen(seen, attempt), seen, where.log_dir)
    if tail is not None:
        found = replace(found, text="".join(found.text.splitlines(keepends=True)[-tail:] if tail else []))
    if format_ is output.Format.JSON:
        from kuber_cron.control import documents

        output.write_document(documents.document(found))
    else:
        _write(found, seen, is_cut=tail is not None)
    return errors.OK


def _follow(store: "Store", seen: "RunView") -> int:
    """Pass on what the run says until it has ended; of earlier attempts nothing."""
    from kuber_cron.cli.commands import _follow_run
    from kuber_cron.control.actions import await_run

    errors.complain(*[f"kuber-cron: {sentence}" for sentence in _beginning(seen)])
    end = _follow_run.follow(store, seen.run.run, since=await_run.newest_result(store, seen.run.run))
    errors.complain(f"kuber-cron: {seen.run.run}: {end.summary}")
    return errors.OK


def _beginning(seen: "RunView") -> list[str]:
    from kuber_cron.cli.terminal import run_table

    return [] if seen.run.state == "running" else [f"{seen.run.run} is {run_table.state(seen.run, seen.now)}"]


def _chosen(seen: "RunView", number: int | None) -> "AttemptRecord":
    known = {each.attempt: each for each in seen.attempts}
    if not known:
        raise NoSuchAttemptError(
            f"{seen.run.run} has not been started, so it has written nothing",
            hint=f"kuber-cron show {seen.run.run} says how it stands",
        )
    if number is None:
        return seen.attempts[-1]
    if number not in known:
        raise NoSuchAttemptError(
            f"of {seen.run.run} there is no attempt {number}",
            hint=f"those that are kept: {', '.join(map(str, known))}",
        )
    return known[number]


def _read(chosen: "AttemptRecord", seen: "RunView", log_dir: Path) -> "LogView":
    from kuber_cron.common.records.excerpt import Excerpt
    from kuber_cron.control.queries.results import LogView

    kept = Excerpt(
        head=chosen.head,
        tail=chosen.tail,
        total_bytes=chosen.kept_bytes,
        omitted_bytes=chosen.omitted_bytes,
    )
    whole = _file(chosen, seen, log_dir)
    return LogView(
        run=seen.run.run,
        attempt=chosen.attempt,
        outcome=chosen.outcome,
        log=chosen.log,
        is_whole=whole is not None or not chosen.omitted_bytes,
        omitted_bytes=0 if whole is not None else chosen.omitted_bytes,
        text=kept.text if whole is None else whole,
    )


def _file(chosen: "AttemptRecord", seen: "RunView", log_dir: Path) -> str | None:
    """Return what the attempt's log file holds, None where it cannot be read here, or has been trimmed."""
    from kuber_cron.worker.output import log_file

    try:
        path = log_file.path_of(log_dir, job=seen.run.job, run_id=seen.run.run, attempt=chosen.attempt)
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return None


def _write(found: "LogView", seen: "RunView", *, is_cut: bool) -> None:
    sys.stdout.write(found.text)
    if found.text and not found.text.endswith("\n") and sys.stdout.isatty():
        sys.stdout.write("\n")
    sys.stdout.flush()
    if found.omitted_bytes and not is_cut:
        where = (
            f"the whole is {found.log} on {seen.run.worker}"
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
