"""`docker compose up` with the shipped files and nothing else: what README promises of it."""

import re
import time

import pytest
from tests.e2e.stack import ROOT, SERVICES, run, wait_for
from tests.monitoring_queries import shown
from tests.waiting import eventually

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
