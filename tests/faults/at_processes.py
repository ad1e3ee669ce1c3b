"""What is done to processes: signals, other numbers and durations, leaders that never led, the moment before a start."""

import contextlib
import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from tests.faults.history import Fault
from tests.faults.kind import SOON, TAKEOVER, Act, Hit, NothingToHitError
from tests.faults.nemesis import Nemesis
from tests.faults.schedule import Step

from kuber_cron.common.redis_store.scripts import script_text

_SIGNALS = {"KILL": signal.SIGKILL, "STOP": signal.SIGSTOP, "TERM": signal.SIGTERM}
# A start is met within this, or there are none.
_A_START_SECONDS = 5.0


def signalled(verb: str, whom: str) -> Act:
    """One process is killed, ended, or stopped for a while."""

    @contextmanager
    def act(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
        member = nemesis.one(whom, step)
        hit = Hit(returns=[member])
        member.signal(_SIGNALS[verb])
        yield hit
        if verb == "STOP":
            member.signal(signal.SIGCONT)

    return act


def command_signalled(verb: str) -> Act:
    """One command is killed, or stopped for a while."""

    @contextmanager
    def act(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
        commands = nemesis.cluster.commands()
        if not commands:
            raise NothingToHitError
        pid, hit = commands[step.pick % len(commands)], Hit()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, _SIGNALS[verb])
        yield hit
        if verb == "STOP":
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    return act


@contextmanager
def fresh_schedulers(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
    """No scheduler is there for a while, and then only such as never led: the first round of one decides and reaps."""
    members = nemesis.cluster.of("scheduler")
    hit = Hit(returns=members)
    for member in members:
        member.not_before = time.monotonic() + 3600
        member.signal(signal.SIGCONT)
        member.signal(signal.SIGKILL)
    yield hit
    for member in members:
        member.not_before = 0.0


@contextmanager
def scaled(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
    """One worker, then five, then as many as there were."""
    cluster = nemesis.cluster
    before = cluster.of("worker")
    hit = Hit(returns=before[1:])
    cluster.terminate(before[1:])
    more = [cluster.add("worker", len(cluster.members) + number) for number in range(4)]
    yield hit
    cluster.terminate(more)
    for member in before[1:]:
        member.wanted = True


@contextmanager
def rolled(nemesis: Nemesis, step: Step) -> Iterator[None]:
    """Every scheduler is replaced, one after the other, by one with other durations of the lease."""
    setup = nemesis.cluster.setup
    times = setup.times
    factor = (1.5, 0.8, 1.0)[step.pick % 3] if times.lease > 5 else (2.0, 1.5, 1.0)[step.pick % 3]
    other = replace(times, lease=times.lease * factor, renew=times.renew * factor)
    # Until all are rolled the longer durations hold.
    before, after = nemesis.takeover, other.takeover(setup.election)
    nemesis.takeover = max(before, after)
    for member in nemesis.cluster.of("scheduler"):
        member.extra = {
            "KUBER_CRON_LEASE_SECONDS": f"{other.lease:g}",
            "KUBER_CRON_RENEW_SECONDS": f"{other.renew:g}",
        }
        began = time.time()
        leads = bool(member.health().get("leader"))
        member.signal(signal.SIGTERM)
        nemesis.await_return(member)
        hits, recovery = ("leader", SOON.seconds) if leads else ("standby", None)
        nemesis.note(Fault(kind=step.kind, hits=hits, began=began, ended=began, recovery=recovery))
    nemesis.takeover = after
    yield None


@contextmanager
def late_requests(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
    """What the leader has sent arrives when another has led for a while: only the fence can tell.

    Its way to the API server is cut meanwhile too, or it would go on leading without Redis for 10 s.
    """
    leader = nemesis.one("leader", step)
    hit = Hit(recovery=TAKEOVER)
    leader.redis.hold_requests()
    if leader.api is not None:
        leader.api.hang()
    give_up_at = time.monotonic() + nemesis.takeover + 2.0
    while time.monotonic() < give_up_at and not any(
        m.health().get("leader") for m in nemesis.cluster.of("scheduler") if m is not leader
    ):
        nemesis.wait(0.1)
    nemesis.wait(1.0 + step.pick % 10 / 10)
    yield hit
    leader.redis.heal()
    if leader.api is not None:
        leader.api.heal()


# --- between the start script and exec --------------------------------------------------------------------


def start_needle() -> bytes:
    """What only a request to start an attempt has in it."""
    return hashlib.sha1(script_text("start_attempt").encode()).hexdigest().encode()  # noqa: S324 - as EVALSHA names it


def at_a_start(what: Literal["stopped before", "stopped after", "cut after"]) -> Act:
    """One worker at the moment that it is told of an attempt: stopped just before it hears, or just after, or cut off."""

    @contextmanager
    def act(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
        member = nemesis.one("worker", step)
        struck = threading.Event()

        def strike() -> None:
            if what == "cut after":
                member.redis.hang_on_loop()
            else:
                time.sleep(0.0004 * (step.pick % 4) if what == "stopped after" else 0.0)
                member.signal(signal.SIGSTOP)
            struck.set()

        early = what == "stopped before"
        member.redis.when_answered(
            start_needle(), before=strike if early else None, after=None if early else strike
        )
        if not struck.wait(_A_START_SECONDS):
            member.redis.forget()
            if not struck.is_set():
                raise NothingToHitError
        hit = Hit(returns=[member])
        yield hit
        if what == "cut after":
            member.redis.heal()
        else:
            member.signal(signal.SIGCONT)

    return act
