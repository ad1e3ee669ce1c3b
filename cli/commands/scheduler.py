"""``kuber-cron scheduler``: one replica of the scheduler, for a cluster."""

import os
import sys
from typing import Annotated

import typer

from kuber_cron.cli import options
from kuber_cron.cli.command import Command
from kuber_cron.cli.process import lifecycle


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
    from kuber_cron.cli.process import composition
    from kuber_cron.common.config.settings import Settings

    settings = Settings.load(
        os.environ,
        jobs=tuple(files) if files else None,
        redis_url=redis_url,
        metrics_port=metrics_port,
        timezone=timezone,
        jobs_format="system" if system else None,
    )
    composition.configure_logs(settings, sys.stderr)
    with composition.scheduler(settings) as service:
        return lifecycle.serve(service)


COMMAND = Command(
    name="scheduler",
    function=scheduler,
    summary="Decide what runs when, in a cluster.",
    examples=(
        ("kuber-cron scheduler /app/config", "with KUBER_CRON_REDIS_URL set, as in the image"),
        ("kuber-cron scheduler jobs.d --redis-url redis://localhost:6379/0", "on a machine of one's own"),
    ),
    notes="Every setting is a variable KUBER_CRON_…; flags win. docs/settings.md lists them.",
)
