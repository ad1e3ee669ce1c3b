"""Sources that hold nothing any more: an absence is no statement.

A mount that failed, a share that is away, a file that was cut to zero bytes look like "no jobs". So a source (a path of
``KUBER_CRON_JOBS``) that had content and is blank, or many jobs that are none, are doubted: the last good jobs stay for a
time that a setting names, and no job is forgotten. A file with content is believed, be it a comment, unless many jobs have
gone from all files at once; a marker, the file ``.no-jobs`` in a directory, says that this is meant.

A scheduler that starts has no last good jobs. It decides for those that it finds, and forgets no job for as long.
What is *not* doubted: a source from which some files are gone and some are left.
"""

from collections.abc import Sequence
from pathlib import Path

from kuber_cron.common.formats import loader

MARKER = ".no-jobs"
MANY_JOBS = 10
DOUBT_SECONDS = 3600.0


class EmptiedSources:
    """The doubt about one catalog's sources. Owned by the thread that loads them."""

    def __init__(self, paths: Sequence[Path], doubt_seconds: float) -> None:
        """``doubt_seconds``: for how long what is gone is doubted; 0 believes it at once."""
        self._paths = frozenset(paths)
        self._doubt_seconds = doubt_seconds
        self._held: frozenset[Path] = frozenset()  # the sources that had content when they were last believed
        self._jobs = 0  # of the load that was last believed
        self._doubted_since: float | None = None
        self._missing_at_start: frozenset[Path] = frozenset()
        self._started_at: float | None = None  # None: nothing has been loaded yet

    def doubt(self, jobs: int, now: float) -> str:
        """Return why a load of so many jobs is doubted, as a sentence; empty where it is to be believed."""
        is_marked = any((path / MARKER).exists() for path in self._paths)
        blank = frozenset() if is_marked else frozenset(filter(loader.is_blank, self._paths))
        if self._started_at is None:
            self._started_at = now
            self._missing_at_start = self._paths if not jobs and not is_marked else blank
        else:
            self._missing_at_start = (
                blank & self._missing_at_start if jobs or is_marked else self._missing_at_start
            )
            reason = self._reason(jobs, blank, is_marked=is_marked)
            if reason and self._doubted_since is None:
                self._doubted_since = now
            if reason and self.is_doubted(now):
                return reason
        self._held = self._paths - blank
        self._jobs = jobs
        self._doubted_since = None
        return ""

    def _reason(self, jobs: int, blank: frozenset[Path], *, is_marked: bool) -> str:
        if gone := blank & self._held:
            return f"{min(gone)} holds nothing any more"
        if not jobs and self._jobs >= MANY_JOBS and not is_marked:
            return f"of {self._jobs} jobs the files hold none any more"
        return ""

    def is_doubted(self, now: float) -> bool:
        """Return True while no job may be forgotten, because what is gone may only be away."""
        since = self._doubted_since
        if since is None and self._missing_at_start:
            since = self._started_at
        return since is not None and now - since < self._doubt_seconds
