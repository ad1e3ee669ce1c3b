"""Notifications, from a real messenger to a real HTTP server: what arrives, how often, and at whose cost."""

import io
import random
import re
import signal
import subprocess
import threading
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from tests.support.cli_process import COMMAND, end, environment
from tests.support.operators import Asker
from tests.support.receiver import receiver
from tests.support.stepped import SteppedLeader, SteppedWorker, minute
from tests.support.stepped import job as timed
from tests.support.waiting import eventually
from tests.support.workers import KEYS, ended, job, push, status, worker

from kuber_cron.common.clock import SystemClock
from kuber_cron.common.config.host import Host
from kuber_cron.common.config.notification_settings import webhook_of
from kuber_cron.common.config.settings import Settings
from kuber_cron.common.errors import SettingsError
from kuber_cron.common.notifications import json_format
from kuber_cron.common.notifications.delivery_queue import Backoff
from kuber_cron.common.notifications.events import Missed, RunEnded
from kuber_cron.common.notifications.healthchecks import Ping
from kuber_cron.common.notifications.sender import NotificationSender
from kuber_cron.common.notifications.webhook import Webhook
from kuber_cron.common.observability import logging_setup
from kuber_cron.scheduler.maintenance.redis_observer import read
from kuber_cron.scheduler.notifications import SchedulerNotifications

DOCS = Path(__file__).parents[4] / "docs" / "notifications.md"
QUICK = Backoff(first_seconds=0.02, factor=1.0, jitter=0.0)
AT = datetime(2026, 3, 1, tzinfo=UTC)


def failure(name="backup", **more):
    given = {"job": name, "run": f"{name}-1", "attempt": 1, "outcome": "failed", "exit_code": 2, **more}
    return RunEnded(**given)


@pytest.fixture
def receiving():
    with receiver() as made:
        yield made


@pytest.fixture
def messengers(receiving):
    """Makes messengers that write to the receiver."""
    made = []

    def make(url="", *, form="json", keys_file=None, has_webhook=True, **options):
        webhook = Webhook(url=url or f"{receiving.url}/hook", channel=form, keys_file=keys_file)
        registry = CollectorRegistry()
        one = NotificationSender(
            webhook if has_webhook else None,
            clock=SystemClock(),
            registry=registry,
            **{"backoff": QUICK, "rng": random.Random(1), "timeout_seconds": 5.0, **options},
        )
        one.registry = registry
        made.append(one)
        return one

    yield make
    receiving.let_go.set()
    for one in made:
        one.close(0.2)


def count(made, outcome, kind="failure"):
    labels = {"kind": kind, "outcome": outcome}
    return made.registry.get_sample_value("cron_notifications_total", labels) or 0


# --- one message ----------------------------------------------------------------------------------


def test_a_notice_arrives_once_as_json(receiving, messengers):
    made = messengers()
    made.notify("failure", failure())
    eventually(lambda: count(made, "sent") == 1)
    (arrived,) = receiving.received
    assert (arrived.path, arrived.headers["Content-Type"]) == ("/hook", "application/json")
    assert (arrived.json["kind"], arrived.json["job"], arrived.json["exit_code"]) == ("failure", "backup", 2)
    assert "Kuber-Cron-Signature" not in arrived.headers


def test_what_the_job_does_not_want_is_not_told(receiving, messengers):
    made = messengers()
    made.notify("recovery,missed", failure())
    made.notify("never", failure())
    made.notify("always", failure("other"))
    eventually(lambda: count(made, "sent") == 1)
    assert [arrived.json["job"] for arrived in receiving.received] == ["other"]


def test_the_manuals_example_verifies_a_notice_and_no_other(receiving, messengers, tmp_path):
    keys_file = tmp_path / "keys"
    keys_file.write_text("old key\nnew key\n")
    made = messengers(keys_file=keys_file)
    made.notify("failure", failure())
    eventually(lambda: receiving.received)
    (arrived,) = receiving.received
    example = {}
    exec(re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)[1], example)  # noqa: S102 - it is our own
    is_genuine, header = example["is_genuine"], arrived.headers["Kuber-Cron-Signature"]
    now = datetime.now(UTC).timestamp()
    assert is_genuine(header, arrived.body, b"old key", now)
    assert is_genuine(header, arrived.body, b"new key", now)
    assert not is_genuine(header, arrived.body, b"wrong key", now)
    assert not is_genuine(header, arrived.body + b" ", b"old key", now)
    assert not is_genuine(header, arrived.body, b"old key", now + 600)


def test_slack_is_told_in_its_own_form(receiving, messengers):
    made = messengers(form="slack")
    made.notify("failure", failure(output="<!channel> & co"))
    eventually(lambda: receiving.received)
    (arrived,) = receiving.received
    assert arrived.json["text"] == "backup failed with exit code 2"
    assert arrived.json["attachments"][0]["text"] == "```\n&lt;!channel&gt; &amp; co\n```"


def test_a_user_in_the_address_becomes_basic_authentication(receiving, messengers):
    made = messengers(receiving.url.replace("//", "//me:p%40ss@") + "/hook")
    made.notify("failure", failure())
    eventually(lambda: receiving.received)
    assert receiving.received[0].headers["authorization"] == "Basic bWU6cEBzcw=="


# --- a receiver in trouble ------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [500, 503, 429, 408, "drop"])
def test_it_is_tried_again_after(trouble, receiving, messengers):
    receiving.answers = [trouble, trouble]
    made = messengers()
    made.notify("failure", failure())
    eventually(lambda: count(made, "sent") == 1)
    assert len({arrived.json["id"] for arrived in receiving.received}) == 1
    assert len(receiving.received) == 3


def test_it_is_tried_six_times_and_then_given_up(receiving, messengers):
    receiving.always = 500
    made = messengers()
    made.notify("failure", failure())
    eventually(lambda: count(made, "failed") == 1)
    assert len(receiving.received) == 6


@pytest.mark.parametrize("answer", [400, 404, (302, {"Location": "/elsewhere"})])
def test_it_is_not_tried_again_after(answer, receiving, messengers):
    receiving.answers = [answer]
    made = messengers()
    made.notify("failure", failure())
    made.notify("failure", failure("next"))
    eventually(lambda: count(made, "sent") == 1)
    assert [arrived.path for arrived in receiving.received] == ["/hook", "/hook"]
    assert count(made, "rejected") == 1


@pytest.mark.parametrize("asked", ["1", "Sun, 06 Nov 2094 08:49:37 GMT"])
def test_retry_after_is_heeded_up_to_a_bound(asked, receiving, messengers):
    receiving.answers = [(429, {"Retry-After": asked})]
    made = messengers(backoff=Backoff(first_seconds=0.01, jitter=0.0, longest_seconds=0.3))
    clock = SystemClock()
    made.notify("failure", failure())
    eventually(lambda: len(receiving.received) == 1)
    first = clock.elapsed()
    eventually(lambda: count(made, "sent") == 1)
    assert clock.elapsed() - first >= 0.25


def test_a_receiver_that_is_not_there_is_tried_until_it_is_given_up(messengers):
    made = messengers("http://127.0.0.1:9/hook")
    made.notify("failure", failure())
    eventually(lambda: count(made, "failed") == 1)


def test_an_address_that_is_none_is_rejected_and_the_next_message_goes(receiving, messengers):
    made = messengers()
    made.ping(Ping(url="http://[::1/", job="backup", run="backup-1", signal="start"))
    made.notify("failure", failure())
    eventually(lambda: count(made, "sent") == 1)
    eventually(lambda: count(made, "rejected", "ping") == 1)


def test_who_tells_does_not_wait_for_a_receiver_that_hangs_and_what_does_not_fit_is_dropped(
    receiving, messengers
):
    receiving.always = "hang"
    made = messengers(max_waiting=10)
    clock = SystemClock()
    for _ in range(500):
        made.notify("failure", failure())
    # Who had waited for an answer, which is none, would have found room in the queue.
    assert count(made, "dropped") == 490
    # A try that begins after the last call is given no more than the time that is left, and has failed then.
    eventually(lambda: receiving.received)
    closed = clock.elapsed()
    made.close(0.2)
    assert clock.elapsed() - closed < 10.0  # the receiver hangs for half a minute
    assert count(made, "dropped") == 500


def test_a_host_that_hangs_does_not_hold_up_another(receiving, messengers):
    made = messengers(timeout_seconds=0.2, backoff=Backoff(first_seconds=60.0))
    with receiver() as dead:
        dead.always = "hang"
        for number in range(20):
            made.ping(Ping(url=f"{dead.url}/{number}", job="backup", run=f"r{number}", signal="start"))
        made.notify("failure", failure())
        eventually(lambda: count(made, "sent") == 1)
        assert len(dead.received) == 1


# --- the end --------------------------------------------------------------------------------------


def test_at_the_end_what_waits_is_tried_once_more(receiving, messengers):
    receiving.answers = [500]
    made = messengers(backoff=Backoff(first_seconds=600.0))
    made.notify("failure", failure())
    eventually(lambda: receiving.received)
    made.notify("failure", failure("second"))
    made.close(3.0)
    assert count(made, "sent") == 2
    made.notify("failure", failure("too late"))
    assert count(made, "dropped") == 1


def test_a_messenger_that_told_nobody_has_no_thread(messengers):
    made = messengers(has_webhook=False)
    made.notify("failure", failure())
    made.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "messenger"]


# --- secrets and settings --------------------------------------------------------------------------


def test_no_log_line_holds_an_address_or_a_key(receiving, messengers, tmp_path):
    keys_file = tmp_path / "keys"
    keys_file.write_text("not-for-logs-1\n")
    written = io.StringIO()
    logging_setup.configure("json", "debug", written)
    try:
        receiving.always = 500
        made = messengers(f"{receiving.url}/not-for-logs-2", keys_file=keys_file)
        made.notify("failure", failure())
        for url in (
            f"{receiving.url}/not-for-logs-3",
            "http://127.0.0.1:9/not-for-logs-4",
            "http://not-for-logs-5:x/",
        ):
            made.ping(Ping(url=url, job="backup", run="backup-1", signal="fail"))
        eventually(lambda: count(made, "failed") == 1)
        eventually(lambda: count(made, "failed", "ping") + count(made, "rejected", "ping") == 3)
        # An outcome is counted before it is logged.
        eventually(lambda: written.getvalue().count('"notification not delivered"') == 4)
    finally:
        logging_setup.configure()
    lines = written.getvalue()
    assert "not-for-logs" not in lines


def load(tmp_path, **settings):
    return webhook_of(
        Settings.load({f"KUBER_CRON_{name}": str(value) for name, value in settings.items()}, Host(cpus=2.0))
    )


def test_without_an_address_there_is_no_webhook(tmp_path):
    assert load(tmp_path, NOTIFY_FORM="slack") is None


def test_the_address_may_lie_in_a_file_which_is_read_again(tmp_path):
    path = tmp_path / "url"
    path.write_text("https://example.org/one\n")
    webhook = load(tmp_path, NOTIFY_URL_FILE=path, NOTIFY_URL="https://example.org/", NOTIFY_FORM="slack")
    assert webhook.address() == "https://example.org/one"
    path.write_text("https://example.org/two\n")
    assert (webhook.address(), webhook.channel) == ("https://example.org/two", "slack")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"NOTIFY_URL": "hooks.example/secret"}, "KUBER_CRON_NOTIFY_URL=.*allowed is"),
        ({"NOTIFY_URL_FILE": "/nowhere"}, "KUBER_CRON_NOTIFY_URL_FILE: cannot read /nowhere"),
        ({"NOTIFY_URL_FILE": "/dev/null"}, "KUBER_CRON_NOTIFY_URL_FILE: /dev/null does not hold"),
        ({"NOTIFY_URL": "https://a", "NOTIFY_KEY_FILE": "/nowhere"}, "NOTIFY_KEY_FILE: cannot read"),
        ({"NOTIFY_URL": "https://a", "NOTIFY_KEY_FILE": "/dev/null"}, "NOTIFY_KEY_FILE: /dev/null is empty"),
    ],
)
def test_a_bad_setting_is_named_and_its_secret_is_not(settings, complaint, tmp_path):
    with pytest.raises(SettingsError, match=complaint) as caught:
        load(tmp_path, **settings)
    assert "secret" not in caught.value.message


# --- a real worker --------------------------------------------------------------------------------

# With a second queue a claimer waits less for each of them, and the worker ends sooner.
working = partial(worker, queues=("default", "spare"))


def test_a_job_that_fails_and_then_works_is_told_as_failure_and_recovery(
    receiving, messengers, redis_client, redis_url, tmp_path
):
    flag = tmp_path / "works"
    flaky = job("flaky", f"echo trying; test -e {flag} || exit 3", team="ops", description="does not always")
    with working(redis_url, tmp_path, messenger=messengers()):
        for _ in range(2):
            ended(redis_client, push(redis_client, flaky))
        flag.touch()
        recovering = push(redis_client, flaky)
        ended(redis_client, recovering)
        ended(redis_client, push(redis_client, flaky))
    eventually(lambda: len(receiving.received) >= 3)
    assert receiving.kinds() == ["failure", "failure", "recovery"]
    first, _, last = (arrived.json for arrived in receiving.received)
    assert (first["outcome"], first["exit_code"], first["output"]) == ("failed", 3, "trying\n")
    assert (first["team"], first["description"], first["attempt"]) == ("ops", "does not always", 1)
    assert 0 <= first["duration_seconds"] < 5
    assert first["scheduled_at"] < first["started_at"] <= first["ended_at"]
    assert (last["job"], last["run"], last["outcome"]) == ("flaky", recovering, "success")


def test_an_attempt_that_will_be_tried_again_is_not_told(
    receiving, messengers, redis_client, redis_url, tmp_path
):
    with working(redis_url, tmp_path, messenger=messengers()):
        run = push(redis_client, job("again", "exit 1", retries=1, retry_delay=60))
        eventually(lambda: status(redis_client, run) == "scheduled")
        ended(redis_client, push(redis_client, job("last", "exit 1")))
        eventually(lambda: receiving.received)
    assert [arrived.json["job"] for arrived in receiving.received] == ["last"]


def test_a_run_that_was_to_be_stopped_is_told_as_stopped_though_the_worker_asked_for_a_retry(
    receiving, messengers, redis_client, redis_url, tmp_path
):
    go = tmp_path / "go"
    waits = job("waits", f"until [ -e {go} ]; do sleep 0.02; done; exit 1", retries=3)
    with working(redis_url, tmp_path, messenger=messengers()):
        run = push(redis_client, waits)
        eventually(lambda: status(redis_client, run) == "started")
        redis_client.hset(KEYS.run(run), "stop", "stopped")  # the worker hears of it with its next heartbeat
        go.touch()
        ended(redis_client, run)
        eventually(lambda: receiving.received)
    assert receiving.kinds() == ["failure"]


def test_a_run_that_a_newer_one_replaces_is_no_failure(
    receiving, messengers, redis_client, redis_url, tmp_path
):
    replaced = job("replaced", "sleep 30", notify="always", ping=f"{receiving.url}/ping")
    with working(redis_url, tmp_path, messenger=messengers()) as made:
        run = push(redis_client, replaced)
        eventually(made.running)
        redis_client.hset(KEYS.run(run), "stop", "replaced")
        made._supervisor.stop(made.running()[0].launch.execution_id, "stopped", grace_seconds=0.0)
        ended(redis_client, run)
        ended(redis_client, push(redis_client, job("replaced", "true", notify="failure,recovery,always")))
    eventually(lambda: len(receiving.received) == 3)
    assert receiving.paths() == ["/ping/start", "/hook", "/hook"]
    assert [arrived.json["kind"] for arrived in receiving.received[1:]] == ["ended", "success"]


def test_a_run_that_cannot_be_verified_is_told(receiving, messengers, redis_client, redis_url, tmp_path):
    run = push(redis_client, job("forged", "true"))
    with working(redis_url, tmp_path, messenger=messengers(), signing_keys=[b"key"]):
        ended(redis_client, run)
        eventually(lambda: receiving.received)
    told = receiving.received[0].json
    assert (told["kind"], told["job"], told["run"]) == ("failure", "forged", run)
    assert "not signed" in told["output"]


def test_pings_tell_start_and_end_of_each_run_in_order(
    receiving, messengers, redis_client, redis_url, tmp_path
):
    url = f"{receiving.url}/uuid"
    receiving.answers = [500]  # the first start is tried again, and its end still comes after it
    with working(redis_url, tmp_path, messenger=messengers(has_webhook=False)):
        for command in ("echo fine", "exit 7", "kill -9 $$"):
            ended(redis_client, push(redis_client, job("pings", command, ping=url)))
    eventually(lambda: len(receiving.received) == 7)
    # Of one run; a run's start may overtake the end of another.
    of_runs = {}
    for path, arrived in zip(receiving.paths(), receiving.received, strict=True):
        of_runs.setdefault(arrived.path.partition("rid=")[2], []).append(path)
    assert list(of_runs.values()) == [
        ["/uuid/start", "/uuid/start", "/uuid"],
        ["/uuid/start", "/uuid/7"],
        ["/uuid/start", "/uuid/fail"],
    ]
    (fine,) = (
        arrived.body
        for path, arrived in zip(receiving.paths(), receiving.received, strict=True)
        if path == "/uuid"
    )
    assert fine == b"fine\n"


def test_a_receiver_that_hangs_costs_no_run_anything(
    receiving, messengers, redis_client, redis_url, tmp_path
):
    receiving.always = "hang"
    told = job("told", "exit 1", ping=f"{receiving.url}/ping")
    with working(redis_url, tmp_path, slots=2, messenger=messengers(timeout_seconds=3600.0)) as made:
        for run in [push(redis_client, told) for _ in range(10)]:
            ended(redis_client, run)
        assert not made.running()
    assert len(receiving.received) == 1  # and has not been answered yet


# --- the leader -----------------------------------------------------------------------------------


def told_by(leader, made, *, seen=None):
    """What the leader tells when it looks now."""
    teller = seen or SchedulerNotifications(made, leader.store)
    teller.notify_missed(read(leader.store, []).missed, leader.term, leader.catalog.entries)
    return teller


def test_missed_instants_are_told_with_reason_and_count(receiving, messengers, redis_client):
    leader, made = SteppedLeader(redis_client, timed(concurrency="forbid", notify="missed")), messengers()
    leader.minutes(0, 4)
    teller = told_by(leader, made)
    eventually(lambda: count(made, "sent", "missed") == 1)
    (arrived,) = receiving.received
    told = arrived.json
    assert (told["kind"], told["reason"], told["count"], told["leader"]) == ("missed", "overlap", 3, "leader")
    assert (told["first_at"], told["last_at"]) == ("2026-03-01T00:02:00Z", "2026-03-01T00:04:00Z")
    leader.decide(minute(5))
    told_by(leader, made, seen=teller)
    told_by(leader, made, seen=teller)
    eventually(lambda: count(made, "sent", "missed") == 2)
    assert [arrived.json["count"] for arrived in receiving.received] == [3, 1]


def test_a_run_that_its_predecessor_has_cost_is_told_as_missed(receiving, messengers, redis_client):
    first, second = timed("first"), timed("second", after=["first"], notify="missed")
    leader, worker, made = (
        SteppedLeader(redis_client, first, second),
        SteppedWorker(redis_client),
        messengers(),
    )
    leader.decide(minute(0))
    for number in (1, 2):
        leader.decide(minute(number))
        worker.end(worker.take(), "fail")
    told_by(leader, made)
    eventually(lambda: count(made, "sent", "missed") == 1)
    told = receiving.received[0].json
    assert (told["job"], told["reason"], told["count"]) == ("second", "predecessor", 2)


def test_what_somebody_stopped_or_asked_for_is_no_missed_instant(receiving, messengers, redis_client):
    first, second = timed("first"), timed("second", concurrency="forbid", after=["first"], notify="missed")
    leader, worker, made = (
        SteppedLeader(redis_client, first, second),
        SteppedWorker(redis_client),
        messengers(),
    )
    asker = Asker(leader)
    leader.minutes(0, 1)
    worker.work()
    asker.trigger("first", chain=True)
    worker.end(worker.take(), "fail")
    (one,) = asker.trigger("second")
    asker.acts.stop(one.run)
    leader.decide(minute(2))
    worker.end(worker.take())
    asker.acts.stop(leader.run(2, "second"))
    assert leader.words("second")[-2:] == ["released", "ended stopped"]
    told_by(leader, made)
    asker.trigger("second")
    leader.decide(minute(3))
    worker.end(worker.take())
    told_by(leader, made)
    eventually(lambda: count(made, "sent", "missed") == 1)
    assert receiving.received[0].json["reason"] == "overlap"


def test_what_is_suspended_unwanted_or_of_another_leaders_term_is_not_told(
    receiving, messengers, redis_client
):
    jobs = (
        timed("suspended", suspend=True, notify="missed"),
        timed("unwanted", concurrency="forbid"),
        timed("old", concurrency="forbid", notify="missed"),
        timed("new", concurrency="forbid", notify="missed"),
    )
    leader, made = SteppedLeader(redis_client, *jobs), messengers()
    leader.minutes(0, 2)
    leader.lead(2)
    redis_client.delete(KEYS.log("new"))
    leader.decide(minute(3))
    leader.edit(*jobs[:3], timed("new", concurrency="forbid", notify="missed"))
    teller = told_by(leader, made)
    made.close(3.0)
    assert sorted((arrived.json["job"], arrived.json["count"]) for arrived in receiving.received) == [
        ("new", 1),
        ("old", 1),
    ]
    assert teller._epochs == {2}


def test_a_run_lost_for_good_is_told_by_the_leader(receiving, messengers, redis_client):
    lost = timed(max_lost=0, ping=f"{receiving.url}/ping")
    leader, worker, made = SteppedLeader(redis_client, lost), SteppedWorker(redis_client), messengers()
    leader.minutes(0, 1)
    run = worker.take()
    worker.die()
    (tidied,) = (one for one in leader.tidy() if one.what == "lost_failed")
    SchedulerNotifications(made, leader.store).notify_lost(tidied.run, lost, leader.term, AT)
    eventually(lambda: len(receiving.received) == 2)
    hook, ping = receiving.received
    told = hook.json
    assert (told["kind"], told["outcome"], told["run"]) == ("failure", "lost", run)
    assert (told["worker"], told["leader"], told["scheduled_at"]) == (
        "worker",
        "leader",
        "2026-03-01T00:01:00Z",
    )
    assert ping.path.startswith("/ping/fail?rid=")


# --- real processes -------------------------------------------------------------------------------


def test_a_worker_that_is_told_to_end_tells_the_end_of_its_last_command(
    receiving, redis_client, redis_url, tmp_path
):
    settings = {
        "REDIS_URL": redis_url,
        "INSECURE": "1",
        "METRICS_PORT": "0",
        "METRICS_HOST": "127.0.0.1",
        "LOG_DIR": str(tmp_path),
        "REDIS_ALLOW_VOLATILE": "1",
        "NOTIFY_URL": f"{receiving.url}/hook",
        "LOG_LEVEL": "debug",
    }
    process = subprocess.Popen(
        [*COMMAND, "worker"],
        env=environment(**{f"KUBER_CRON_{name}": value for name, value in settings.items()}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        go = tmp_path / "go"
        run = push(
            redis_client, job("last", f"env > {tmp_path}/env; until [ -e {go} ]; do sleep 0.02; done; exit 4")
        )
        eventually((tmp_path / "env").exists, 20)
        process.send_signal(signal.SIGTERM)
        go.touch()
        assert process.wait(60) == 0
        assert [(one.json["run"], one.json["exit_code"]) for one in receiving.received] == [(run, 4)]
        assert "NOTIFY" not in (tmp_path / "env").read_text()
        assert f"{receiving.url}/hook" not in process.stderr.read()
    finally:
        end([process])


def test_the_manual_shows_the_json_that_is_sent():
    shown = set(re.findall(r'"([a-z_]+)":', DOCS.read_text()))
    assert shown == set(failure_document())


def failure_document():
    return json_format.document(failure(), "kuber-cron")


def test_a_missed_notice_has_what_the_manual_says():
    missed = Missed(job="a", reason="overlap", first_at=AT, last_at=AT, count=1, leader="x")
    told = set(json_format.document(missed, "a")) - set(failure_document())
    assert all(f"`{key}`" in DOCS.read_text() for key in told)
