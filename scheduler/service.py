"""The scheduler as a service: catalog, election, deciding loop and housekeeping, wired together.

Two threads beside the catalog's and the election's own. The deciding loop sleeps exactly until the next
appointment; housekeeping has a connection and a thread of its own, so that a slow round never delays a decision.
Standbys keep the jobs parsed, and nothing else.

What it does *not* guarantee: that a run starts. It guarantees that every instant is decided once and said so.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from kuber_cron.common import time_format
from kuber_cron.common.clock import Clock
from kuber_cron.common.errors import (
    FencedError,
    KuberCronError,
    RedisUnreachableError,
    StateLostError,
    TermOverError,
)
from kuber_cron.common.notifications.sender import NotificationSender
from kuber_cron.common.observability.job_metrics import JobMetrics
from kuber_cron.common.records.history_limits import HistoryLimits
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.scheduler.decisions.catalog import Catalog, CatalogWatcher
from kuber_cron.scheduler.decisions.decider import SOON_SECONDS, Decider
from kuber_cron.scheduler.decisions.dispatcher import DecisionResult, Dispatcher
from kuber_cron.scheduler.decisions.planner import CatalogEntry
from kuber_cron.scheduler.decisions.removals import REMOVAL_SECONDS, Removals
from kuber_cron.scheduler.decisions.run_hash import RunHashBuilder
from kuber_cron.scheduler.election.election import Election
from kuber_cron.scheduler.election.redis_clock import RedisClock
from kuber_cron.scheduler.election.term import Term
from kuber_cron.scheduler.maintenance import redis_observer
from kuber_cron.scheduler.maintenance.housekeeping import ROUND_SECONDS, Housekeeper, MaintenanceEvent
from kuber_cron.scheduler.maintenance.redis_observer import Observation, RedisObserver
from kuber_cron.scheduler.maintenance.schedule_gaps import ScheduleGaps
from kuber_cron.scheduler.maintenance.success_deadlines import SuccessDeadlines
from kuber_cron.scheduler.manual_runs.request_loop import RequestKeys, RequestLoop
from kuber_cron.scheduler.metrics import SchedulerMetrics, SchedulerState
from kuber_cron.scheduler.notifications import SchedulerNotifications
from kuber_cron.scheduler.status.publisher import StatusPublisher

log = structlog.get_logger(__name__)

# The longest sleep of the deciding loop; wake-ups come by event, this only bounds what a lost one costs.
_LONGEST_SLEEP_SECONDS = 30.0
# A standby looks this often whether it leads; an election that wins says so at once.
_STANDBY_SECONDS = 1.0
_TIDIED = {
    "retried": "retry queued",
    "lost_again": "the worker was lost: the run is queued again",
    "lost_failed": "the worker was lost: the run has failed for good",
    "returned": "a dead worker's claim is back in its queue",
    "removed": "somebody deleted the run: it has ended as removed",
    "opened": "a held run's wait is over",
    "served": "a group has room for a run that waited",
}
# /livez fails when a loop has not turned for this long.
STALLED_SECONDS = 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerOptions:
    """What one scheduler needs to know.

    Attributes:
        boot_token: What ``@reboot`` counts as one boot.
        holder: This replica's identity in elections, for people who look; without one it tells nothing of itself.
        worker_ttl_seconds: After a worker's silence of this long its runs are given to others.
        removal_seconds: After the files have been unchanged for this long, jobs that are not in them are gone.
        bounds: How much of ended runs stays readable.
        accepted_keys: What requests may have been signed with.
    """

    keys: Keys
    boot_token: str = "installation"  # noqa: S105 - names a boot, opens nothing
    holder: str = ""
    worker_ttl_seconds: float = 15.0
    removal_seconds: float = REMOVAL_SECONDS
    signing_key: bytes | None = None
    bounds: HistoryLimits = field(default_factory=HistoryLimits)
    accepted_keys: Sequence[bytes] = ()


class Scheduler:
    """One replica. ``start`` returns at once; ``stop`` returns when nothing is decided any more."""

    def __init__(
        self,
        options: SchedulerOptions,
        *,
        connect: Callable[[], "Redis"],
        election: Election,
        server_clock: RedisClock,
        watcher: CatalogWatcher,
        clock: Clock,
        metrics: SchedulerMetrics,
        measures: JobMetrics,
        messenger: NotificationSender | None = None,
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
        deciding = Store(connect(), options.keys)
        self._dispatcher = Dispatcher(deciding, RunHashBuilder(deciding.client, options.signing_key))
        self._decider = Decider(
            deciding,
            self._dispatcher,
            server_clock,
            boot_token=options.boot_token,
            on_result=self._announce,
            removals=Removals(options.removal_seconds),
        )
        self._tidy_store = Store(connect(), options.keys)
        self._housekeeper = Housekeeper(
            self._tidy_store, self._server_clock, options.worker_ttl_seconds, options.bounds
        )
        self._observer = RedisObserver(self._tidy_store)
        self._teller = SchedulerNotifications(messenger, self._tidy_store)
        self._inbox = RequestLoop(
            connect,
            options.keys,
            RequestKeys(signing_key=options.signing_key, accepted_keys=options.accepted_keys),
            clock=server_clock,
            token=election.valid_term,
            catalog=lambda: watcher.current,
            failed=metrics.loop_errors.inc,
        )
        self._bulletin = StatusPublisher(
            self._tidy_store, options.holder, clock=clock, server_now=server_clock.now
        )
        self._turned_at = clock.elapsed()
        self._is_refused = False  # the last turn of the deciding loop failed by Redis
        self._threads = [_daemon(self._decide_loop), _daemon(self._tidy_loop)]
        self._hearing = _daemon(self._inbox_loop)
        metrics.on_scrape(self._fresh_state)

    # --- for the outside -------------------------------------------------------------------------

    def start(self) -> None:
        """Load the jobs if that has not been done, contest the lease, decide while leading."""
        self._expect_runs()
        self._lease.start()
        self._watcher.start()
        for thread in (*self._threads, self._hearing):
            thread.start()

    def stop(self) -> None:
        """Decide nothing more, then give the lease away. Returns within a few seconds."""
        self._lease.await_quiet_moment()
        self._stop.set()
        self._wake.set()
        self._watcher.stop()
        for thread in self._threads:
            _join(thread)
        self._bulletin.leave()
        self._lease.stop()
        # It listens for a quarter of a second at a time, which no standby has to wait for: it knows of no term any more,
        # and what it is about to decide is fenced like any other decision.
        _join(self._hearing)

    def wake(self) -> None:
        """Look at the catalog and the agenda now."""
        self._expect_runs()
        self._wake.set()

    def _expect_runs(self) -> None:
        self._measures.expect_runs_of({entry.job.queue for entry in self._watcher.current.entries.values()})

    def term(self) -> Term | None:
        """The term that this replica leads in, None for a standby."""
        return self._lease.valid_term()

    def upcoming(self) -> dict[str, datetime]:
        """Each job's next due instant, as planned."""
        return self._decider.upcoming()

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
                self._is_refused = False
            except (RedisUnreachableError, RedisError) as error:
                log.warning("nothing is decided: redis does not answer, or refuses", error=str(error))
                self._is_refused = True
                seconds = self._doubt()
            except TermOverError as error:
                log.info("the rest is left to the next term", reason=error.message)
                seconds = self._doubt()
            except FencedError as error:
                self._metrics.fenced.inc()
                self._lease.step_down(error.message)
                seconds = self._doubt()
            except StateLostError as error:
                log.error("redis has lost writes", error=error.message)  # noqa: TRY400 - a verdict, no traceback
                self._lease.step_down(error.message)
                seconds = self._doubt()
            except Exception:
                # The loop must outlive any single job's trouble; what is not decided stays due.
                log.exception("a turn of the deciding loop failed")
                self._metrics.loop_errors.inc()
                self._decider.forget()
                seconds = 1.0
            self._wake.wait(seconds)

    def _doubt(self) -> float:
        self._decider.forget()
        return SOON_SECONDS

    def _turn(self) -> float:
        """Decide what is due, and tell how many seconds may pass until the next turn."""
        term = self._lease.valid_term()
        if term is None:
            self._decider.forget()
            return _STANDBY_SECONDS
        catalog = self._watcher.current
        if term.epoch != self._decider.epoch and self._decider.begin(term, catalog):
            self._metrics.state_lost.inc()
        settled = self._watcher.settled_seconds()
        seconds = self._decider.turn(term, catalog, settled, lambda: self._leads(term))
        self._lease.decided(self._dispatcher.through)
        return min(seconds, _LONGEST_SLEEP_SECONDS)

    def _leads(self, term: Term) -> bool:
        token = self._lease.valid_term()
        return token is not None and token.epoch == term.epoch

    def _announce(self, verdict: DecisionResult, catalog: Catalog) -> None:
        decision = verdict.decision
        if verdict.word in {"QUEUED", "HELD"}:
            job = catalog.entries[decision.job].job
            lateness = max(0.0, (verdict.answered_at - decision.due_at).total_seconds())
            self._bulletin.decided(verdict.answered_at, lateness)
            self._measures.lateness.labels(job.queue).observe(lateness)
            say = log.debug if job.quiet else log.info
            event = "run queued" if verdict.word == "QUEUED" else "run held"
            say(event, job=decision.job, run=decision.run, late_seconds=round(lateness, 3))
        elif verdict.word == "SKIPPED":
            say = log.info if verdict.detail == "suspended" else log.warning
            say(
                "not queued",
                job=decision.job,
                reason=verdict.detail,
                first=time_format.iso(decision.first, "seconds"),
                last=time_format.iso(decision.last, "seconds"),
                count=decision.count,
            )
        elif verdict.word == "KNOWN":
            log.warning("already queued", job=decision.job, run=verdict.detail)
        else:
            log.debug("cursor moved", job=decision.job, reason=decision.reason, cursor=decision.cursor)

    def _inbox_loop(self) -> None:
        self._inbox.run(self._stop)

    # --- housekeeping and metrics ----------------------------------------------------------------

    def _tidy_loop(self) -> None:
        observe_from, observed_in = 0.0, 0
        gaps, observation, expectations = ScheduleGaps(), Observation(), SuccessDeadlines()
        while not self._stop.wait(ROUND_SECONDS):
            term = self._lease.valid_term()
            self._bulletin.tell(term, self._watcher.current)
            if term is None:
                continue
            if term.epoch != observed_in:
                observe_from, observed_in = 0.0, term.epoch
                observation, expectations = Observation(), SuccessDeadlines()
                self._observer.forget()
            try:
                for tidied in self._housekeeper.round(term):
                    self._tell(tidied, term)
                entries = self._watcher.current.entries
                self._metrics.update(gaps=gaps.after_a_slice(entries, self._server_clock.now()))
                if self._clock.elapsed() >= observe_from:
                    observation = self._observe(term, entries) or observation
                    observe_from = self._clock.elapsed() + redis_observer.OBSERVE_SECONDS
                self._metrics.update(expected=expectations.after_a_slice(entries, observation.jobs))
                self._bulletin.lay_cards(term, self._watcher.current)
            except RedisError as error:
                # Also where it refuses (out of memory, say): heartbeats may have been refused like this call.
                self._housekeeper.redis_was_away()
                log.warning("housekeeping rests: redis does not answer, or refuses", error=str(error))
            except KuberCronError as error:
                log.warning("housekeeping stops", reason=error.message)
            except Exception:
                # One run that cannot be put in order must not keep the others from it.
                log.exception("a round of housekeeping failed")
                self._metrics.loop_errors.inc()

    def _observe(self, term: Term, entries: Mapping[str, CatalogEntry]) -> Observation | None:
        try:
            seen = self._observer.look(entries)
        except ResponseError as error:
            # What cannot be read (WAIT or INFO closed, one key that is not ours) must not keep runs from being reaped.
            log.warning("redis refuses to be observed: its metrics stand still", error=str(error))
            return None
        observation = replace(seen, epoch=term.epoch, at=self._server_clock.now().timestamp())
        self._metrics.update(observation=observation)
        self._teller.observed(observation.missed, term, entries)
        return observation

    def _tell(self, tidied: MaintenanceEvent, term: Term) -> None:
        if tidied.what in {"retried", "opened", "served"}:
            log.info(_TIDIED[tidied.what], job=tidied.job, run=tidied.run)
            return
        if tidied.what.startswith("lost"):
            self._measures.attempt_ended(tidied.job, "lost")
        if tidied.what == "lost_failed" and (entry := self._watcher.current.entries.get(tidied.job)):
            self._teller.lost(tidied.run, entry.job, term, self._clock.now())
        log.warning(_TIDIED[tidied.what], job=tidied.job, run=tidied.run)

    def _fresh_state(self, state: SchedulerState) -> SchedulerState:
        term = self._lease.valid_term()
        return replace(
            state,
            epoch=term.epoch if term else None,
            catalog=self._watcher.current,
            redis_up=not self._is_refused and self._lease.checks()["redis"]() == "ok",
            ahead_seconds=self._decider.ahead_seconds if term else 0.0,  # what it last saw when it led
            next_runs={job: at.timestamp() for job, at in self._decider.upcoming().items()},
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


def _daemon(target: Callable[[], None]) -> threading.Thread:
    return threading.Thread(target=target, name=target.__name__.strip("_"), daemon=True)


def _join(thread: threading.Thread) -> None:
    if thread.is_alive():
        thread.join(timeout=5)
