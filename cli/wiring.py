"""From settings to services: the one place where the command line knows how a tier is put together."""

from pathlib import Path
from typing import Protocol, TextIO

from kuber_cron.cli.live import Snapshot
from kuber_cron.cli.serving import Service
from kuber_cron.common.errors import KuberCronError
from kuber_cron.common.settings import Settings


class Observable(Service, Protocol):
    """A service that can be looked at while it runs."""

    def snapshot(self) -> Snapshot:
        """Return its state now; quick, and callable from any thread, also before `start`."""


def configure_logs(settings: Settings, stream: TextIO) -> None:
    """Log lines go to `stream`, in the format and from the level that the settings name."""
    from kuber_cron.common import logs

    logs.configure(settings.log_format, settings.log_level, stream)


def everything(settings: Settings, data_dir: Path) -> Observable:
    """Return Redis (unless a URL names one), scheduler and worker as one service."""
    raise KuberCronError("run is not wired yet")


def scheduler(settings: Settings) -> Service:
    """Return a scheduler as a service."""
    raise KuberCronError("scheduler is not wired yet")


def worker(settings: Settings) -> Service:
    """Return a worker as a service."""
    raise KuberCronError("worker is not wired yet")
