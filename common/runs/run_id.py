"""Run ids: ``<job>-<YYYYMMDDTHHMMSSZ>``, and ``-m<8 hexadecimal digits>`` behind it where an operator asked for the run.

Wire format: ids are stored in Redis and typed by people, and the scripts know the same form
(common/redis_store/lua, ``is_manual``). Pure.
"""

import re
from datetime import datetime

from kuber_cron.common import time_format

_SUFFIX = re.compile(r"-\d{8}T\d{6}Z(-m[0-9a-f]{8})?$", re.ASCII)


def run_id(job_id: str, scheduled_at: datetime) -> str:
    """Return the id of the run of one occurrence."""
    return f"{job_id}-{time_format.stamp(scheduled_at)}"


def manual_prefix(job_id: str, scheduled_at: datetime) -> str:
    """Return what the ids of all manual runs of this job and instant begin with."""
    return f"{run_id(job_id, scheduled_at)}-m"


def manual_run_id(job_id: str, scheduled_at: datetime, nonce: str) -> str:
    """Return the id of a manual run; ``nonce``: hexadecimal digits, of which the first eight count."""
    return manual_prefix(job_id, scheduled_at) + nonce[:8]


def job_of_run(run: str) -> str:
    """Return the job's id in a run's id; an id that is not of this form is returned whole."""
    return _SUFFIX.sub("", run)


def is_manual_run(run: str) -> bool:
    """Return True for the id of a manual run, which stands for no occurrence."""
    found = _SUFFIX.search(run)
    return found is not None and found[1] is not None
