"""The time zone of a job, from Redis alone."""

from zoneinfo import ZoneInfo

from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs.cursor import Cursor


def zone_of(store: Store, job: str | None) -> ZoneInfo:
    """Return the zone that the job's local times are in, by its cursor; UTC where that names none, or without a job."""
    if job is None:
        return ZoneInfo("UTC")
    try:
        return ZoneInfo(Cursor.from_text(text(store.client.hget(store.keys.cursors, job))).timezone)
    except (ValueError, OverflowError, OSError, KeyError):
        return ZoneInfo("UTC")
