"""People at their command line and the leader's inbox, on a real Redis and without processes or waiting."""

from datetime import UTC, datetime
from typing import Any

import redis
from tests.support.stepped import KEYS, SteppedLeader

from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs.manual_request import ManualRequest
from kuber_cron.control.actions.operations import OperatorActions
from kuber_cron.control.actions.results import CreatedRun
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
        self.acts = OperatorActions(Store(leader.client, leader.keys), who)
        self.inbox = RequestLoop(
            lambda: leader.client,
            leader.keys,
            RequestKeys(signing_key=key, accepted_keys=accepted),
            clock=RedisClock(leader.client),  # type: ignore[arg-type] # what it asks of one
            token=lambda: leader.term if leader.leads() else None,
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
        from kuber_cron.common.runs import manual_request

        body = asked.to_bytes()
        signature = manual_request.sign(body, key) if key else ""
        self.acts._request("put", asked.id, body, signature, 60_000)


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
