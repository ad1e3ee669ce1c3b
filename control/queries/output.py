"""The output of a run: the query behind ``kuber-cron logs``.

All of it is in the attempt's log file, where the workers' log directory can be read here. Redis has the first 4 KiB and
the last 12 KiB of it.
"""

from pathlib import Path

from kuber_cron.common.errors import KuberCronError
from kuber_cron.common.records.attempt import AttemptRecord
from kuber_cron.common.records.excerpt import Excerpt
from kuber_cron.common.runs.log_path import log_path
from kuber_cron.control.queries.results import LogView, RunView


class NoSuchAttemptError(KuberCronError):
    """The run has no attempt of that number, or its output is not kept."""

    code = "no-such-attempt"


def output(view: RunView, log_dir: Path, *, attempt: int | None = None, tail: int | None = None) -> LogView:
    """Return the output of an attempt.

    Args:
        view: The run, as :func:`kuber_cron.control.queries.run.run` has found it.
        log_dir: The workers' log directory, as far as it can be read here.
        attempt: Its number; None for the newest.
        tail: At most so many last lines; None for all.

    Raises:
        NoSuchAttemptError: the run has no such attempt; the hint names those that are kept.
    """
    chosen = _chosen(view, attempt)
    whole = _file(chosen, view, log_dir)
    text = _excerpt(chosen).text if whole is None else whole
    if tail is not None:
        text = "".join(text.splitlines(keepends=True)[-tail:] if tail else [])
    return LogView(
        run=view.run.run,
        attempt=chosen.attempt,
        outcome=chosen.outcome,
        log=chosen.log,
        is_whole=whole is not None or not chosen.omitted_bytes,
        omitted_bytes=0 if whole is not None else chosen.omitted_bytes,
        text=text,
    )


def _chosen(view: RunView, attempt: int | None) -> AttemptRecord:
    known = {each.attempt: each for each in view.attempts}
    if not known:
        raise NoSuchAttemptError(
            f"{view.run.run} has not been started, so it has written nothing",
            hint=f"kuber-cron show {view.run.run} says how it stands",
        )
    if attempt is None:
        return view.attempts[-1]
    if attempt not in known:
        raise NoSuchAttemptError(
            f"of {view.run.run} there is no attempt {attempt}",
            hint=f"those that are kept: {', '.join(map(str, known))}",
        )
    return known[attempt]


def _excerpt(attempt: AttemptRecord) -> Excerpt:
    return Excerpt(
        head=attempt.head,
        tail=attempt.tail,
        total_bytes=attempt.kept_bytes,
        omitted_bytes=attempt.omitted_bytes,
    )


def _file(attempt: AttemptRecord, view: RunView, log_dir: Path) -> str | None:
    """Return what the attempt's log file holds; None where it cannot be read here, or has been trimmed."""
    try:
        path = log_dir / log_path(job=view.run.job, run=view.run.run, attempt=attempt.attempt)
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return None
