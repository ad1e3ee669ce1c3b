"""Operators in the model: their requests and acts, by the real request loop and scripts."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as NotConnected
from tests.models.world import KEYS, START, Replica, World
from tests.support.operators import Operator

from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs.manual_request import ManualRequest
from kuber_cron.control.actions.operator_scripts import ScriptReply
from kuber_cron.control.actions.results import CreatedRun
from kuber_cron.scheduler.manual_runs.request_loop import RequestKeys, RequestLoop


class LossyRequestStore(Store):
    """A store that keeps each call that creates manual runs, and may lose the call or its reply."""

    def __init__(self, client: Redis) -> None:
        super().__init__(client, KEYS)
        self.fault = ""
        self.sent: list[tuple[Any, ...]] = []

    def call(self, script: str, *args: Any) -> Any:
        if script != "create_manual_runs":
            return super().call(script, *args)
        self.sent.append(args)
        fault, self.fault = self.fault, ""
        if fault == "request lost":
            raise NotConnected(fault)
        reply = super().call(script, *args)
        if fault == "answer lost":
            raise NotConnected(fault)
        return reply


class Operators:
    """All operators. The leader has one request loop for all terms, as each replica has."""

    def __init__(self, client: Redis, world: World) -> None:
        self.client = client
        self.world = world
        self.acts = Operator(Store(client, KEYS), "somebody@model")
        self.store = LossyRequestStore(client)
        self.requests: list[ManualRequest] = []

    def request_loop(self, replica: Replica) -> RequestLoop:
        """The replica's request loop, under the term that it believes in."""
        made = RequestLoop(
            lambda: self.client,
            KEYS,
            RequestKeys(),
            clock=_RedisClock(self.acts),  # type: ignore[arg-type] # what it asks of one
            term=lambda: replica.term,
            catalog=lambda: self.world.catalog,
        )
        made._store = self.store
        return made

    def request(self, job: str, action: str, *, force: bool, chain: bool, back: int) -> ManualRequest:
        """A request stands in the list."""
        now = self.world.clock.at
        more: dict[str, Any] = {"chain": chain}
        if action == "backfill":
            more = {"from_at": now - timedelta(minutes=back, seconds=1), "to_at": now + timedelta(seconds=1)}
        made = self.acts.new(job=job, action=action, force=force, **more)  # type: ignore[arg-type] # its attributes
        self.acts.request("put", made.id, made.to_bytes(), "", 3_600_000)
        self.requests.append(made)
        return made

    def answer(self, fault: str = "") -> None:
        """The leader reads the requests; one whose answer is lost is read again."""
        self.store.fault = fault
        with suppress(NotConnected):
            self.request_loop(self.world.leader).drain()
        self.store.fault = ""
        self.request_loop(self.world.leader).drain()

    def withdraw_all(self) -> None:
        """No operator waits any more."""
        for request in self.requests:
            self.acts.request("withdraw", request.id)
        self.requests.clear()

    def runs_of(self, request: ManualRequest) -> list[CreatedRun]:
        """The runs that the answer to the request lists."""
        word, *items = self.acts.request("read", request.id)
        return [CreatedRun.from_text(item) for item in items] if word == "ANSWERED" else []

    def send_again(self, i: int) -> list[str]:
        """A call that created manual runs arrives once more; the script's reply."""
        args = self.store.sent[i % len(self.store.sent)]
        return [text(part) for part in Store.call(self.store, "create_manual_runs", *args)]

    def stop(self, run: str) -> ScriptReply:
        return self.acts.stop(run)

    def retry(self, run: str, *, force: bool) -> ScriptReply:
        return self.acts.retry(run, again=True, force=force)


class _RedisClock:
    def __init__(self, acts: Operator) -> None:
        self._acts = acts

    def now(self) -> datetime:
        return self._acts.now()

    def elapsed(self) -> float:
        return (self._acts.now() - START).total_seconds()
