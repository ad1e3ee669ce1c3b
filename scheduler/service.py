"""The scheduler as a service: catalog, election, deciding loop, maintenance and requests, wired together.

Three threads beside the catalog's and the election's own: one decides, one maintains, one takes requests for manual runs,
so that none delays another. Standbys keep the jobs parsed, and nothing else.

What it does *not* guarantee: that a run starts. It guarantees that every occurrence is decided once, and logged.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from redis import Redis

from kuber_cron.common.clock import Clock
from kuber_cron.common.notifications.sender import NotificationSender
from kuber_cron.common.records.history_limits import HistoryLimits
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.common.redis_store.redis_clock import RedisClock
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.scheduler.decision_loop import DecisionLoop, ResultRecorder
from kuber_cron.scheduler.decisions.catalog import CatalogWatcher
from kuber_cron.scheduler.decisions.decider import Decider
from kuber_cron.scheduler.decisions.dispatcher import Dispatcher
from kuber_cron.scheduler.decisions.removals import REMOVAL_SECONDS, Removals
from kuber_cron.scheduler.decisions.run_hash import RunHashBuilder
from kuber_cron.scheduler.election.election import Election
from kuber_cron.scheduler.election.term import Term
from kuber_cron.scheduler.maintenance.housekeeping import Housekeeper
from kuber_cron.scheduler.maintenance.redis_observer import RedisObserver
from kuber_cron.scheduler.maintenance_loop import MaintenanceLoop
from kuber_cron.scheduler.manual_runs.request_loop import RequestKeys, RequestLoop
from kuber_cron.scheduler.metrics import SchedulerMetrics, SchedulerState
from kuber_cron.scheduler.notifications import SchedulerNotifications
from kuber_cron.scheduler.status.publisher import StatusPublisher


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerOptions:
    """The options of one scheduler.

    Attributes:
        boot_token: The boot that ``@reboot`` counts by.
        holder: This replica's identity in elections; without one it publishes nothing of itself.
        worker_ttl_seconds: After a worker's silence of this long its runs are given to others.
        removal_seconds: After the files have been unchanged for this long, jobs that are not in them are gone.
        limits: How much of ended runs stays readable.
        accepted_keys: The keys that may have signed a request.
    """

    keys: Keys
    boot_token: str = "installation"  # noqa: S105 - names a boot, opens nothing
    holder: str = ""
    worker_ttl_seconds: float = 15.0
    removal_seconds: float = REMOVAL_SECONDS
    signing_key: bytes | None = None
    limits: HistoryLimits = field(default_factory=HistoryLimits)
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
        sender: NotificationSender | None = None,
    ) -> None:
        """``connect`` gives a client without retries of its own and with short time-outs."""
        self._watcher = watcher
        self._metrics = metrics
        self._server_clock = server_clock
        self._election = election
        self._stop = threading.Event()
        deciding = Store(connect(), options.keys)
        maintaining = Store(connect(), options.keys)
        self._status = StatusPublisher(
            maintaining,
            options.holder,
            clock=clock,
            server_now=server_clock.now,
            elected_by=election.elected_by,
        )
        dispatcher = Dispatcher(deciding, RunHashBuilder(deciding.client, options.signing_key))
        decider = Decider(
            deciding,
            dispatcher,
            server_clock,
            boot_token=options.boot_token,
            on_result=ResultRecorder(metrics, self._status),
            removals=Removals(options.removal_seconds),
        )
        self._deciding = DecisionLoop(
            decider, dispatcher, election=election, watcher=watcher, clock=clock, metrics=metrics
        )
        self._maintenance = MaintenanceLoop(
            Housekeeper(maintaining, server_clock, options.worker_ttl_seconds, options.limits),
            RedisObserver(maintaining),
            SchedulerNotifications(sender, maintaining),
            self._status,
            election=election,
            watcher=watcher,
            server_clock=server_clock,
            metrics=metrics,
        )
        self._request_loop = RequestLoop(
            connect,
            options.keys,
            RequestKeys(signing_key=options.signing_key, accepted_keys=options.accepted_keys),
            clock=server_clock,
            term=election.valid_term,
            catalog=lambda: watcher.current,
            failed=metrics.loop_errors.inc,
        )
        self._loops = [
            self._thread("decide", self._deciding.run),
            self._thread("maintain", self._maintenance.run),
        ]
        self._requests = self._thread("requests", self._request_loop.run)
        metrics.on_scrape(self._fresh_state)

    def _thread(self, name: str, run: Callable[[threading.Event], None]) -> threading.Thread:
        return threading.Thread(target=run, args=(self._stop,), name=name, daemon=True)

    # --- for the outside -------------------------------------------------------------------------

    def start(self) -> None:
        """Load the jobs if that has not been done, contest the lease, decide while leading."""
        self._expect_runs()
        self._election.start()
        self._watcher.start()
        for thread in (*self._loops, self._requests):
            thread.start()

    def stop(self) -> None:
        """Decide nothing more, then release the lease. Returns within a few seconds."""
        self._election.await_quiet_moment()
        self._stop.set()
        self._deciding.wake()
        self._watcher.stop()
        for thread in self._loops:
            _join(thread)
        self._status.withdraw()
        self._election.stop()
        # It listens for a quarter of a second at a time, which no standby has to wait for: it has no term any more,
        # and what it is about to decide is fenced like any other decision.
        _join(self._requests)

    def wake(self) -> None:
        """Take in the catalog, and decide what is due, now."""
        self._expect_runs()
        self._deciding.wake()

    def _expect_runs(self) -> None:
        queues = {entry.job.queue for entry in self._watcher.current.entries.values()}
        self._metrics.jobs.expect_runs_of(queues)

    def term(self) -> Term | None:
        """Return the term that this replica leads in, None for a standby."""
        return self._election.valid_term()

    def upcoming(self) -> dict[str, datetime]:
        """Return each job's next due instant, as planned."""
        return self._deciding.upcoming()

    def _fresh_state(self, state: SchedulerState) -> SchedulerState:
        term = self._election.valid_term()
        is_reachable = self._election.checks()["redis"]() == "ok"
        return replace(
            state,
            epoch=term.epoch if term else None,
            catalog=self._watcher.current,
            redis_up=is_reachable and not self._deciding.is_refused,
            ahead_seconds=self._deciding.ahead_seconds(),
            next_runs={job: at.timestamp() for job, at in self._deciding.upcoming().items()},
            skew_seconds=self._server_clock.skew_seconds(),
            transitions=self._election.transitions,
            now=self._server_clock.now().timestamp(),
        )

    # --- health ----------------------------------------------------------------------------------

    def checks(self) -> dict[str, Callable[[], str]]:
        """Return the health checks by name: each returns ``ok``, or a sentence."""
        return {"loop": self._check_loops, **self._election.checks(), "config": self._check_config}

    def failing_seconds(self) -> float:
        """Return for how long every call of Redis has failed, of the deciding loop or of the election."""
        return max(self._deciding.failing_seconds(), self._election.redis_silent_seconds())

    def _check_loops(self) -> str:
        found = [loop.check() for loop in (self._deciding, self._maintenance, self._request_loop)]
        return next((each for each in found if each != "ok"), "ok")

    def _check_config(self) -> str:
        return (
            "ok"
            if self._watcher.current.valid
            else "the job files hold errors, or nothing any more: the last good jobs run"
        )


def _join(thread: threading.Thread) -> None:
    if thread.is_alive():
        thread.join(timeout=5)
