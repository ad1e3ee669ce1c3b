"""`docker compose up` with the shipped files and nothing else: what README promises of it."""

import pickle
import re
import time

import pytest
from tests.e2e.stack import ROOT, SERVICES, run, wait_for
from tests.support.monitoring_queries import shown
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

WITHIN_SECONDS = 60
# Two schedulers, two workers, and Prometheus itself.
TARGETS = 5


def finished(stack, queue="default"):
    """What rq-dashboard lists of a queue's finished runs, newest first."""
    found = stack.ask("DASHBOARD_PORT", f"/0/data/jobs/{queue}/finished/20/dsc/1.json")
    return [(job["id"], job["description"]) for job in found["jobs"]] if found else []


def are_targets_up(stack, number):
    targets = stack.targets()
    return len(targets) == number and set(targets.values()) == {"up"}


def test_within_a_minute_runs_are_seen_every_target_is_up_and_every_container_is_healthy(demo, figure):
    def left():
        return max(1.0, WITHIN_SECONDS - (time.monotonic() - demo.began))

    eventually(lambda: any(run.startswith("hello-") for run, _ in finished(demo)), left(), every=0.2)
    seen = time.monotonic() - demo.began
    eventually(lambda: are_targets_up(demo, TARGETS), left(), every=0.2)
    scraped = time.monotonic() - demo.began
    demo.wait_until_well(seconds=left())
    well = time.monotonic() - demo.began
    figure(
        f"after `docker compose up`: a finished run seen after {seen:.0f} s, all targets up {scraped:.0f} s, all healthy {well:.0f} s"
    )
    assert len(demo.containers()) == len(SERVICES) + 2
    run, description = finished(demo)[0]
    assert description.startswith(run.partition("-")[0])


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_has_no_more_rights_than_it_needs(demo, service):
    about = demo.inspect(demo.containers(service)[0])
    host = about["HostConfig"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] > 0
    assert host["NanoCpus"] > 0
    for bindings in (host["PortBindings"] or {}).values():
        assert [binding["HostIp"] for binding in bindings] == ["127.0.0.1"]
    if service != "redis":  # its entry point changes the user
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]


@pytest.mark.parametrize("service", ["scheduler", "worker", "dashboard"])
def test_nothing_can_be_written_beside_what_is_meant_for_it(demo, service):
    container = demo.containers(service)[0]
    said = demo.execute(
        container, "sh", "-c",
        "id -u; for where in / /app/config /opt /etc /usr/local /var/lib; do touch $where/x 2>/dev/null && echo $where; done; touch /tmp/x && echo tmp",
    )  # fmt: skip
    assert said.split() == ["10001", "tmp"]


def test_the_script_shows_an_alert_come_and_go(demo, figure):
    demo.wait_until_well()
    said = run(str(ROOT / "examples/compose/alert.sh"), env=demo.variables, seconds=280)
    lines = re.findall(r"(?m)^[-\dT:]+Z +(\d+) s  (.*)$", said)
    assert [what for _, what in lines] == [
        "payments fails from now on (/work/broken is there)",
        "Prometheus has seen it fail: KuberCronJobFailing is pending",
        "KuberCronJobFailing fires",
        "Alertmanager has it",
        "payments is healed (/work/broken is gone)",
        "KuberCronJobFailing is resolved in Prometheus",
        "and gone from Alertmanager",
    ]
    figure(f"alert.sh: fired after {lines[2][0]} s, resolved after {lines[5][0]} s")


@pytest.mark.parametrize("job", ["payments", "slow"])
def test_every_panel_of_the_dashboards_has_something_to_show(demo, job):
    left = shown(namespace="compose", cron_instance="kuber-cron", job=job)
    assert len(left) > 50

    def nothing_to_show():
        left[:] = [panel for panel in left if not has_values(demo, panel.expr)]
        return left

    # The slowest rules are looked at once a minute, and rates need two looks.
    wait_for(nothing_to_show, [], 150)


def has_values(stack, expression):
    return any(sample["value"][1] != "NaN" for sample in stack.query(expression))


class Forged:
    """A pickle that runs a command where it is read."""

    def __reduce__(self):
        import os

        return os.system, ("touch /tmp/ran",)


def test_a_forged_pickle_in_a_run_that_runs_does_not_run_on_the_page_of_workers(demo):
    running = 'return redis.call("ZRANGE", "rq:wip:default", 0, -1)'

    def slow():
        return next(
            (run.partition(":")[0] for run in demo.redis("EVAL", running, "0").split() if "slow-" in run), ""
        )

    run = eventually(slow, 40, every=0.2)
    forge = (
        'local key = "rq:job:" .. ARGV[1]; local kept = redis.call("HGET", key, "data") '
        'redis.call("HSET", key, "kept", kept) '
        "local raw = ARGV[2]:gsub('..', function(pair) return string.char(tonumber(pair, 16)) end) "
        'return redis.call("HSET", key, "data", raw)'
    )
    mend = (
        'local key = "rq:job:" .. ARGV[1]; redis.call("HSET", key, "data", redis.call("HGET", key, "kept")) '
        'return redis.call("HDEL", key, "kept")'
    )
    demo.redis("EVAL", forge, "0", run, pickle.dumps(Forged()).hex())
    try:
        demo.ask("DASHBOARD_PORT", "/0/data/workers.json")
        assert "ran" not in demo.execute(demo.the_only("dashboard"), "ls", "/tmp").split()
    finally:
        demo.redis("EVAL", mend, "0", run)
    eventually(lambda: demo.ask("DASHBOARD_PORT", "/0/data/workers.json"), 10)
