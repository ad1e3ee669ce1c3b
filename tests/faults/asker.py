"""The asker: a person who triggers jobs all the while, whatever is done to the cluster, over ways that no fault touches.

Each trigger is taken down with what came of it. One that was answered is one run; one that was withdrawn, or refused, is
none. Of one whose answer nobody heard, for Redis itself was away, either may be.
"""

import itertools
import threading
import time
from collections.abc import Callable, Sequence

import redis
from tests.faults.history import Asked
from tests.faults.redis_server import RedisServer

from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs.manual_request import ManualRequest
from kuber_cron.control.actions import leader_requests
from kuber_cron.control.actions.errors import HalfDecidedError, NotDecidedError, RefusedError
from kuber_cron.control.actions.leader_requests import RequestTerms

# One after another of each kind of policy; what others come after is left out, for a run by hand is none of the chain's.
JOBS = ("tick-03", "alone-slow", "in-line", "pool-a", "newest", "high")
_EVERY_SECONDS = 0.3
_PATIENCE_SECONDS = 30.0


class Asker:
    """Asks in a thread of its own between ``start`` and ``stop``."""

    def __init__(self, server: Callable[[], RedisServer], jobs: Sequence[str] = JOBS) -> None:
        """``server``: the one of this moment."""
        self._server = server
        self._jobs = itertools.cycle(jobs)
        self._stop = threading.Event()
        self._pause = threading.Event()
        self._thread = threading.Thread(target=self._run, name="asker", daemon=True)
        self._asked: list[Asked] = []

    def start(self) -> None:
        """Ask until ``stop``."""
        self._thread.start()

    def stop(self) -> tuple[Asked, ...]:
        """What was asked for, and what came of it; nothing is asked for any more."""
        self._stop.set()
        self._thread.join(_PATIENCE_SECONDS + 10)
        return tuple(self._asked)

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            job = next(self._jobs)
            try:
                with redis.Redis.from_url(self._server().url, protocol=2, socket_timeout=5.0) as client:
                    self._ask(Store(client, Keys("rq")), job)
            except redis.RedisError:
                continue  # it was not even asked for

    def _ask(self, store: Store, job: str) -> None:
        terms = RequestTerms(operator="ada@faults", wait=self._pause.wait, timeout_seconds=_PATIENCE_SECONDS)
        asked = leader_requests.new(store, "trigger", job, terms)
        at, verdict, run = time.time(), "unheard", ""
        try:
            (made,) = leader_requests.submit(store, asked, terms)
            verdict, run = made.verdict, made.run if made.is_made else ""
        except (NotDecidedError, RefusedError):
            verdict = "withdrawn"
        except (HalfDecidedError, redis.RedisError):
            pass
        self._asked.append(_taken_down(asked, at, verdict, run))


def _taken_down(asked: ManualRequest, at: float, verdict: str, run: str) -> Asked:
    return Asked(job=asked.job, at=at, mark=f"-m{asked.id[:8]}", verdict=verdict, run=run)
