"""The shipped stack under load, and what may happen to a container: nothing is lost, doubled or late beyond the promise."""

import time
from collections.abc import Callable

import pytest
from tests.e2e.documented import follow
from tests.e2e.load import (
    HANDOVER_SECONDS,
    REDIS_BACK_SECONDS,
    TAKEOVER_SECONDS,
    TTL_SECONDS,
    Counted,
    Load,
    Verdict,
)
from tests.e2e.stack import ROOT
from tests.faults.cluster import STAYS
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


def accept(verdict: Verdict, figure: Callable[[str], None], *, may_lose_writes: bool = False) -> None:
    figure(verdict.summary)
    assert not verdict.violations, "\n".join(one.what for one in verdict.violations[:20])
    assert may_lose_writes or "lost acknowledged writes" not in verdict.summary


def test_every_instant_is_decided_once_and_its_command_runs_once(load, figure):
    load.goes_on(6)
    accept(load.judged("quiet"), figure)


@pytest.mark.parametrize(
    ("whom", "recovery", "overlaps"),
    [
        ("leader", TAKEOVER_SECONDS, False),
        ("worker", None, True),
        ("redis", REDIS_BACK_SECONDS, True),
    ],
)
def test_a_killed_container_is_started_again_and_nothing_is_lost_or_doubled(
    load, figure, whom, recovery, overlaps
):
    stack = load.stack
    container = stack.leader() if whom == "leader" else stack.containers(whom)[0]
    with load.fault(f"KILL {whom}", whom, recovery=recovery, overlaps=overlaps):
        stack.crash(container)
    stack.wait_until_well()
    load.goes_on()
    # appendfsync everysec: a Redis that dies in the middle of an fsync may have acknowledged a little more than it has.
    accept(load.judged(f"KILL {whom}"), figure, may_lose_writes=whom == "redis")


def test_killed_bystanders_are_started_again_and_delay_nothing(load, figure):
    stack = load.stack
    bystanders = [stack.standby(), *map(stack.the_only, ("dashboard", "prometheus", "alertmanager"))]
    with load.fault("KILL bystanders", "standby"):
        for container in bystanders:
            stack.crash(container)
    stack.wait_until_well()
    load.goes_on()
    accept(load.judged("KILL standby, dashboard, Prometheus, Alertmanager"), figure)


def test_a_leader_without_network_is_replaced_and_nothing_is_lost(load, figure):
    stack = load.stack
    leader = stack.leader()
    with load.fault("cut leader", "leader", recovery=TAKEOVER_SECONDS):
        stack.disconnect(leader)
        eventually(lambda: stack.leader() != leader, 20)
        stack.connect(leader)
    stack.wait_until_well()
    load.goes_on()
    accept(load.judged("network cut at the leader"), figure)


def test_a_worker_without_network_longer_than_its_ttl_loses_and_doubles_nothing(load, figure):
    stack = load.stack
    worker = stack.containers("worker")[0]
    with load.fault("cut worker", "worker", overlaps=True):
        stack.disconnect(worker)
        load.goes_on(TTL_SECONDS + 5)
        stack.connect(worker)
    stack.wait_until_well()
    load.goes_on()
    accept(load.judged("network cut at a worker"), figure)


def test_workers_are_scaled_to_one_to_five_and_to_one_again(load, figure):
    stack = load.stack
    for number in (1, 5, 1, 2):
        with load.fault(f"{number} workers", "worker"):
            stack.up("--no-deps", "--no-recreate", "--scale", f"worker={number}", "worker")
        assert len(stack.containers("worker")) == number
        eventually(lambda number=number: registered(load) == number, 40)
        load.goes_on()
    accept(load.judged("workers 1, 5, 1"), figure)


def registered(load: Load) -> int:
    return int(load.stack.redis("SCARD", "rq:workers"))


def test_every_container_is_replaced_while_jobs_run_and_nothing_is_late(load, figure):
    stack = load.stack
    before = set(stack.containers("worker") + stack.containers("scheduler"))
    began = time.time()
    with load.fault("replace one at a time", "leader", recovery=HANDOVER_SECONDS):
        follow("Replace everything while jobs run", ROOT, stack.variables | {"COMPOSE_FILE": stack.files})
    after = stack.containers("worker") + stack.containers("scheduler")
    assert len(after) == len(before) == 4
    assert not before & set(after)
    load.goes_on()
    latest = load.latest_since(began)
    figure(f"each scheduler and each worker replaced: the latest decision {latest:.2f} s after its instant")
    assert latest <= HANDOVER_SECONDS
    for service in ("dashboard", "prometheus", "alertmanager"):
        stack.up("--no-deps", "--force-recreate", service)
    stack.wait_until_well()
    load.goes_on()
    accept(load.judged("each container replaced"), figure)


@pytest.mark.parametrize(
    ("service", "recovery"), [("redis", REDIS_BACK_SECONDS), ("scheduler", TAKEOVER_SECONDS)]
)
def test_all_of_a_service_replaced_at_once_loses_nothing(load, figure, service, recovery):
    stack = load.stack
    with load.fault(f"recreate {service}", service, recovery=recovery, overlaps=service == "redis"):
        stack.up("--no-deps", "--force-recreate", service)
    stack.wait_until_well()
    load.goes_on()
    accept(load.judged(f"all of {service} replaced at once"), figure)


def test_after_down_and_up_every_job_goes_on_where_it_was(load, figure):
    stack = load.stack
    epoch = int(stack.redis("HGET", "rq:kuber-cron:fence", "epoch"))
    with load.fault("down and up", "redis", recovery=REDIS_BACK_SECONDS, overlaps=True):
        stack.compose("down")
        assert not stack.containers()
        stack.up()
    stack.wait_until_well()
    load.goes_on()
    accept(load.judged("down and up"), figure)
    assert int(stack.redis("HGET", "rq:kuber-cron:fence", "epoch")) > epoch


def test_when_everything_has_ended_the_counters_are_the_logs_and_no_key_stays(load, figure):
    stack = load.stack
    until = load.drained()
    stack.compose("stop", "scheduler", "worker")
    with load.client() as client:
        counted = Counted(
            missed={name: int(count) for name, count in client.hgetall("rq:kuber-cron:missed").items()},
            through=int(client.hget("rq:kuber-cron:fence", "through")),
            keys=tuple(
                key for key in client.keys("*") if client.ttl(key) == -1 and not key.startswith(STAYS)
            ),
        )
    verdict = load.final("everything stopped", until, counted)
    stack.up()
    accept(verdict, figure)
