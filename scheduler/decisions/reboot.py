"""``@reboot`` jobs: one run a boot (spec: cron.md §1.9). Pure."""

from dataclasses import dataclass
from datetime import datetime

from kuber_cron.common.records.skip_reason import SkipReason
from kuber_cron.common.runs.cursor import Cursor
from kuber_cron.scheduler.decisions import planner
from kuber_cron.scheduler.decisions.planner import CatalogEntry, Plan

REBOOT = "@reboot"


@dataclass(frozen=True, slots=True)
class Boot:
    """The boot that ``@reboot`` counts by (spec: cron.md §1.9).

    Attributes:
        token: Names the boot: constant for an installation, the machine's own boot under ``run``.
        is_new: No leader has completed this boot yet.
    """

    token: str
    is_new: bool


def plan_reboot(entry: CatalogEntry, stored: str, now: datetime, boot: Boot) -> Plan:
    """Return what becomes of an ``@reboot`` job: one run per boot, and none for a job that came later."""
    cursor = Cursor(now.replace(microsecond=0), boot.token, REBOOT)
    if stored and Cursor.from_text(stored).timezone == boot.token:
        return Plan((), None)
    if not boot.is_new:
        return Plan((planner.move(entry, stored, cursor, "first seen"),), None)
    reason = SkipReason.SUSPENDED if entry.job.suspend else ""
    return Plan((planner.decision_of(entry, cursor, stored, ([cursor.at], reason)),), None)
