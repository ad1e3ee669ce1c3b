"""Kuber-Cron: the cron that never loses a run, never doubles one, and can always say why."""

__version__ = "0.1.0"
