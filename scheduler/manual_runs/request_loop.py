"""The request loop: whoever leads answers requests for manual runs, in a thread and on connections of its own.

A request is read and stays where it is until the script that creates its runs, or refuses it, removes it in the same step
(common/redis_store/lua/). So a leader that dies in between loses nothing, and the next one creates nothing twice: the runs'
ids come from the request's. Whoever asks publishes a message, on which the leader polls at once; one that is missed costs a
second. The deciding loop has no part in this, so that no request can make an instant late.

What this does *not* guarantee: an answer. Nobody may lead; whoever asks waits for some time, and withdraws the request.
"""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import structlog
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from kuber_cron.common import time_format
from kuber_cron.common.errors import KuberCronError
from kuber_cron.common.observability.loop_progress import LoopProgress
from kuber_cron.common.observability.outage_log import OutageLog
from kuber_cron.common.records.history_limits import LOG_LIMIT
from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.common.redis_store.redis_clock import RedisClock
from kuber_cron.common.redis_store.scripts import Store, Value
from kuber_cron.common.runs.manual_request import MAX_BYTES, ManualRequest, RequestError
from kuber_cron.common.time_format import rq_instant
from kuber_cron.scheduler.decisions import run_policy
from kuber_cron.scheduler.decisions.catalog import Catalog
from kuber_cron.scheduler.decisions.run_hash import RunHashBuilder
from kuber_cron.scheduler.decisions.script_replies import refuse
from kuber_cron.scheduler.election.term import Term
from kuber_cron.scheduler.manual_runs import request_plan
from kuber_cron.scheduler.manual_runs.request_plan import PlannedRun

log = structlog.get_logger(__name__)

STALLED_SECONDS = 120.0
"""/livez fails when the loop has not come round for this long; a backfill of the largest size takes seconds."""
# Polled without a message this often, because one may have been missed; a standby checks as often if it leads.
_POLL_SECONDS = 1.0
_LISTEN_SECONDS = 0.25  # how soon the thread notices that it is to end
_AFTER_ERROR_SECONDS = 1.0
# Of a flood of requests at most so many are answered before the thread checks if it is to end.
_MOST_A_POLL = 100
# Runs created in one call, so that Redis is not held for more than ~5 ms.
BATCH = 50
# A run that replaces very many is sent so often, and then again after whatever else is to be answered.
_MOST_CALLS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKeys:
    """The keys of manual runs.

    Attributes:
        signing_key: Signs the runs that are created, if anything does.
        accepted_keys: Those that may have signed a request.
    """

    signing_key: bytes | None = None
    accepted_keys: Sequence[bytes] = ()


class RequestLoop:
    """One replica's. ``run`` it in a thread; ``drain`` is one poll."""

    def __init__(
        self,
        connect: Callable[[], "Redis"],
        keys: Keys,
        signing: RequestKeys,
        *,
        clock: RedisClock,
        term: Callable[[], Term | None],
        catalog: Callable[[], Catalog],
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        """``connect`` gives clients without retries; ``term`` and ``catalog`` are called for each request.

        ``failed`` is called after each poll that failed unexpectedly.
        """
        self._client = connect()
        self._store = Store(self._client, keys)
        self._builder = RunHashBuilder(self._client, signing.signing_key)
        self._accepted_keys = signing.accepted_keys
        self._clock = clock
        self._term = term
        self._catalog = catalog
        self._failed = failed
        self._progress = LoopProgress(clock, "request", STALLED_SECONDS)
        self._outage = OutageLog(clock)

    def check(self) -> str:
        """Return ``ok``, or that the loop has stalled."""
        return self._progress.check()

    def run(self, done: threading.Event) -> None:
        """Answer requests until ``done`` is set."""
        while not done.is_set():
            self._progress.turned()
            try:
                self._listen(done)
            except RedisError as error:
                self._outage.failed("reading requests failed: redis does not answer, or refuses", error)
                done.wait(_AFTER_ERROR_SECONDS)
            except KuberCronError as error:
                log.info("requests are left to the next term", reason=error.message)
                done.wait(_AFTER_ERROR_SECONDS)
            except Exception:
                # One request that cannot be answered must not keep the others from it: it expires.
                log.exception("a request failed")
                self._failed()
                done.wait(_AFTER_ERROR_SECONDS)

    def _listen(self, done: threading.Event) -> None:
        with self._client.pubsub(ignore_subscribe_messages=True) as pubsub:  # type: ignore[no-untyped-call] # redis-py types it not
            pubsub.subscribe(self._store.keys.requested)
            poll_at = 0.0
            while not done.is_set():
                self._progress.turned()
                if self._clock.elapsed() >= poll_at:
                    is_flooded = self.drain() >= _MOST_A_POLL
                    self._outage.answered()
                    poll_at = self._clock.elapsed() + (0.0 if is_flooded else _POLL_SECONDS)
                if pubsub.get_message(timeout=_LISTEN_SECONDS) is not None:
                    poll_at = 0.0

    # --- one poll --------------------------------------------------------------------------------

    def drain(self) -> int:
        """Answer the requests, oldest first, where this replica leads; return how many there were.

        Raises:
            FencedError, StateLostError: The term is over; what is left is the next leader's.
            redis.RedisError: Redis did not answer, or refused; what is left is read again.
        """
        count = 0
        while count < _MOST_A_POLL and (term := self._term()) is not None:
            word, *rest = self._next(term)
            if word == "OK" and not rest[0]:
                break
            if word == "OK":
                self._answer(term, *rest)
            count += 1
        return count

    def _next(self, term: Term) -> list[str]:
        reply = [
            text(part)
            for part in self._store.call("manual_request", "next", term.epoch, term.lease, MAX_BYTES)
        ]
        refuse(reply, term)
        return reply

    def _answer(self, term: Term, request_id: str, state: str, body: str, signature: str) -> None:
        now = self._clock.now()
        try:
            request = request_plan.verified(
                request_id, body.encode(), signature, self._accepted_keys, now, is_begun=state == "deciding"
            )
            runs = request_plan.plan(request, self._catalog().entries, now)
        except RequestError as error:
            self._refuse(term, request_id, error)
            return
        log.info(
            "manual runs requested",
            action=request.action,
            job=request.job,
            who=request.who,
            runs=len(runs),
            dry=request.dry,
        )
        try:
            for start in range(0, len(runs), BATCH):
                part = runs[start : start + BATCH]
                for _ in range(_MOST_CALLS):
                    word = self._create(term, request, part, start, is_last=start + BATCH >= len(runs))
                    if word != "MORE":
                        break
                if word != "OK":
                    return  # withdrawn; or MORE, and the request is still the first on the list
        except ResponseError as error:
            # Nothing that Redis refuses for this one may keep the others waiting behind it.
            self._refuse(term, request_id, RequestError("redis-refused", f"Redis refused: {error}"))

    def _refuse(self, term: Term, request_id: str, error: RequestError) -> None:
        log.warning("request refused", request=request_id, code=error.code, reason=error.message)
        args = (request_id, error.code, error.message, error.hint or "")
        refuse(
            [
                text(part)
                for part in self._store.call("manual_request", "refuse", term.epoch, term.lease, *args)
            ],
            term,
        )

    def _create(
        self, term: Term, request: ManualRequest, part: Sequence[PlannedRun], start: int, *, is_last: bool
    ) -> str:
        """Create the runs from ``start`` on; return OK, GONE (withdrawn), or MORE where it has to be asked again."""
        items = [value for planned in part for value in self._item(request, planned)]
        reply = self._store.call(
            "create_manual_runs",
            term.epoch,
            term.lease,
            term.holder,
            rq_instant(self._clock.now()),
            LOG_LIMIT,
            request.id,
            request.action,
            request.who,
            int(request.force),
            int(request.dry),
            int(is_last),
            _detail(request),
            len(part),
            start,
            *items,
        )
        words = [text(word) for word in reply]
        refuse(words, term)
        return words[0]

    def _item(self, request: ManualRequest, planned: PlannedRun) -> Iterator[Value]:
        job = planned.entry.job
        if request.env and job.id == request.job:
            job = replace(job, env=job.env | request.env)
        record = self._builder.build(job, planned.at, run=planned.run)
        policy = run_policy.of_manual_run(planned.entry)
        if planned.after:
            policy["after"] = planned.after
        if planned.instant:
            policy["instant"] = planned.instant
            policy.pop("front", None)  # what is due today goes before what is backfilled
        yield from (job.id, int(planned.at.timestamp()), record.run, record.origin, json.dumps(policy))
        yield from (len(record.fields), *record.fields)


def _detail(request: ManualRequest) -> str:
    if request.from_at is not None and request.to_at is not None:
        return f"{time_format.iso(request.from_at, 'seconds')} {time_format.iso(request.to_at, 'seconds')}"
    words = [word for word, is_so in (("force", request.force), ("chain", request.chain)) if is_so]
    return " ".join([*words, *sorted(request.env)])
