"""Log retention: which of a job's old log files are deleted, by count, age and size.

Each job has its directory and its own quota, so a job that runs each minute never pushes out the logs of one that
runs each month. The newest file of a job always stays, and so does one that is still being written here. Files that
are not named as ours are never deleted.

What it does *not* see: what other workers write on the same volume. A command that has been silent for longer than
its job's quota lasts may lose its file there, never its outcome.
"""

import os
import re
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

import structlog

from kuber_cron.common.clock import Clock
from kuber_cron.worker.metrics import WorkerMetrics
from kuber_cron.worker.output.capture import Captured

log = structlog.get_logger(__name__)

# As common.runs.log_path makes them. A LOG_DIR may hold files of others, which are left alone.
_OURS = re.compile(r"(\d{8}T\d{6}Z(-\w+)?|m[0-9a-f]{8})-\d+\.log", re.ASCII)
_SLACK = 10  # a directory is read after a tenth of its quota in new files, not at each run,
_READ_SECONDS = 3600.0  # and where runs are rare, at the first one after an hour
_SWEEP_SECONDS = 86400.0  # jobs that do not run any more: their files grow old too
_FIRST_SWEEP_SECONDS = 60.0
_SWEEP_PAUSE_SECONDS = (
    0.05  # between two directories of a sweep: ten thousand take some minutes and little CPU
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRetention:
    """A job's quota; None is no limit of that kind.

    Attributes:
        max_files: At most this many files.
        max_age_seconds: At most this long since a file was last written.
        max_bytes: At most this much in all files together.
    """

    max_files: int | None = 100
    max_age_seconds: float | None = 30 * 86400.0
    max_bytes: int | None = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFileEntry:
    """One log file of a job's directory: its size in bytes, and when it was last written (seconds since 1970)."""

    directory: Path
    name: str
    size: int
    written_at: float

    @property
    def path(self) -> Path:
        """Its path. Made on demand, because of a hundred files few are asked for theirs."""
        return self.directory / self.name


def surplus(
    entries: Sequence[LogFileEntry], retention: LogRetention, *, now: float, in_use: Collection[Path] = ()
) -> list[LogFileEntry]:
    """Return the files that have to be deleted, oldest first. Pure.

    The newest file and those in use stay whatever their size and age, and count towards the quota.
    """
    newest_first = sorted(entries, key=lambda entry: (entry.written_at, entry.name), reverse=True)
    gone, kept_files, kept_bytes, is_full = [], 0, 0, False
    for number, entry in enumerate(newest_first):
        # Once one does not fit, nothing older stays: a log with holes would mislead.
        is_full = is_full or not (
            _within(kept_files + 1, retention.max_files)
            and _within(kept_bytes + entry.size, retention.max_bytes)
            and _within(now - entry.written_at, retention.max_age_seconds)
        )
        if number == 0 or not is_full or entry.path in in_use:
            kept_files += 1
            kept_bytes += entry.size
        else:
            gone.append(entry)
    return gone[::-1]


def _within(value: float, limit: float | None) -> bool:
    return limit is None or value <= limit


def entries(directory: Path) -> list[LogFileEntry]:
    """Return the log files of one job's directory; none where it cannot be read."""
    found = []
    with suppress(OSError), os.scandir(directory) as files:
        for file in files:
            if _OURS.fullmatch(file.name):
                with suppress(OSError):  # deleted meanwhile
                    stat = file.stat(follow_symlinks=False)
                    found.append(
                        LogFileEntry(
                            directory=directory, name=file.name, size=stat.st_size, written_at=stat.st_mtime
                        )
                    )
    return found


@dataclass(slots=True)
class _Since:
    """New files of a directory since it was last read."""

    read_at: float
    files: int = 0
    bytes: int = 0


class Pruner:
    """Keeps each job's directory within its quota, give or take a tenth; for one thread."""

    def __init__(self, retention: LogRetention, clock: Clock) -> None:
        self._retention = retention
        self._clock = clock
        self._files = max(1, (retention.max_files or 100) // _SLACK)
        self._bytes = max(1, (retention.max_bytes or 2**63) // _SLACK)
        self._since: dict[Path, _Since] = {}

    def ended(self, log_path: Path, size: int = 0, in_use: Collection[Path] = ()) -> list[LogFileEntry]:
        """Count a complete log file of ``size`` bytes; return the old ones of its job that were deleted for it.

        Never raises: what cannot be deleted now is tried again later.
        """
        directory = log_path.parent
        since = self._since.get(directory)
        if since is not None:
            since.files += 1
            since.bytes += size
            is_due = (
                since.files >= self._files
                or since.bytes >= self._bytes
                or self._clock.elapsed() - since.read_at >= _READ_SECONDS
            )
            if not is_due:
                return []
        return self.prune(directory, in_use)

    def prune(self, directory: Path, in_use: Collection[Path] = ()) -> list[LogFileEntry]:
        """Bring the directory within its quota; return the files that were deleted. Never raises."""
        self._since[directory] = _Since(self._clock.elapsed())
        deleted = []
        now = self._clock.now().timestamp()
        for entry in surplus(entries(directory), self._retention, now=now, in_use=in_use):
            with suppress(OSError):
                entry.path.unlink()
                deleted.append(entry)
        return deleted


class Trimmer:
    """Counts what is missing in log files, and keeps all directories within their quotas, in a thread of its own.

    A disk that hangs holds up this thread and no run.
    """

    def __init__(
        self,
        retention: LogRetention,
        log_dir: Path | None,
        *,
        clock: Clock,
        metrics: WorkerMetrics,
        in_use: Callable[[], Collection[Path]],
    ) -> None:
        """``in_use``: returns the files that are being written now; called in this thread."""
        self._pruner = Pruner(retention, clock)
        self._log_dir = log_dir
        self._clock = clock
        self._metrics = metrics
        self._in_use = in_use
        self._complete: SimpleQueue[Captured | None] = SimpleQueue()
        self._sweep: Iterator[Path] = iter(())
        self._sweep_at = clock.elapsed() + _FIRST_SWEEP_SECONDS
        self._thread = threading.Thread(target=self._run, name="worker-trimmer", daemon=True)

    def start(self) -> None:
        """Start its thread."""
        self._thread.start()

    def ended(self, captured: Captured) -> None:
        """Take an attempt's complete output. Returns at once."""
        self._complete.put(captured)

    def finish(self, timeout_seconds: float) -> None:
        """Do what is in the queue, as far as the disk lets it within the time, and end the thread."""
        self._complete.put(None)
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while True:
            try:
                captured = self._complete.get(timeout=self._wait_seconds())
                if captured is None:
                    return
                self._count(captured)
            except Empty:
                self._go_on_sweeping()
            except Exception:
                # Old logs are no reason for anything to stop.
                self._metrics.errors.inc()
                log.exception("trimming log files failed")

    def _count(self, captured: Captured) -> None:
        """Count what is missing, then make room for what is there."""
        for reason, missing in (
            ("disk", captured.refused_bytes),
            ("limit", captured.dropped_bytes - captured.refused_bytes),
        ):
            if missing > 0:
                self._metrics.log_dropped.labels(reason).inc(missing)
        if captured.log_path is not None:
            size = captured.total_bytes - captured.dropped_bytes
            self._trimmed(self._pruner.ended(captured.log_path, size, self._in_use()))

    def _wait_seconds(self) -> float:
        return (
            _SWEEP_PAUSE_SECONDS if self._sweep_at < 0 else max(0.0, self._sweep_at - self._clock.elapsed())
        )

    def _go_on_sweeping(self) -> None:
        """Read one more directory; after the last one pause for a day."""
        if self._sweep_at >= 0:
            self._sweep_at = -1.0  # under way
            self._sweep = directories(self._log_dir)
        directory = next(self._sweep, None)
        if directory is None:
            self._sweep_at = self._clock.elapsed() + _SWEEP_SECONDS
        else:
            self._trimmed(self._pruner.prune(directory, self._in_use()))

    def _trimmed(self, gone: Sequence[LogFileEntry]) -> None:
        if gone:
            self._metrics.log_trimmed.inc(len(gone))
            log.debug("old log files deleted", directory=str(gone[0].directory), files=len(gone))


def directories(log_dir: Path | None) -> Iterator[Path]:
    """Yield the jobs' directories; none where there is no log directory."""
    if log_dir is None:
        return
    with suppress(OSError), os.scandir(log_dir) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)
