"""Prometheus of the Compose stack has every metric that is documented, and each injected failure has its alert."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from tests.e2e.monitored import Monitored
from tests.e2e.stack import ROOT, docker, wait_for
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

DOCUMENTED = re.findall(r"(?m)^\| `(cron_\w+)", (ROOT / "docs/metrics.md").read_text())
# What a test before leaves behind for its whole window: it is about those minutes, not about now.
LINGERING = {
    "KuberCronJobOverlaps",
    "KuberCronLatenessBudgetBurn",
    "KuberCronLeadershipFlapping",
    "KuberCronRunsLate",
    "KuberCronRunsMissed",
}


def known_metrics(stack):
    return {sample["metric"]["__name__"] for sample in stack.query('{__name__=~"cron_.+"}')}


def missing_metrics(stack):
    known = known_metrics(stack)
    # A histogram or a summary has no series of its own name.
    return [name for name in DOCUMENTED if not {name, f"{name}_count"} & known]


def test_prometheus_has_every_documented_metric(monitored):
    stack = monitored.stack
    # Three tell of what has to happen first: a run attempted again after its worker was lost, a renewal of the
    # lease that failed, and an attempt larger than the worker itself.
    eventually(lambda: stack.query('cron_job_running{job="long"} == 1'), 60, every=0.5)
    standby = stack.standby()
    stack.disconnect(standby)
    for worker in stack.containers("worker"):
        stack.crash(worker)
    eventually(lambda: stack.query("sum(cron_job_recoveries_total) > 0"), 60, every=0.5)
    stack.connect(standby)
    wait_for(lambda: missing_metrics(stack), [])


def spoil_the_jobs(monitored):
    monitored.execute_in_worker("touch /work/broken")


def heal_the_jobs(monitored):
    monitored.execute_in_worker("rm /work/broken")


def stop_workers(monitored):
    monitored.stack.compose("stop", "worker")


def start_workers(monitored):
    monitored.stack.compose("start", "worker")


def stop_schedulers(monitored):
    monitored.stack.compose("stop", "scheduler")


def start_schedulers(monitored):
    monitored.stack.compose("start", "scheduler")


def give_a_stranger_the_lease(monitored):
    monitored.stack.redis("SET", "rq:kuber-cron:lease", "stranger:1")


def take_the_lease_back(monitored):
    monitored.stack.redis("DEL", "rq:kuber-cron:lease")


def freeze_redis(monitored):
    docker("pause", monitored.stack.the_only("redis"))


def thaw_redis(monitored):
    docker("unpause", monitored.stack.the_only("redis"))


@dataclass(frozen=True)
class Failure:
    """How to bring it about, how to end it, and its alert."""

    begin: Callable[[Monitored], None]
    end: Callable[[Monitored], None]
    alert: str


FAILURES = {
    "a job fails": Failure(spoil_the_jobs, heal_the_jobs, "KuberCronJobFailing"),
    "a job file is broken": Failure(Monitored.break_jobs, Monitored.mend_jobs, "KuberCronConfigInvalid"),
    "no worker runs": Failure(stop_workers, start_workers, "KuberCronNoWorkers"),
    "nobody can lead": Failure(give_a_stranger_the_lease, take_the_lease_back, "KuberCronNoLeader"),
    "Redis hangs": Failure(freeze_redis, thaw_redis, "KuberCronRedisDown"),
    "no scheduler runs": Failure(stop_schedulers, start_schedulers, "KuberCronSchedulersAbsent"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_has_its_alert_which_resolves_when_it_is_over(monitored, figure, name):
    failure, stack = FAILURES[name], monitored.stack
    wait_for(lambda: firing(stack) - LINGERING, set())
    began = time.monotonic()
    failure.begin(monitored)
    try:
        wait_for(lambda: stack.told() & {failure.alert}, {failure.alert})
        fired = time.monotonic()
        told = stack.told() - LINGERING
    finally:
        failure.end(monitored)
    mended = time.monotonic()
    wait_for(lambda: (set(stack.alerts()) | stack.told()) & {failure.alert}, set())
    assert told == {failure.alert}
    figure(
        f"{name}: {failure.alert} after {fired - began:.0f} s, resolved {time.monotonic() - mended:.0f} s after its end"
    )


def firing(stack):
    return {name for name, state in stack.alerts().items() if state == "firing"}
