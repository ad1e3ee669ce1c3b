"""Job files that are edited while everything runs."""

import time

import pytest
from tests.e2e.kubernetes.load import EDIT_SECONDS
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e_kubernetes, pytest.mark.timeout(400)]

EXTRA = "\n# kuber-cron: name={}\n@every 2s  true\n"


@pytest.fixture
def crontab(installation):
    """The file as it was shipped, and as it will be again."""
    text = installation.file("crontab")
    yield text
    installation.edit({"crontab": text})
    eventually(lambda: is_everywhere(installation, "cron_config_valid", 1), EDIT_SECONDS, every=1)


def is_everywhere(installation, name, value):
    return all(installation.metric(pod, name) == value for pod in installation.names("scheduler"))


def lasting(installation):
    """The names of the pods that stay: not that of the Job which makes the secrets, and is deleted some time later."""
    return [
        name
        for component in ("redis", "scheduler", "worker", "dashboard")
        for name in installation.names(component)
    ]


def newest(server, job):
    """The instant of the job's newest decision that queued a run; 0 if there is none."""
    with server.client() as client:
        found = client.xrevrange(f"rq:kuber-cron:log:{job}", count=1)
    return max((int(fields["last"]) for _, fields in found if fields["decision"] == "queued"), default=0)


def test_an_edit_is_live_in_time_and_no_pod_is_replaced_for_it(installation, server, crontab, figure):
    pods = lasting(installation)
    jobs = installation.metric(installation.leader(), "cron_config_jobs")
    began = time.time()
    installation.edit({"crontab": crontab + EXTRA.format("added")})
    eventually(lambda: newest(server, "added"), EDIT_SECONDS, every=0.2)
    leader = time.time() - began
    eventually(lambda: is_everywhere(installation, "cron_config_jobs", jobs + 1), EDIT_SECONDS, every=0.5)
    figure(
        f"edit of the ConfigMap: the first run of the new job queued after {leader:.1f} s,"
        f" all schedulers had read it after {time.time() - began:.1f} s"
    )
    assert lasting(installation) == pods


def test_a_broken_file_is_refused_and_alerted_and_the_last_good_jobs_go_on(
    installation, server, helpers, crontab, figure
):
    eventually(lambda: len(helpers.query('up{cron_instance="kuber-cron"} == 1')) >= 5, 60, every=1)
    assert "KuberCronConfigInvalid" not in helpers.alerts()
    began = time.time()
    installation.edit({"crontab": EXTRA.format("only") + "61 * * * *  false\n"})
    eventually(lambda: is_everywhere(installation, "cron_config_valid", 0), EDIT_SECONDS, every=0.5)
    refused = time.time()
    alert = "KuberCronConfigInvalid"
    eventually(lambda: helpers.alerts().get(alert) == "firing", 120, every=1)
    fired = time.time()
    eventually(lambda: newest(server, "heartbeat") > refused, 30, every=0.5)
    assert newest(server, "only") == 0
    said = [line["problem"] for line in installation.logs("scheduler") if "problem" in line]
    assert any("crontab:4" in problem and "61 is not in 0-59" in problem for problem in said), said
    installation.edit({"crontab": crontab})
    eventually(lambda: alert not in helpers.alerts(), EDIT_SECONDS + 30, every=1)
    figure(
        f"broken file: refused everywhere after {refused - began:.1f} s, {alert} fired after {fired - began:.1f} s"
    )
