"""The catalog: the jobs of this replica's files, reloaded when their content changes.

A broken file never replaces the last good jobs: where anything in the sources is in error, the jobs as last
loaded stay, whole, and the errors are logged with file and line. The same where a source holds nothing any more
(``emptied_sources``), for a time that a setting names. Only at the first load, when there is
nothing to keep, the good jobs of a broken file run (one bad line never hides another, spec: cron.md §2).
What this module does *not* know: if this replica leads. Standbys keep the jobs parsed as well.
"""

import gc
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import structlog

from kuber_cron.common.clock import Clock
from kuber_cron.common.diagnostics import Diagnostic
from kuber_cron.common.formats import loader
from kuber_cron.common.jobs.job import Job, delay_of, timing_job
from kuber_cron.common.schedule import Schedule, timezones
from kuber_cron.scheduler.decisions import dependencies, planner
from kuber_cron.scheduler.decisions.dependencies import Dependencies
from kuber_cron.scheduler.decisions.emptied_sources import DOUBT_SECONDS, MARKER, EmptiedSources
from kuber_cron.scheduler.decisions.planner import CatalogEntry

log = structlog.get_logger(__name__)

# A ConfigMap's swap of ``..data`` is seen by content; kubelet itself takes up to a minute to make it.
POLL_SECONDS = 1.0
# Files in error are read again this often, unchanged or not: what failed may have been the reading.
AGAIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Catalog:
    """One good load of the sources.

    Attributes:
        entries: Jobs by id, in file order.
        version: Counts the loads that took effect; 0 is "nothing loaded yet".
        valid: False while the files as they are now hold an error, or nothing any more.
        loaded_at: When these jobs were loaded, aware UTC.
        diagnostics: Everything found at the newest load, also where it did not take effect.
    """

    entries: dict[str, CatalogEntry]
    version: int
    valid: bool
    loaded_at: datetime
    diagnostics: tuple[Diagnostic, ...]


def compile_entries(
    jobs: Sequence[Job], before: Mapping[str, CatalogEntry] | None = None
) -> dict[str, CatalogEntry]:
    """Return the jobs ready for planning. ``@after`` takes the schedule of its first predecessor, followed to its start.

    The jobs are as the parsers give them: schedules are valid and predecessors exist, without a cycle. An entry of
    ``before`` is taken over, the same object, where the job is the same object and all else is as it was.
    """
    by_id = {job.id: job for job in jobs}
    related = _related(by_id)
    before = before or {}
    entries = {}
    for job in jobs:
        relations_now = related.get(job.id)
        known = before.get(job.id)
        if known is not None and known.job is job and _is_unchanged(known, relations_now):
            entries[job.id] = known
            continue
        timed = timing_job(job, by_id.get)
        schedule = Schedule.parse(timed.schedule, timed.timezone, timed.id)
        is_spread = "H" in timed.schedule or "~" in timed.schedule
        spread_by = timed.id if is_spread and timed.id != job.id else ""
        entries[job.id] = planner.entry(job, schedule, relations_now, spread_by=spread_by)
    return entries


def _related(jobs: Mapping[str, Job]) -> dict[str, Dependencies]:
    """Return the relations of those jobs that have any."""
    chained = {name for job in jobs.values() if job.after for name in (job.id, *job.after)}
    grouped = {job.id for job in jobs.values() if job.group is not None}
    those = {name: jobs[name] for name in chained | grouped if name in jobs}
    return dependencies.of(those, {name: delay_of(job) for name, job in those.items()})


def _is_unchanged(known: CatalogEntry, relations_now: Dependencies | None) -> bool:
    """Return True if a job that is the same has the same relations, and a schedule of its own in the same zone."""
    if not known.schedule.is_current or known.job.schedule == "@after":
        return False
    return known.relations.is_alone if relations_now is None else known.relations == relations_now


@contextmanager
def _no_collection() -> Iterator[None]:
    """Pause Python's garbage collection: among 100,000 jobs that come to stay it would run again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class CatalogWatcher:
    """Keeps ``current`` equal to the files, polled once a second; calls ``on_change`` after each new load."""

    def __init__(
        self,
        paths: Sequence[str | Path],
        *,
        clock: Clock,
        system: bool = False,
        timezone: str = "UTC",
        empty_seconds: float = DOUBT_SECONDS,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """``empty_seconds``: for how long sources that hold nothing any more are not believed."""
        self._paths = [Path(path) for path in paths]
        self._clock = clock
        self._system = system
        self._timezone = timezone
        self._on_change = on_change
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._memory = loader.FileCache()
        self._emptied = EmptiedSources(self._paths, empty_seconds)
        self._empty_seconds = empty_seconds
        self._fingerprint = ""
        self._changed_at = clock.elapsed()
        self.current = Catalog({}, 0, True, clock.now(), ())

    def settled_seconds(self) -> float:
        """Return how long the files have been as they are now; 0 while they hold an error, or are doubted to be empty."""
        now = self._clock.elapsed()
        return now - self._changed_at if self.current.valid and not self._emptied.is_doubted(now) else 0.0

    def load(self) -> Catalog:
        """Load the files now; return the catalog in force afterwards.

        Raises:
            KuberCronError: A path does not exist, at the first load; later that is an error in the files.
        """
        with _no_collection():
            return self._load()

    def _load(self) -> Catalog:
        self._fingerprint = loader.fingerprint(self._paths, self._memory)
        self._changed_at = self._clock.elapsed()
        timezones.refresh()  # a new tz database can move future runs (spec: cron.md §1.10)
        loaded = loader.load(self._paths, system=self._system, timezone=self._timezone, cache=self._memory)
        errors = [d for d in loaded.diagnostics if d.severity == "error"]
        before = self.current
        if errors and before.version:
            self.current = replace(before, valid=False, diagnostics=tuple(loaded.diagnostics))
            for error in errors:
                log.error("configuration not taken over: the last good jobs stay", problem=str(error))
            return self.current
        if doubt := self._emptied.doubt(len(loaded.jobs), self._changed_at):
            return self._keep(doubt)
        for diagnostic in loaded.diagnostics:
            write = log.error if diagnostic.severity == "error" else log.warning
            write("problem in the configuration", problem=str(diagnostic), hint=diagnostic.hint)
        self.current = Catalog(
            compile_entries(loaded.jobs, before.entries),
            before.version + 1,
            not errors,
            self._clock.now(),
            tuple(loaded.diagnostics),
        )
        if self._emptied.is_doubted(self._changed_at):
            log.warning(
                "a source of jobs holds nothing: no job is forgotten for now", seconds=self._empty_seconds
            )
        log.info("jobs loaded", jobs=len(loaded.jobs), version=self.current.version)
        return self.current

    def _keep(self, doubt: str) -> Catalog:
        """Keep the last good jobs, because the sources may only be away; return them as the catalog."""
        problem = Diagnostic(
            source=", ".join(map(str, self._paths)),
            line=1,
            code="KC117",
            message=f"{doubt}: the last good {len(self.current.entries)} jobs stay for {self._empty_seconds:g} s",
            hint=f"is it meant? Then put a file {MARKER} beside the job files, or set KUBER_CRON_EMPTY_JOBS_SECONDS=0",
        )
        log.warning(
            "configuration not taken over: the last good jobs stay", problem=str(problem), hint=problem.hint
        )
        self.current = replace(self.current, valid=False, diagnostics=(problem,))
        return self.current

    def start(self) -> None:
        """Watch in a thread until ``stop``."""
        self._thread = threading.Thread(target=self._watch, name="catalog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _watch(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self.reload_if_changed()

    def reload_if_changed(self) -> None:
        """Load what has changed, and again what could not be loaded a minute ago."""
        version = self.current.version
        try:
            is_due = not self.current.valid and self._clock.elapsed() - self._changed_at >= AGAIN_SECONDS
            if not is_due and loader.fingerprint(self._paths, self._memory) == self._fingerprint:
                return
            self.load()
        except Exception:
            # The watch must outlive whatever a file system does; the last good jobs stay in force.
            self.current = replace(self.current, valid=False)
            log.exception("reading the configuration failed: the last good jobs stay")
        if self.current.version != version:
            self._on_change()
