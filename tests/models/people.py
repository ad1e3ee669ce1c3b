"""What people do at their command line, in the model: by the real inbox, requests and scripts."""

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


class Paper(Store):
    """A store that keeps what was sent to make runs, and may lose a request or its answer."""

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


class People:
    """All of them; whoever leads has one inbox for all terms, as each replica has."""

    def __init__(self, client: Redis, world: World) -> None:
        self.client = client
        self.world = world
        self.acts = Operator(Store(client, KEYS), "somebody@model")
        self.paper = Paper(client)
        self.asked: list[ManualRequest] = []

    def inbox(self, replica: Replica) -> RequestLoop:
        """That replica's look into the requests, under the term that it believes in."""
        made = RequestLoop(
            lambda: self.client,
            KEYS,
            RequestKeys(),
            clock=_RedisClock(self.acts),  # type: ignore[arg-type] # what it asks of one
            term=lambda: replica.term,
            catalog=lambda: self.world.catalog,
        )
        made._store = self.paper
        return made

    def ask(self, job: str, action: str, *, force: bool, chain: bool, back: int) -> ManualRequest:
        """A request stands in the list."""
        now = self.world.clock.at
        more: dict[str, Any] = {"chain": chain}
        if action == "backfill":
            more = {"from_at": now - timedelta(minutes=back, seconds=1), "to_at": now + timedelta(seconds=1)}
        made = self.acts.new(job=job, action=action, force=force, **more)  # type: ignore[arg-type] # its attributes
        self.acts.request("put", made.id, made.to_bytes(), "", 3_600_000)
        self.asked.append(made)
        return made

    def answer(self, fault: str = "") -> None:
        """The leader looks; a request whose answer is lost is looked at again."""
        self.paper.fault = fault
        with suppress(NotConnected):
            self.inbox(self.world.leader).drain()
        self.paper.fault = ""
        self.inbox(self.world.leader).drain()

    def withdraw_all(self) -> None:
        """Nobody waits any more."""
        for asked in self.asked:
            self.acts.request("withdraw", asked.id)
        self.asked.clear()

    def made_for(self, asked: ManualRequest) -> list[CreatedRun]:
        """What its answer says."""
        word, *items = self.acts.request("read", asked.id)
        return [CreatedRun.from_text(item) for item in items] if word == "ANSWERED" else []

    def send_again(self, i: int) -> list[str]:
        """What was sent to make runs arrives once more; the script's answer."""
        args = self.paper.sent[i % len(self.paper.sent)]
        return [text(part) for part in Store.call(self.paper, "create_manual_runs", *args)]

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
