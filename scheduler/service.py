"""The scheduler as a service: catalog, lease, deciding loop and housekeeping, wired together.

Three threads beside the catalog's and the lease's own: none. The deciding loop asks ``token()`` right before
each batch and sleeps exactly until the next appointment; housekeeping has a connection and a thread of its
own, so that a slow round never delays a decision. Cursors are read from Redis at the start of each term and
after every doubt, and believed in between; the script in Redis has the last word.

What it does *not* guarantee: that a run starts. It guarantees that every instant is decided once and said so.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from redis import Redis
from redis.exceptions import RedisError

from kuber_cron.common.clock import Clock
from kuber_cron.common.errors import FencedError, KuberCronError, RedisUnreachableError, StateLostError
from kuber_cron.common.measures import JobMeasures
from kuber_cron.common.store import Keys, Store, text
from kuber_cron.scheduler import observer, planner
from kuber_cron.scheduler.agenda import Agenda
from kuber_cron.scheduler.catalog import Catalog, Watcher
from kuber_cron.scheduler.dispatch import Dispatcher, Verdict, is_readable
from kuber_cron.scheduler.gaps import Gaps
from kuber_cron.scheduler.housekeeping import ROUND_SECONDS, Housekeeper, Tidied
from kuber_cron.scheduler.metrics import SchedulerMetrics, State
from kuber_cron.scheduler.payloads import Builder
from kuber_cron.scheduler.planner import Boot, Decision, Plan
from kuber_cron.scheduler.server_clock import ServerClock
from kuber_cron.scheduler.terms import Election, Term

log = structlog.get_logger(__name__)

# The longest sleep of the deciding loop; wake-ups come by event, this only bounds what a lost one costs.
_LONGEST_SLEEP_SECONDS = 30.0
# After Redis did not answer, or an instant was ahead of its clock, the loop looks again this soon.
_SOON_SECONDS = 0.25
# /livez fails when a loop has not turned for this long.
STALLED_SECONDS = 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What one scheduler needs to know.

    Attributes:
        boot_token: What ``@reboot`` counts as one boot.
        worker_ttl_seconds: After a worker's silence of this long its runs are given to others.
    """

    keys: Keys
    boot_token: str = "installation"  # noqa: S105 - names a boot, opens nothing
    worker_ttl_seconds: float = 15.0
    signing_key: bytes | None = None


class Scheduler:
    """One replica. ``start`` returns at once; ``stop`` returns when nothing is decided any more."""

    def __init__(
        self,
        options: Options,
        *,
        connect: Callable[[], "Redis"],
        election: Election,
        server_clock: ServerClock,
        watcher: Watcher,
        clock: Clock,
        metrics: SchedulerMetrics,
        measures: JobMeasures,
    ) -> None:
        """``connect`` gives a client without retries of its own and with short time-outs."""
        self._options = options
        self._clock = clock
        self._watcher = watcher
        self._metrics = metrics
        self._measures = measures
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._server_clock = server_clock
        self._lease = election
        decider = Store(connect(), options.keys)
        self._store = decider
        self._dispatcher = Dispatcher(decider, Builder(decider.client, options.signing_key))
        self._tidy_store = Store(connect(), options.keys)
        self._housekeeper = Housekeeper(self._tidy_store, self._server_clock, options.worker_ttl_seconds)
        self._agenda = Agenda()
        self._cursors: dict[str, str] = {}
        self._boot = Boot(options.boot_token, is_new=False)
        self._epoch: int | None = None
        self._catalog_version = 0
        self._turned_at = clock.elapsed()
        self._threads: list[threading.Thread] = []
        metrics.on_scrape(self._fresh_state)

    # --- for the outside -------------------------------------------------------------------------

    def start(self) -> None:
        """Load the jobs if that has not been done, contest the lease, decide while leading."""
        self._lease.start()
        self._watcher.start()
        for target in (self._decide_loop, self._tidy_loop):
            thread = threading.Thread(target=target, name=target.__name__.strip("_"), daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Decide nothing more, then give the lease away. Returns within a few seconds."""
        self._stop.set()
        self._wake.set()
        self._watcher.stop()
        for thread in self._threads:
            thread.join(timeout=5)
        self._lease.stop()

    def wake(self) -> None:
        """Look at the catalog and the agenda now."""
        self._wake.set()

    def term(self) -> Term | None:
        """The term that this replica leads in, None for a standby."""
        return self._lease.token()

    def upcoming(self) -> dict[str, datetime]:
        """Each job's next due instant, as planned."""
        return self._agenda.upcoming()

    def checks(self) -> dict[str, Callable[[], str]]:
        """The health checks by name: ``ok``, or a sentence."""
        return {
            "loop": self._check_loop,
            **self._lease.checks(),
            "config": self._check_config,
        }

    # --- deciding --------------------------------------------------------------------------------

    def _decide_loop(self) -> None:
        while not self._stop.is_set():
            self._turned_at = self._clock.elapsed()
            self._wake.clear()
            try:
                seconds = self._turn()
            except (RedisUnreachableError, RedisError) as error:
                log.warning("redis does not answer: nothing is decided meanwhile", error=str(error))
                self._metrics.update(redis_up=False)
                self._forget_term()
                seconds = _SOON_SECONDS
            except FencedError as error:
                self._metrics.fenced.inc()
                self._lease.give_up(error.message)
                self._forget_term()
                seconds = _SOON_SECONDS
            except StateLostError as error:
                self._metrics.state_lost.inc()
                log.error("redis has lost writes", error=error.message)  # noqa: TRY400 - a verdict, no traceback
                self._lease.give_up(error.message)
                self._forget_term()
                seconds = _SOON_SECONDS
            except Exception:
                # The loop must outlive any single job's trouble; what is not decided stays due.
                log.exception("a turn of the deciding loop failed")
                self._forget_term()
                seconds = 1.0
            self._wake.wait(seconds)

    def _turn(self) -> float:
        """Decide what is due, and tell how many seconds may pass until the next turn."""
        term = self._lease.token()
        if term is None:
            self._forget_term()
            return 1.0
        catalog = self._watcher.current
        if term.epoch != self._epoch:
            self._take_over(term, catalog)
        elif catalog.version != self._catalog_version:
            self._reload(catalog)
        now = self._server_clock.now()
        self._decide(list(self._agenda.due(now)), catalog, term, now)
        if self._boot.is_new:
            self._store.client.set(self._options.keys.own("boot"), self._boot.token)
            self._boot = Boot(self._boot.token, is_new=False)
        next_at = self._agenda.next_at()
        if next_at is None:
            return _LONGEST_SLEEP_SECONDS
        seconds = (next_at - self._server_clock.now()).total_seconds()
        return min(max(seconds, 0.0), _LONGEST_SLEEP_SECONDS)

    def _take_over(self, term: Term, catalog: Catalog) -> None:
        self._cursors = self._dispatcher.cursors()
        for job, cursor in list(self._cursors.items()):
            if not is_readable(cursor):
                log.error("a cursor cannot be read: the job starts anew", job=job, cursor=cursor)
        stored = text(self._store.client.get(self._options.keys.own("boot")))
        self._boot = Boot(self._options.boot_token, is_new=stored != self._options.boot_token)
        self._epoch = term.epoch
        self._reload(catalog)
        self._metrics.update(redis_up=True)
        log.info("deciding", epoch=term.epoch, jobs=len(catalog.entries))

    def _reload(self, catalog: Catalog) -> None:
        """Every job gets an appointment at once; the planner says which are really due."""
        self._catalog_version = catalog.version
        self._agenda.clear()
        now = self._server_clock.now()
        for job in catalog.entries:
            self._agenda.put(job, now)

    def _forget_term(self) -> None:
        self._epoch = None
        self._agenda.clear()

    def _decide(self, due: Iterable[str], catalog: Catalog, term: Term, now: datetime) -> None:
        decisions: list[Decision] = []
        for job in due:
            planned = self._plan(job, catalog, now)
            decisions.extend(planned.decisions)
            self._agenda.put(job, planned.wake_at)
        for verdict in self._dispatcher.apply(decisions, catalog.entries, term):
            self._take_in(verdict, catalog)

    def _plan(self, job: str, catalog: Catalog, now: datetime) -> Plan:
        entry = catalog.entries[job]
        stored = self._cursors.get(job, "")
        readable = stored if is_readable(stored) else ""
        if entry.schedule.kind == "reboot":
            made = planner.plan_reboot(entry, readable, now, self._boot)
        else:
            made = planner.plan(entry, readable, now)
        if stored != readable and made.decisions:
            # The unreadable cursor is replaced by compare-and-set like any other.
            made = Plan((replace(made.decisions[0], believed=stored), *made.decisions[1:]), made.wake_at)
        return made

    def _take_in(self, verdict: Verdict, catalog: Catalog) -> None:
        decision = verdict.decision
        if verdict.applied:
            self._cursors[decision.job] = decision.cursor
            self._announce(verdict, catalog)
            return
        soon = self._server_clock.now() + timedelta(seconds=_SOON_SECONDS)
        self._agenda.put(decision.job, soon)
        if verdict.word == "MOVED":
            self._cursors[decision.job] = verdict.detail
        elif verdict.word == "ERROR":
            log.error("a decision failed", job=decision.job, at=_iso(decision.last), error=verdict.detail)

    def _announce(self, verdict: Verdict, catalog: Catalog) -> None:
        decision = verdict.decision
        if verdict.word == "QUEUED":
            job = catalog.entries[decision.job].job
            lateness = max(0.0, (self._server_clock.now() - decision.due_at).total_seconds())
            self._measures.lateness.labels(job.queue).observe(lateness)
            say = log.debug if job.quiet else log.info
            say("run queued", job=decision.job, run=decision.run, late_seconds=round(lateness, 3))
        elif verdict.word == "SKIPPED":
            log.warning(
                "not queued",
                job=decision.job,
                reason=verdict.detail,
                first=_iso(decision.first),
                last=_iso(decision.last),
                count=decision.count,
            )
        elif verdict.word == "KNOWN":
            log.warning("already queued", job=decision.job, run=verdict.detail)
        else:
            log.debug("cursor moved", job=decision.job, reason=decision.reason, cursor=decision.cursor)

    # --- housekeeping and metrics ----------------------------------------------------------------

    def _tidy_loop(self) -> None:
        observe_from = 0.0
        gaps = Gaps()
        while not self._stop.wait(ROUND_SECONDS):
            term = self._lease.token()
            if term is None:
                continue
            try:
                for tidied in self._housekeeper.round(term):
                    self._tell(tidied)
                entries = self._watcher.current.entries
                self._metrics.update(gaps=gaps.after_a_slice(entries, self._server_clock.now()))
                if self._clock.elapsed() >= observe_from:
                    jobs = list(entries)
                    self._metrics.update(observation=observer.observe(self._tidy_store, jobs), redis_up=True)
                    observe_from = self._clock.elapsed() + observer.OBSERVE_SECONDS
            except RedisError as error:
                self._housekeeper.redis_was_away()
                log.warning("housekeeping rests: redis does not answer", error=str(error))
            except KuberCronError as error:
                log.warning("housekeeping stops", reason=error.message)
            except Exception:
                # One run that cannot be put in order must not keep the others from it.
                log.exception("a round of housekeeping failed")

    def _tell(self, tidied: Tidied) -> None:
        if tidied.what == "retried":
            log.info("retry queued", job=tidied.job, run=tidied.run)
            return
        if tidied.what.startswith("lost"):
            self._measures.attempt_ended(tidied.job, "lost")
        log.warning(
            {
                "lost_again": "the worker was lost: the run is queued again",
                "lost_failed": "the worker was lost: the run has failed for good",
                "returned": "a dead worker's claim is back in its queue",
            }[tidied.what],
            job=tidied.job,
            run=tidied.run,
        )

    def _fresh_state(self, state: State) -> State:
        term = self._lease.token()
        return replace(
            state,
            epoch=term.epoch if term else None,
            catalog=self._watcher.current,
            next_runs={job: at.timestamp() for job, at in self._agenda.upcoming().items()},
            skew_seconds=self._server_clock.skew_seconds(),
            transitions=self._lease.transitions,
            now=self._server_clock.now().timestamp(),
        )

    # --- health ----------------------------------------------------------------------------------

    def _check_loop(self) -> str:
        seconds = self._clock.elapsed() - self._turned_at
        return "ok" if seconds < STALLED_SECONDS else f"the deciding loop has not turned for {seconds:.0f} s"

    def _check_config(self) -> str:
        return "ok" if self._watcher.current.valid else "the job files hold errors: the last good jobs run"


def _iso(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
