"""The public name of the crontab reader (docs/architecture.md, Public seams)."""

from kuber_cron.common.formats.crontab import parse

__all__ = ["parse"]
