"""The limits of what stays in Redis of decisions and ended runs. Pure."""

from dataclasses import dataclass

DAY_SECONDS = 86400

LOG_LIMIT = 500
"""Entries of each job's decision log; the older ones are trimmed by Redis itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLimits:
    """The limits of the ended runs that stay readable: their hash, their results with head and tail of the output.

    Attributes:
        runs: Of each job.
        seconds: After its end, for any run.
        size: Bytes of Redis for each job's ended runs; its newest one stays whatever its size.
    """

    runs: int = 100
    seconds: int = 30 * DAY_SECONDS
    size: int = 4 * 1024 * 1024
