"""Job summaries: what the leader publishes of each job's definition, for readers without its files. Pure.

A summary has what a reader needs beside the cursor: the job's queue, its delay, its life, its predecessors. It holds no
command and no variables. The leader publishes them when it begins to lead and whenever the files change, so a summary may
be a few seconds behind the files. Nothing is decided by it: what *is* decided stands in cursors and decision logs.
"""

import json
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from kuber_cron.common.jobs.options import Catchup, Concurrency
from kuber_cron.common.runs.cursor import Cursor
from kuber_cron.common.schedule.occurrences import Occurrences
from kuber_cron.common.time_format import iso, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSummary:
    """One job as its files have it.

    Attributes:
        schedule: The schedule as it is written, ``@after`` included.
        timed_by: The job whose schedule gives the instants and whose name spreads ``H``: under ``@after`` the first
            predecessor; empty for the job itself.
        delay: Jitter and random delay, in seconds: due = instant + delay.
        queue: Where its runs are pushed to.
        source: The file and line that define it.
    """

    schedule: str
    timezone: str = "UTC"
    timed_by: str = ""
    delay: float = 0.0
    queue: str = "default"
    team: str | None = None
    description: str | None = None
    suspend: bool = False
    concurrency: Concurrency = "allow"
    max_running: int = 1
    group: str | None = None
    after: tuple[str, ...] = ()
    deadline: float | None = None
    catchup: Catchup = "last"
    not_before: datetime | None = None
    not_after: datetime | None = None
    source: str = ""

    def to_text(self) -> str:
        """Return the summary as Redis holds it: JSON, without the defaults."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        values = {name: value for name, value in values.items() if value != _DEFAULTS.get(name, _MISSING)}
        for name in ("not_before", "not_after"):
            if name in values:
                values[name] = iso(values[name])
        return json.dumps(values, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> "JobSummary | None":
        """Return the summary of this text, without fields of newer releases; None where it is unreadable."""
        try:
            values: dict[str, Any] = {
                name: value for name, value in json.loads(text).items() if name in _NAMES
            }
            for name in ("not_before", "not_after"):
                if name in values:
                    values[name] = parse(values[name])
            values["after"], values["delay"] = tuple(values.get("after", ())), float(values.get("delay", 0.0))
            return cls(**values)
        except (ValueError, TypeError, AttributeError):
            return None


def is_suspended(text: str) -> bool:
    """Return True if the summary of this text has the job suspended by its file.

    An optimisation, to count ten thousand of them: within a text of JSON's a quote would have a backslash before it.
    """
    return '"suspend":true' in text


def occurrences_of(job: str, cursor: Cursor, summary: JobSummary | None) -> Occurrences | None:
    """Return the occurrences of a job by the schedule and zone of its cursor, within the life of its summary."""
    if summary is None:
        return Occurrences.of(cursor.schedule, cursor.timezone, job)
    name = summary.timed_by or job
    return Occurrences.of(cursor.schedule, cursor.timezone, name, summary.not_before, summary.not_after)


_MISSING = object()
_NAMES = frozenset(each.name for each in fields(JobSummary))
_DEFAULTS = {each.name: each.default for each in fields(JobSummary) if each.name != "schedule"}
