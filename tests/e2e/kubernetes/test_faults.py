"""The installation under load, and what happens to pods: nothing is lost, doubled or late beyond the promise."""

import time
from collections.abc import Callable, Iterator

import pytest
from tests.e2e.kubernetes.load import (
    OVERLAY,
    REDIS_BACK_SECONDS,
    TAKEOVER_SECONDS,
    TAKES_ALL,
    TAKES_THE_WORKER,
    ClusterLoad,
)
from tests.e2e.load import HANDOVER_SECONDS, TTL_SECONDS
from tests.faults.setup import REAL
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e_kubernetes, pytest.mark.timeout(300)]

# Longer than a lease and a bit: who could take over has done so.
OUTAGE_SECONDS = REAL.lease + 1.2 * REAL.retry + 5.0
# A killed worker's runs are found by its ttl, and the leader looks each second.
LOST_SECONDS = TTL_SECONDS + 2.0
# Jobs that fail and overlap by intent, an edit that was broken, many leaders in a row; and of a Prometheus that has
# watched for minutes only, that one takeover is a large part of all that it has seen.
EXPECTED_ALERTS = {
    "KuberCronConfigInvalid",
    "KuberCronJobFailing",
    "KuberCronJobOverlaps",
    "KuberCronLatenessBudgetBurn",
    "KuberCronLeadershipFlapping",
    "KuberCronRunsMissed",
}


@pytest.fixture(scope="module")
def running(applied, began, helpers, server, tmp_path_factory) -> Iterator[ClusterLoad]:
    """The jobs run, and will until the module is through."""
    made, _ = applied
    made.apply(OVERLAY)
    made.wait_until_well()
    load = ClusterLoad(tmp_path_factory.mktemp("cluster"), helpers, server)
    load.begin(made)
    yield load
    load.stop()


@pytest.fixture
def load(installation, running) -> ClusterLoad:
    """The same, while everything is well."""
    running.goes_on(2)
    running.look_from_now()
    return running


def accept(load: ClusterLoad, name: str, figure: Callable[[str], None], *, may_repeat: bool = False) -> None:
    """What has been recorded so far keeps the promise. ``may_repeat``: what ran may have been lost."""
    load.goes_on(3)
    verdict = load.judged(name)
    figure(verdict.summary)
    assert not verdict.violations, "\n".join(one.what for one in verdict.violations[:20])
    assert "lost acknowledged writes" not in verdict.summary
    assert may_repeat or not load.repeated()


def test_every_instant_is_decided_once_and_its_command_runs_once(load, figure):
    load.goes_on(10)
    accept(load, "quiet", figure)


@pytest.mark.parametrize("way", ["deleted", "evicted"])
def test_a_leader_that_is_told_to_leave_hands_over_and_nothing_is_late(
    installation, load, figure, tmp_path, way
):
    leader, epoch, began = installation.leader(), load.epoch(), time.time()
    with load.fault(f"{way} leader", "leader", recovery=HANDOVER_SECONDS):
        if way == "deleted":
            installation.kubectl("delete", "pod", leader, "--wait=false")
        else:
            # Chosen before: the pod in the leader's place is not ready, and may be evicted.
            standby = next(name for name in installation.names("scheduler") if name != leader)
            assert installation.evict(leader, tmp_path) == ""
            # One at a time, so that whoever leads has a successor.
            assert "disruption budget" in installation.evict(standby, tmp_path)
        over = load.taken_over(epoch, 15)
    installation.wait_until_well()
    accept(load, f"leader's pod {way}", figure)
    late = load.latest()
    figure(
        f"leader's pod {way}: the next one decided after {over - began:.2f} s, nothing was later than {late:.2f} s"
    )
    assert late <= HANDOVER_SECONDS
    assert leader not in installation.names("scheduler")


def test_after_a_leaders_container_is_killed_another_leads_within_the_lease(installation, load, figure):
    leader, epoch, began = installation.leader(), load.epoch(), time.time()
    restarts = installation.restarts(leader)
    with load.fault("KILL leader", "leader", recovery=TAKEOVER_SECONDS):
        installation.kill_container(leader)
    over = load.taken_over(epoch, TAKEOVER_SECONDS)
    figure(f"leader's container killed: the next one decided after {over - began:.2f} s")
    installation.wait_until_well()
    assert installation.restarts(leader) == restarts + 1
    accept(load, "leader's container killed", figure)


def test_a_leader_that_alone_is_cut_off_from_the_api_server_is_replaced_and_fenced(
    installation, helpers, load, figure
):
    leader, epoch, began = installation.leader(), load.epoch(), time.time()
    restarts = installation.restarts(leader)
    with load.fault("API cut at the leader", "leader", recovery=TAKEOVER_SECONDS):
        heal = helpers.cut(installation.pod(leader))
        try:
            eventually(lambda: installation.metric(leader, "cron_failsafe") == 1, REAL.renew + 5, every=0.2)
            over = load.taken_over(epoch, TAKEOVER_SECONDS)
            eventually(lambda: installation.metric(leader, "cron_leader") == 0, 5, every=0.2)
            assert installation.leader(other_than=leader)
            # It serves nobody, and to start it again would mend nothing.
            eventually(lambda: leader in installation.unready("scheduler"), 60, every=0.5)
            assert installation.restarts(leader) == restarts
        finally:
            heal()
    installation.wait_until_well()
    accept(load, "API server cut off from the leader", figure)
    late = load.latest()
    figure(
        f"API server cut off from the leader: the next one decided after {over - began:.2f} s,"
        f" in failsafe until then nothing was later than {late:.2f} s"
    )
    # The old one decided until it was fenced, so nobody had to wait for the takeover.
    assert late <= HANDOVER_SECONDS


def test_while_no_scheduler_reaches_the_api_server_the_leader_goes_on_in_failsafe(
    installation, helpers, load, figure
):
    leader, epoch = installation.leader(), load.epoch()
    pods = installation.pods("scheduler")
    heals: list[Callable[[], str]] = []
    try:
        heals.extend(helpers.cut(pod) for pod in pods)
        eventually(lambda: installation.metric(leader, "cron_failsafe") == 1, REAL.renew + 5, every=0.2)
        load.goes_on(OUTAGE_SECONDS)
        assert installation.metric(leader, "cron_leader") == 1
        # A standby that could not look for a whole lease could not take over either.
        eventually(
            lambda: set(installation.unready("scheduler")) >= set(installation.names("scheduler")) - {leader},
            30,
            every=0.5,
        )
    finally:
        for heal in heals:
            heal()
    eventually(lambda: installation.metric(leader, "cron_failsafe") == 0, REAL.retry + REAL.renew, every=0.2)
    installation.wait_until_well()
    assert (installation.leader(), load.epoch()) == (leader, epoch)
    assert all(installation.restarts(pod["metadata"]["name"]) == _count(pod) for pod in pods)
    accept(load, "API server away for all", figure)
    late = load.latest()
    figure(f"API server away for all: the leader went on, nothing was later than {late:.2f} s")
    assert late <= HANDOVER_SECONDS


def _count(pod) -> int:
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


def test_workers_are_scaled_to_five_and_back_under_load(installation, load, figure):
    for number in (5, 2):
        with load.fault(f"{number} workers", "worker"):
            installation.kubectl("scale", "deployment/kuber-cron-worker", "--replicas", str(number))
            installation.wait_until_well()
        assert len(installation.names("worker")) == number
        eventually(lambda number=number: load.workers() == number, 40, every=0.5)
        load.goes_on(3)
    accept(load, "workers 2, 5, 2", figure)


def test_a_rollout_of_both_tiers_at_once_loses_doubles_and_delays_nothing(installation, load, figure):
    before, began = set(installation.names()), time.time()
    tiers = ("deployment/kuber-cron-scheduler", "deployment/kuber-cron-worker")
    with load.fault("rollout", "leader", recovery=HANDOVER_SECONDS):
        installation.kubectl("rollout", "restart", *tiers)
        for tier in tiers:
            installation.kubectl("rollout", "status", tier, "--timeout", "150s", seconds=160)
        installation.wait_until_well()
    took = time.time() - began
    kept = {name for name in before & set(installation.names()) if "scheduler" in name or "worker" in name}
    assert kept == set()
    accept(load, "rollout of both tiers", figure)
    late = load.latest()
    figure(f"rollout of both tiers: {took:.0f} s, nothing was later than {late:.2f} s")
    assert late <= HANDOVER_SECONDS


def test_a_redis_pod_that_is_deleted_comes_back_with_all_that_it_acknowledged(installation, load, figure):
    uid = installation.pod("kuber-cron-redis-0")["metadata"]["uid"]
    with load.fault("redis pod deleted", "redis", recovery=REDIS_BACK_SECONDS, overlaps=True):
        installation.kubectl("delete", "pod", "kuber-cron-redis-0", seconds=90)
        installation.wait_until_well()
    assert installation.pod("kuber-cron-redis-0")["metadata"]["uid"] != uid
    accept(load, "Redis' pod deleted", figure, may_repeat=True)
    figure(f"Redis' pod deleted: nothing was later than {load.latest():.2f} s")


@pytest.mark.parametrize("job", [TAKES_ALL.id, TAKES_THE_WORKER.id])
def test_a_run_whose_command_or_worker_is_killed_for_its_memory_is_attempted_again(
    installation, helpers, load, figure, job
):
    before = {name: installation.restarts(name) for name in installation.names("worker")}
    with load.fault(f"out of memory: {job}", "worker", overlaps=True):
        run = load.once(job)
        began = time.time()
        final = load.ended(run, LOST_SECONDS + 30)
        took = time.time() - began
    killed = [name for name, count in before.items() if installation.restarts(name) > count]
    # With cgroup v2 kubelets let the kernel kill all of the container together with the command.
    is_lost = bool(killed)
    if job == TAKES_THE_WORKER.id:
        assert len(killed) == 1
    reasons = [installation.last_end(name) for name in killed]
    figure(
        f"out of memory, {job}: {reasons[0] if reasons else 'the command alone was killed'}; attempt 2 ended {took:.1f} s after attempt 1 was queued"
    )
    assert {"OOMKilled", "Error"} >= set(reasons)
    assert (final.outcome, final.attempt) == ("success", 2)
    assert (final.lost, final.retried) == ((1, 0) if is_lost else (0, 1))
    assert load.starts(run) == [1, 2]
    told = {("lost" if is_lost else "signalled",): 1.0}
    eventually(
        lambda: helpers.query(f'sum by (reason) (cron_job_failures_total{{job="{job}"}})') == told,
        30,
        every=1,
    )
    installation.wait_until_well()
    accept(load, f"out of memory, {job}", figure, may_repeat=True)


def test_the_alerts_of_all_this_are_those_that_say_what_happened(load, helpers):
    """And none that something was lost, stood still, or failed in a way that nobody foresaw."""
    load.goes_on(5)
    fired = helpers.query('count by (alertname) (max_over_time(ALERTS{alertstate="firing"}[1h]))')
    assert {name for (name,) in fired} <= EXPECTED_ALERTS
