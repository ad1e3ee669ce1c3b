"""``kuber-cron worker``: one worker, for a cluster."""

import os
import sys
from typing import Annotated

import typer

from kuber_cron.cli import options
from kuber_cron.cli.command import Command
from kuber_cron.cli.process import lifecycle


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
    from kuber_cron.cli.process import composition
    from kuber_cron.common.config.settings import Settings

    settings = Settings.load(
        os.environ,
        worker_queues=queues,
        worker_slots=slots,
        redis_url=redis_url,
        metrics_port=metrics_port,
        grace_seconds=grace,
    )
    composition.configure_logs(settings, sys.stderr)
    with composition.worker(settings) as service:
        return lifecycle.serve(service)


COMMAND = Command(
    name="worker",
    function=worker,
    summary="Run what the scheduler has queued, in a cluster.",
    examples=(
        ("kuber-cron worker", "with KUBER_CRON_REDIS_URL set, as in the image"),
        ("kuber-cron worker --queues default,batch --slots 16", "two queues, sixteen commands at once"),
    ),
    notes="Every setting is a variable KUBER_CRON_…; flags win. docs/settings.md lists them.",
)
