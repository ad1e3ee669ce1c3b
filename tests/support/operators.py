"""People at their command line and the leader's inbox, on a real Redis and without processes or waiting."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import redis
from tests.support.stepped import KEYS, SteppedLeader

from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs import signing
from kuber_cron.common.runs.manual_request import ManualRequest
from kuber_cron.control.actions import leader_requests, operator_scripts
from kuber_cron.control.actions.leader_requests import ANSWER_SECONDS, RequestTerms
from kuber_cron.control.actions.operator_scripts import ScriptReply
from kuber_cron.control.actions.results import CreatedRun
from kuber_cron.control.queries import redis_time
from kuber_cron.scheduler.manual_runs.request_loop import RequestKeys, RequestLoop

WHO = "ada@desk"


class RedisClock:
    """Redis' own time, asked anew each time."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def now(self) -> datetime:
        seconds, micro = self._client.time()
        return datetime.fromtimestamp(seconds + micro / 1e6, UTC)

    def elapsed(self) -> float:
        return self.now().timestamp()


class Operator:
    """An operator's verbs by the raw replies of their scripts, over one store."""

    def __init__(self, store: Store, who: str = WHO) -> None:
        self._store = store
        self._who = who

    def now(self) -> datetime:
        """Redis' time."""
        return redis_time.now(self._store)

    def stop(self, run: str) -> ScriptReply:
        return self._call("stop_run", run)

    def retry(self, run: str, *, again: bool = False, force: bool = False) -> ScriptReply:
        return self._call("retry_run", run, int(again), int(force))

    def pause(self, job: str, until_at: datetime | None) -> ScriptReply:
        if until_at is None:
            return self._call("pause_job", "pause", job, 0, "")
        detail = f"{until_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        return self._call("pause_job", "pause", job, max(1, int(until_at.timestamp() * 1000)), detail)

    def resume(self, job: str) -> ScriptReply:
        return self._call("pause_job", "resume", job)

    def release(self, run: str) -> ScriptReply:
        return self._call("quarantine_action", "release", run)

    def drop(self, run: str) -> ScriptReply:
        return self._call("quarantine_action", "drop", run)

    def _call(self, script: str, *args: str | int) -> ScriptReply:
        return operator_scripts.call(self._store, script, *args, operator=self._who)

    def new(
        self, *, action: Any, job: str, patience_seconds: float = ANSWER_SECONDS, **what: Any
    ) -> ManualRequest:
        """A request of this operator's, from now on."""
        terms = RequestTerms(operator=self._who, wait=lambda _: None, timeout_seconds=patience_seconds)
        return leader_requests.new(self._store, action, job, terms, **what)

    def ask(
        self, asked: ManualRequest, *, signing_key: bytes | None, wait: Callable[[float], object]
    ) -> list[CreatedRun]:
        """What became of each run of the request."""
        terms = RequestTerms(operator=self._who, wait=wait, signing_key=signing_key)
        return list(leader_requests.submit(self._store, asked, terms))

    def request(self, action: str, *args: str | bytes | int) -> list[str]:
        """The raw reply of the requests' script."""
        return leader_requests.call(self._store, action, *args)


class Asker:
    """Somebody who asks, of a leader that looks into its inbox whenever somebody waits for it."""

    def __init__(
        self,
        leader: SteppedLeader,
        *,
        who: str = WHO,
        key: bytes | None = None,
        accepted: tuple[bytes, ...] = (),
    ) -> None:
        self.leader = leader
        self.key = key
        self.acts = Operator(Store(leader.client, leader.keys), who)
        self.inbox = RequestLoop(
            lambda: leader.client,
            leader.keys,
            RequestKeys(signing_key=key, accepted_keys=accepted),
            clock=RedisClock(leader.client),  # type: ignore[arg-type] # what it asks of one
            term=lambda: leader.term if leader.leads() else None,
            catalog=lambda: leader.catalog,
        )

    def request(self, job: str = "job", action: str = "trigger", **what: Any) -> ManualRequest:
        return self.acts.new(action=action, job=job, **what)

    def ask(self, asked: ManualRequest, *, key: bytes | None = None) -> list[CreatedRun]:
        return self.acts.ask(asked, signing_key=key or self.key, wait=lambda _: self.inbox.drain())

    def trigger(self, job: str = "job", **what: Any) -> list[CreatedRun]:
        """What a trigger came to."""
        return self.ask(self.request(job, **what))

    def backfill(self, first: datetime, end: datetime, job: str = "job", **what: Any) -> list[CreatedRun]:
        """What a backfill came to."""
        return self.ask(self.request(job, "backfill", from_at=first, to_at=end, **what))

    def put(self, asked: ManualRequest, *, key: bytes | None = None) -> None:
        """Ask, and do not wait."""

        body = asked.to_bytes()
        signature = signing.sign(body, key, signing.REQUEST) if key else ""
        self.acts.request("put", asked.id, body, signature, 60_000)


def verdicts(made: list[CreatedRun]) -> list[str]:
    return [f"{one.verdict} {one.reason}".strip() for one in made]


def acted(client: redis.Redis) -> dict[str, int]:
    """How often people have done what."""
    return {name.decode(): int(count) for name, count in client.hgetall(KEYS.acted).items()}


def acts(client: redis.Redis) -> list[dict[str, str]]:
    """What they have done, oldest first."""
    return [
        {name.decode(): value.decode() for name, value in fields.items()}
        for _, fields in client.xrange(KEYS.acts)
    ]
