"""``kuber-cron exec``: run one job in the foreground, as a worker would, without Redis.

The same supervisor, environment, limits and outcome as in a worker. What differs: its output goes to the terminal
and to no log file, nothing is retried (the last line says what would have been), and Ctrl-C sends TERM at once.
"""

import contextlib
import dataclasses
import os
import random
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import completions, job_files, variables
from kuber_cron.cli.command import Command
from kuber_cron.cli.process import lifecycle
from kuber_cron.cli.process.signals import Events
from kuber_cron.cli.terminal import errors, output
from kuber_cron.common import time_format
from kuber_cron.common.clock import SystemClock
from kuber_cron.common.errors import UsageError
from kuber_cron.common.jobs.job import Job

if TYPE_CHECKING:
    from kuber_cron.common.records.excerpt import Stream
    from kuber_cron.worker.execution.launch import AttemptResult, Launch
    from kuber_cron.worker.execution.supervisor import Supervisor


def execute(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="Job files or directories of them; - is standard input."),
    ],
    *,
    job: Annotated[
        str | None,
        typer.Option(
            "--job",
            metavar="NAME",
            help="Which; needless where there is one.",
            show_default=False,
            autocompletion=completions.jobs_of_files,
        ),
    ] = None,
    env: options.EnvOption = None,
    system: options.SystemOption = False,
    timezone: options.TimezoneOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Run one job now, in the foreground, as a worker would: its environment, limits, time limit and outcome.

    The exit status is the command's: 128 and the signal's number where one ended it, 124 after its time limit.
    """
    extra = variables.parse(env or [])
    loaded = job_files.load(files, system=system, timezone=timezone)
    job_files.complain(loaded)
    chosen = _choose(loaded.jobs, job)
    launch = launch_of(chosen, extra, os.environ, SystemClock().now())
    as_json = format_ is output.Format.JSON
    ended, asked = _run(launch, {"stdout": 2 if as_json else 1, "stderr": 2})
    sentence = verdict(chosen, ended)
    errors.complain(*[f"kuber-cron: warning: {output.printable(warning)}" for warning in ended.warnings])
    errors.complain(f"kuber-cron: {sentence}")
    status = exit_status(ended, asked)
    if as_json:
        output.write_json(_document(ended, sentence, status))
    return status


def _choose(jobs: Sequence[Job], name: str | None) -> Job:
    if name is not None:
        return job_files.job_named(jobs, name)
    if not jobs:
        raise job_files.NoJobsError("there is no job to run", hint="see kuber-cron check")
    if len(jobs) > 1:
        raise UsageError(
            f"there are {len(jobs)} jobs, so say which with --job", hint=job_files.names_of(jobs)
        )
    return jobs[0]


def launch_of(job: Job, extra: dict[str, str], base: Mapping[str, str], now: datetime) -> "Launch":
    """Return the launch of a manual run of `job` at `now`, as a worker would make it, with `extra` over its variables."""
    from kuber_cron.common.runs import payload as runs
    from kuber_cron.common.runs.run_id import manual_run_id
    from kuber_cron.worker.execution.launch import Launch

    at = now.replace(microsecond=0)
    payload = runs.payload_for(
        dataclasses.replace(job, env=job.env | extra),
        at,
        run=manual_run_id(job.id, at, secrets.token_hex(4)),
        manual=True,
    )
    return Launch.from_payload(
        payload, secrets.token_hex(16), 1, log_dir=None, environ=base, user_required=False
    )


class ForegroundTerminal:
    """A sink that passes output on as it comes, each stream to its descriptor.

    It blocks where the reader is slow, which slows the command down as a pipe between the two would; the time
    limit then waits as well.
    """

    def __init__(self, descriptors: "dict[Stream, int]", on_reader_gone: Callable[[], None]) -> None:
        self._descriptors = descriptors
        self._on_reader_gone = on_reader_gone

    def write(self, stream: "Stream", data: bytes) -> None:
        """Pass a piece on; tell the main thread of a reader that is gone, once."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptors[stream], view) :]
        except BrokenPipeError:
            self._on_reader_gone()
            raise

    def close(self) -> None:
        """Do nothing: the descriptors are the process's own."""


def _run(launch: "Launch", descriptors: "dict[Stream, int]") -> "tuple[AttemptResult, signal.Signals | None]":
    """Run it to its end; return its result, and the signal that asked for it (SIGPIPE for a broken pipe), if any."""
    from kuber_cron.common.observability import logging_setup
    from kuber_cron.worker.execution.launch import AttemptResult
    from kuber_cron.worker.execution.supervisor import Supervisor

    logging_setup.configure("text", "error", sys.stderr)
    clock, asked_at = SystemClock(), 0.0
    asked: signal.Signals | None = None
    with Events[AttemptResult | Literal["reader gone"]]() as events:
        terminal = ForegroundTerminal(descriptors, lambda: events.put("reader gone"))
        supervisor = Supervisor(on_started=_ignore, on_ended=events.put, sinks=lambda _: [terminal])
        with _in_a_thread(supervisor):
            supervisor.start(launch)
            while not isinstance(event := events.get(), AttemptResult):
                if event == "reader gone":
                    asked = asked or signal.SIGPIPE
                    supervisor.stop(launch.execution_id, "stopped")
                elif event is not None:
                    if asked is None:
                        asked, asked_at = event, clock.elapsed()
                    is_again = clock.elapsed() - asked_at > lifecycle.ONE_PRESS_SECONDS
                    grace_seconds = 0.0 if is_again and event is signal.SIGINT else None
                    supervisor.stop(launch.execution_id, "interrupted", grace_seconds=grace_seconds)
    return event, asked


@contextlib.contextmanager
def _in_a_thread(supervisor: "Supervisor") -> Iterator[None]:
    thread = threading.Thread(target=supervisor.run, name="supervisor", daemon=True)
    thread.start()
    try:
        yield
    finally:
        supervisor.close()
        thread.join(timeout=10)


def _ignore(_launch: "Launch", _pid: int) -> None:
    """Do nothing: the output shows that it runs."""


def exit_status(result: "AttemptResult", asked: signal.Signals | None = None) -> int:
    """Return what a shell would say: the command's code, 128 and the signal, 124 after its time limit.

    Where a signal to us (or a reader that went away) was what ended it, that signal's number counts.
    """
    outcome = result.outcome
    if asked is not None:
        return errors.SIGNALLED + asked
    if outcome.kind == "timed_out":
        return errors.TIMED_OUT
    if outcome.signal is not None:
        return errors.SIGNALLED + outcome.signal
    return errors.PROBLEM if outcome.exit_code is None else outcome.exit_code


def verdict(job: Job, result: "AttemptResult") -> str:
    """Return a sentence on how the run ended, and on what a worker would have done next."""
    from kuber_cron.common.runs import retry_policy

    outcome = result.outcome
    policy = dataclasses.replace(job, retry_jitter=0.0)
    rng = random.Random(0)  # noqa: S311 -- without jitter it decides nothing
    decision = retry_policy.decide(
        policy, outcome.kind, exit_code=outcome.exit_code, spent=retry_policy.SpentBudgets(), rng=rng
    )
    how = f"{job.id}: {outcome} after {time_format.duration(result.elapsed_seconds)}"
    if isinstance(decision, retry_policy.Retry):
        wait = time_format.duration(decision.delay_seconds)
        return f"{how}; a worker would try it again in about {wait} (retry 1 of {job.retries})"
    if isinstance(decision, retry_policy.Requeue):
        return f"{how}; a worker would put it back into its queue"
    return how if outcome.is_success else f"{how}; a worker would not try it again"


def _document(result: "AttemptResult", sentence: str, status: int) -> dict[str, Any]:
    outcome = result.outcome
    return {
        "version": 1,
        "job": result.launch.job,
        "run": result.launch.run_id,
        "outcome": outcome.kind,
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "exit_status": status,
        "duration_seconds": round(result.elapsed_seconds, 3),
        "cpu_seconds": round(result.cpu_seconds, 3),
        "max_rss_bytes": result.max_rss_bytes,
        "output": result.captured.text,
        "warnings": list(result.warnings),
        "verdict": sentence,
    }


COMMAND = Command(
    name="exec",
    function=execute,
    summary="Run one job now, in the foreground.",
    examples=(
        ("kuber-cron exec crontab --job backup", "try a job out, with the environment that cron gives it"),
        ("kuber-cron exec crontab --job report --env MODE=test", "with another variable"),
        (
            "kuber-cron exec jobs.yaml --job report --format json",
            "its outcome for a program; its output on stderr",
        ),
    ),
    notes="Ctrl-C sends TERM, and KILL after the job's kill_grace; a second Ctrl-C sends KILL at once.",
)
