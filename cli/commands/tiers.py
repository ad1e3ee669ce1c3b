"""``kuber-cron scheduler`` and ``kuber-cron worker``: one tier each, for a cluster."""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kuber_cron.cli import options
from kuber_cron.cli.command import Command
from kuber_cron.cli.process import lifecycle

if TYPE_CHECKING:
    from kuber_cron.common.config.settings import Settings


def scheduler(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            help="Job files or directories of them; default: KUBER_CRON_JOBS.",
            show_default=False,
        ),
    ] = None,
    *,
    redis_url: options.RedisUrlOption = None,
    metrics_port: options.MetricsPortOption = None,
    timezone: options.TimezoneOption = None,
    system: options.SystemOption = False,
) -> int:
    """Decide what runs when: one replica of the scheduler, of which one leads at a time."""
    settings = _settings(
        jobs=tuple(files) if files else None,
        redis_url=redis_url,
        metrics_port=metrics_port,
        timezone=timezone,
        jobs_format="system" if system else None,
    )
    from kuber_cron.cli.process import composition

    composition.configure_logs(settings, sys.stderr)
    with composition.scheduler(settings) as service:
        return lifecycle.serve(service)


def worker(
    *,
    queues: Annotated[
        str | None,
        typer.Option("--queues", metavar="A,B", help="What to take from, in this order.", show_default=False),
    ] = None,
    slots: options.SlotsOption = None,
    redis_url: options.RedisUrlOption = None,
    metrics_port: options.MetricsPortOption = None,
    grace: options.GraceOption = None,
) -> int:
    """Run what the scheduler has queued: one worker, with several commands at once."""
    settings = _settings(
        worker_queues=queues,
        worker_slots=slots,
        redis_url=redis_url,
        metrics_port=metrics_port,
        grace_seconds=grace,
    )
    from kuber_cron.cli.process import composition

    composition.configure_logs(settings, sys.stderr)
    with composition.worker(settings) as service:
        return lifecycle.serve(service)


def _settings(**flags: Any) -> "Settings":
    from kuber_cron.common.config.settings import Settings

    return Settings.load(os.environ, **flags)


SCHEDULER = Command(
    name="scheduler",
    function=scheduler,
    summary="Decide what runs when, in a cluster.",
    examples=(
        ("kuber-cron scheduler /app/config", "with KUBER_CRON_REDIS_URL set, as in the image"),
        ("kuber-cron scheduler jobs.d --redis-url redis://localhost:6379/0", "on a machine of one's own"),
    ),
    notes="Every setting is a variable KUBER_CRON_…; flags win. docs/settings.md lists them.",
)
WORKER = Command(
    name="worker",
    function=worker,
    summary="Run what the scheduler has queued, in a cluster.",
    examples=(
        ("kuber-cron worker", "with KUBER_CRON_REDIS_URL set, as in the image"),
        ("kuber-cron worker --queues default,batch --slots 16", "two queues, sixteen commands at once"),
    ),
    notes="Every setting is a variable KUBER_CRON_…; flags win. docs/settings.md lists them.",
)
