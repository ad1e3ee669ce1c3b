"""Retention: which of a job's old log files go (by count, age and size), and their going.

Each job has its directory and its own quota, so a job that runs each minute never pushes out the logs of one that
runs each month. The newest file of a job always stays, and so does one that is still being written.
"""

import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kuber_cron.common.clock import Clock

_SUFFIX = ".log"
_SLACK = 10  # a directory is looked through after a tenth of its quota in new files, not at each run


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """A job's quota; None is no limit of that kind.

    Attributes:
        max_files: So many files.
        max_age_seconds: Since a file was last written.
        max_bytes: All files together.
    """

    max_files: int | None = 100
    max_age_seconds: float | None = 30 * 86400.0
    max_bytes: int | None = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One log file: its path, its size in bytes, and when it was last written (seconds since 1970)."""

    path: Path
    size: int
    written_at: float


def surplus(
    entries: Sequence[Entry], retention: Retention, *, now: float, in_use: Collection[Path] = ()
) -> list[Entry]:
    """What has to go, oldest first. Pure.

    The newest file and those in use stay whatever their size and age, and count towards the quota.
    """
    newest_first = sorted(entries, key=lambda entry: (entry.written_at, entry.path), reverse=True)
    gone, kept_files, kept_bytes, is_full = [], 0, 0, False
    for number, entry in enumerate(newest_first):
        # Once one does not fit, nothing older stays: a log with holes would mislead.
        is_full = is_full or not (
            _within(kept_files + 1, retention.max_files)
            and _within(kept_bytes + entry.size, retention.max_bytes)
            and _within(now - entry.written_at, retention.max_age_seconds)
        )
        if number == 0 or entry.path in in_use or not is_full:
            kept_files += 1
            kept_bytes += entry.size
        else:
            gone.append(entry)
    return gone[::-1]


def _within(value: float, limit: float | None) -> bool:
    return limit is None or value <= limit


def entries(directory: Path) -> list[Entry]:
    """The log files of one job's directory; none where it cannot be read."""
    found = []
    with suppress(OSError), os.scandir(directory) as files:
        for file in files:
            if file.name.endswith(_SUFFIX):
                with suppress(OSError):  # deleted meanwhile
                    stat = file.stat(follow_symlinks=False)
                    found.append(Entry(path=Path(file.path), size=stat.st_size, written_at=stat.st_mtime))
    return found


class Pruner:
    """Keeps each job's directory within its quota, give or take a tenth; for one thread."""

    def __init__(self, retention: Retention, clock: Clock) -> None:
        self._retention = retention
        self._clock = clock
        self._every = max(1, (retention.max_files or 100) // _SLACK)
        self._since: dict[Path, int] = {}

    def ended(self, log_path: Path, in_use: Collection[Path] = ()) -> int:
        """One more log file is complete; how many old ones of its job were deleted for it.

        Never raises: what cannot be deleted now is tried again later.
        """
        directory = log_path.parent
        runs = self._since.get(directory, self._every) + 1
        if runs <= self._every:
            self._since[directory] = runs
            return 0
        self._since[directory] = 0
        now = self._clock.now().timestamp()
        gone = surplus(entries(directory), self._retention, now=now, in_use=in_use)
        deleted = 0
        for entry in gone:
            with suppress(OSError):
                entry.path.unlink()
                deleted += 1
        return deleted
