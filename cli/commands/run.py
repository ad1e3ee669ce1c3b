"""``kuber-cron run``: run job files in one process on one machine."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import job_files
from kuber_cron.cli.command import Command
from kuber_cron.cli.process import lifecycle

if TYPE_CHECKING:
    from kuber_cron.cli.terminal.live_view import Supplier
    from kuber_cron.common.config.settings import Settings

DATA_DIR = Path(".kuber-cron")


def run(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Job files or directories of them.")],
    *,
    redis_url: options.RedisUrlOption = None,
    data_dir: Annotated[
        Path, typer.Option("--data-dir", metavar="DIR", help="Where its own Redis and the log files live.")
    ] = DATA_DIR,
    slots: options.SlotsOption = None,
    metrics_port: options.MetricsPortOption = None,
    grace: options.GraceOption = None,
    timezone: options.TimezoneOption = None,
    system: options.SystemOption = False,
    no_live: Annotated[bool, typer.Option("--no-live", help="Log lines only, also on a terminal.")] = False,
) -> int:
    """Run job files here and now: Redis, scheduler and worker in one process, until Ctrl-C.

    Without --redis-url it starts a Redis of its own, whose data stay in the data directory between runs.
    """
    if job_files.STDIN in files:
        raise job_files.NotOnStdinError("run")
    loaded = job_files.load(files, system=system, timezone=timezone)
    job_files.complain(loaded)
    if not loaded.jobs:
        raise job_files.NoJobsError(f"no job in {', '.join(files)} can be run", hint="see kuber-cron check")
    settings = _settings(
        data_dir,
        jobs=tuple(files),
        redis_url=redis_url,
        worker_slots=slots,
        metrics_port=metrics_port,
        grace_seconds=grace,
        timezone=timezone,
        jobs_format="system" if system else None,
    )
    from kuber_cron.cli.process import composition

    composition.configure_logs(settings, sys.stderr)
    with (
        composition.all_in_one(settings, data_dir) as service,
        _log_stream(service.snapshot, is_live=not no_live) as stream,
    ):
        composition.configure_logs(settings, stream)
        return lifecycle.serve(service)


def _settings(data_dir: Path, **flags: Any) -> "Settings":
    """Return the settings; the defaults that one machine needs differ from a cluster's."""
    from kuber_cron.common.config.settings import Settings

    local: dict[str, Any] = {
        "log_dir": data_dir / "logs",
        "metrics_host": "127.0.0.1",
        "worker_output": "off",
        "election": "redis",
        "insecure": True,  # allowed on one machine (spec: interface.md); a log line warns of it
    }
    unset = {name: value for name, value in local.items() if not os.environ.get(f"KUBER_CRON_{name.upper()}")}
    return Settings.load(os.environ, **unset, **flags)


@contextlib.contextmanager
def _log_stream(supplier: "Supplier", *, is_live: bool) -> Iterator[TextIO]:
    """Draw the live view while the block runs, where that is possible; yield where log lines go."""
    from kuber_cron.cli.terminal import live_view

    if is_live and live_view.is_possible(sys.stdout, os.environ.get("TERM", "")):
        with live_view.Screen(supplier, sys.stdout) as view:
            yield view.log_stream
    else:
        yield sys.stderr


COMMAND = Command(
    name="run",
    function=run,
    summary="Run job files on this machine.",
    examples=(
        ("kuber-cron run crontab", "with a Redis of its own, and a live view on a terminal"),
        (
            "kuber-cron run jobs.d --slots 8 --grace 60",
            "eight commands at once; a minute to finish on Ctrl-C",
        ),
        ("kuber-cron run --system /etc/crontab --no-live", "log lines only"),
        ("kuber-cron run crontab --redis-url redis://localhost:6379/0", "in a Redis that you have"),
    ),
    notes="Ctrl-C lets commands finish within the grace; a second Ctrl-C ends them at once.",
)
