"""Cron expressions, time zones and occurrences: when a job is due. Pure."""

from kuber_cron.common.schedule.errors import ScheduleError
from kuber_cron.common.schedule.schedule import Schedule

__all__ = ["Schedule", "ScheduleError"]
