"""The inbox: what people have asked for, decided by whoever leads, in a thread and on connections of its own.

A request is looked at and stays where it is until the script that makes its runs, or says why not, takes it away in the
same step (common/redis_store/lua/manual_request.lua, create_manual_runs.lua). So a leader that dies in between loses nothing, and the next one
makes nothing twice: the runs' ids come from the request's. Who asks publishes a word, on which the leader looks at once;
one that is missed costs a second. The deciding loop has no part in this, so that no request can make an instant late.

What this does *not* guarantee: an answer. Nobody may lead; whoever asks waits for so long, and withdraws the request.
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
from kuber_cron.common.records.history_limits import LOG_LIMIT
from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.common.redis_store.scripts import Store, Value
from kuber_cron.common.runs.manual_request import MAX_BYTES, ManualRequest, RequestError
from kuber_cron.common.time_format import rq_instant
from kuber_cron.scheduler.decisions import run_policy
from kuber_cron.scheduler.decisions.catalog import Catalog
from kuber_cron.scheduler.decisions.run_hash import RunHashBuilder
from kuber_cron.scheduler.decisions.script_replies import refuse
from kuber_cron.scheduler.election.redis_clock import RedisClock
from kuber_cron.scheduler.election.term import Term
from kuber_cron.scheduler.manual_runs import request_plan
from kuber_cron.scheduler.manual_runs.request_plan import PlannedRun

log = structlog.get_logger(__name__)

# Looked at without a word this often, for one may have been missed; a standby looks so often whether it leads.
_LOOK_SECONDS = 1.0
_LISTEN_SECONDS = 0.25  # how soon the thread notices that it is to end
_AFTER_ERROR_SECONDS = 1.0
# Of a flood of requests so many are dealt with before the thread looks whether it is to end.
_MOST_A_LOOK = 100
# Runs made in one call, so that Redis is not held for more than ~5 ms.
BATCH = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKeys:
    """With whose authority runs are made.

    Attributes:
        signing_key: What they are signed with, if anything.
        accepted_keys: What may have signed a request.
    """

    signing_key: bytes | None = None
    accepted_keys: Sequence[bytes] = ()


class RequestLoop:
    """One replica's. ``run`` it in a thread; ``drain`` is one look."""

    def __init__(
        self,
        connect: Callable[[], "Redis"],
        keys: Keys,
        rights: RequestKeys,
        *,
        clock: RedisClock,
        token: Callable[[], Term | None],
        catalog: Callable[[], Catalog],
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        """``connect`` gives clients without retries; ``token`` and ``catalog`` are asked for each request.

        ``failed`` is told of each look that failed unexpectedly.
        """
        self._client = connect()
        self._store = Store(self._client, keys)
        self._builder = RunHashBuilder(self._client, rights.signing_key)
        self._accepted_keys = rights.accepted_keys
        self._clock = clock
        self._token = token
        self._catalog = catalog
        self._failed = failed

    def run(self, done: threading.Event) -> None:
        """Decide what is asked for, until ``done``."""
        while not done.is_set():
            try:
                self._listen(done)
            except RedisError as error:
                log.warning("requests are not heard: redis does not answer, or refuses", error=str(error))
                done.wait(_AFTER_ERROR_SECONDS)
            except KuberCronError as error:
                log.info("requests are left to the next term", reason=error.message)
                done.wait(_AFTER_ERROR_SECONDS)
            except Exception:
                # One request that cannot be dealt with must not end the hearing of others: it expires.
                log.exception("a request failed")
                self._failed()
                done.wait(_AFTER_ERROR_SECONDS)

    def _listen(self, done: threading.Event) -> None:
        with self._client.pubsub(ignore_subscribe_messages=True) as pubsub:  # type: ignore[no-untyped-call] # redis-py types it not
            pubsub.subscribe(self._store.keys.requested)
            look_at = 0.0
            while not done.is_set():
                if self._clock.elapsed() >= look_at:
                    is_flooded = self.drain() >= _MOST_A_LOOK
                    look_at = self._clock.elapsed() + (0.0 if is_flooded else _LOOK_SECONDS)
                if pubsub.get_message(timeout=_LISTEN_SECONDS) is not None:
                    look_at = 0.0

    # --- one look --------------------------------------------------------------------------------

    def drain(self) -> int:
        """What is asked for is answered, oldest first, where this replica leads; how many requests that were.

        Raises:
            FencedError, StateLostError: The term is over; what is left is the next leader's.
            redis.RedisError: Redis did not answer, or refused; what is left is looked at again.
        """
        count = 0
        while count < _MOST_A_LOOK and (term := self._token()) is not None:
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
            heard = request_plan.heard(
                request_id, body.encode(), signature, self._accepted_keys, now, is_begun=state == "deciding"
            )
            runs = request_plan.wanted(heard, self._catalog().entries, now)
        except RequestError as error:
            self._refuse(term, request_id, error)
            return
        log.info(
            "asked for", action=heard.action, job=heard.job, who=heard.who, runs=len(runs), dry=heard.dry
        )
        try:
            for start in range(0, len(runs), BATCH):
                part = runs[start : start + BATCH]
                if not self._make(term, heard, part, is_last=start + BATCH >= len(runs)):
                    return
        except ResponseError as error:
            # Nothing that Redis refuses for this one may keep the others waiting behind it.
            self._refuse(term, request_id, RequestError("redis-refused", f"Redis refused: {error}"))

    def _refuse(self, term: Term, request_id: str, error: RequestError) -> None:
        log.warning("a request is refused", request=request_id, code=error.code, reason=error.message)
        args = (request_id, error.code, error.message, error.hint or "")
        refuse(
            [
                text(part)
                for part in self._store.call("manual_request", "refuse", term.epoch, term.lease, *args)
            ],
            term,
        )

    def _make(self, term: Term, heard: ManualRequest, part: Sequence[PlannedRun], *, is_last: bool) -> bool:
        """This part of the request's runs is made; whether the request is still there."""
        items = [value for one in part for value in self._item(heard, one)]
        reply = self._store.call(
            "create_manual_runs",
            term.epoch,
            term.lease,
            term.holder,
            rq_instant(self._clock.now()),
            LOG_LIMIT,
            heard.id,
            heard.action,
            heard.who,
            int(heard.force),
            int(heard.dry),
            int(is_last),
            _detail(heard),
            len(part),
            *items,
        )
        words = [text(word) for word in reply]
        refuse(words, term)
        return words[0] == "OK"

    def _item(self, heard: ManualRequest, one: PlannedRun) -> Iterator[Value]:
        job = one.entry.job
        if heard.env and job.id == heard.job:
            job = replace(job, env=job.env | heard.env)
        record = self._builder.build(job, one.at, run=one.run)
        policy = run_policy.of_manual_run(one.entry)
        if one.after:
            policy["after"] = one.after
        if one.instant:
            policy["instant"] = one.instant
            policy.pop("front", None)  # what is due today goes before what is made up for
        yield from (job.id, int(one.at.timestamp()), record.run, record.origin, json.dumps(policy))
        yield from (len(record.fields), *record.fields)


def _detail(heard: ManualRequest) -> str:
    if heard.from_at is not None and heard.to_at is not None:
        return f"{time_format.iso(heard.from_at, 'seconds')} {time_format.iso(heard.to_at, 'seconds')}"
    words = [word for word, is_so in (("force", heard.force), ("chain", heard.chain)) if is_so]
    return " ".join([*words, *sorted(heard.env)])
