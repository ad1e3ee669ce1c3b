"""Waiting for a run, step by step on a real Redis: its output once, each attempt told of, outages outlived."""

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
import structlog
from tests.support.stepped import KEYS, SteppedLeader, SteppedWorker, job, minute
from tests.support.waiting import eventually

from kuber_cron.cli.commands import _follow_run
from kuber_cron.common.errors import RedisUnreachableError
from kuber_cron.common.redis_store import connections
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.control.actions import await_run
from kuber_cron.control.actions.errors import RunGoneError


class Waiting:
    """Somebody waits for the job's run of minute 1, in a thread."""

    def __init__(self, url, **policy):
        self.client = redis.Redis.from_url(url, protocol=2)
        self.leader = SteppedLeader(self.client, job(**policy))
        self.leader.minutes(0, 1)
        self.run = self.leader.run(1)
        self.worker = SteppedWorker(self.client)
        self._store = Store(connections.open_client(url, "reading"), KEYS)
        self._pool = ThreadPoolExecutor(1)
        self.future = None

    def begin(self, **how):
        self.future = self._pool.submit(_follow_run.follow, self._store, self.run, **how)

    def ended(self):
        return self.future.result(20)

    def says(self, text):
        """The running command has said so much so far."""
        execution = self.worker.running[self.run]
        self.client.set(KEYS.output(execution), json.dumps(kept(text)))

    def end(self, action="finish", *, text="", **value):
        outcome = {"finish": "success", "stop": "stopped"}.get(action, "failed")
        told = {
            "outcome": outcome,
            "attempt": 1,
            "seconds": 1.0,
            "output_bytes": len(text),
            **kept(text),
            **value,
        }
        result = ["type", "1", "execution_id", self.worker.running[self.run], "return_value"]
        encoded = base64.b64encode(json.dumps(told).encode()).decode()
        self.worker.end(self.run, action, result=[*result, encoded])

    def close(self):
        self._pool.shutdown()
        self._store.client.close()
        self.client.close()


def kept(text):
    return {
        "head": text,
        "tail": "",
        "streams": [["stdout", len(text)]],
        "omitted_bytes": 0,
        "total_bytes": len(text),
    }


@pytest.fixture(autouse=True)
def quiet():
    """Standard output has what commands say, and no log line."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def waiting(redis_client, redis_url):
    made = []

    def make(**policy):
        made.append(Waiting(redis_url, **policy))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_what_is_said_is_shown_once_while_it_is_said(waiting, capfd):
    one = waiting()
    one.begin()
    one.worker.take()
    shown = ""
    for text in ("one\n", "one\ntwo\n"):
        one.says(text)
        shown += eventually(lambda: capfd.readouterr().out)
        assert shown == text
    one.end(text="one\ntwo\nthree\n", exit_code=0)
    assert one.ended().exit_status == 0
    assert capfd.readouterr().out == "three\n"


def test_each_attempt_is_shown_from_its_beginning_and_told_of(waiting, capfd):
    one = waiting(retries=1)
    one.begin()
    one.worker.take()
    one.end("retry", text="first\n", exit_code=1)
    eventually(lambda: one.leader.tidy(seconds_ahead=60))
    one.worker.take()
    one.end("fail", text="first\n", exit_code=5, attempt=2)
    end = one.ended()
    assert (end.outcome, end.exit_code, end.exit_status, end.attempt) == ("failed", 5, 5, 2)
    assert end.summary == "failed (exit code 5) after 1.0 s"
    out, err = capfd.readouterr()
    assert out == "first\nfirst\n"
    assert err == "kuber-cron: attempt 1: failed, there will be another\n"


@pytest.mark.parametrize(
    ("action", "value", "exit_status", "sentence"),
    [
        ("finish", {"exit_code": 0}, 0, "success after 1.0 s"),
        ("finish", {"exit_code": 7}, 7, "success after 1.0 s"),
        ("fail", {"exit_code": 3}, 3, "failed (exit code 3) after 1.0 s"),
        ("fail", {"outcome": "failed", "exit_code": None}, 1, "failed after 1.0 s"),
        ("stop", {"signal": 15}, 143, "stopped (signal 15) after 1.0 s"),
        ("stop", {"exit_code": 0}, 1, "stopped (exit code 0) after 1.0 s"),
    ],
)
def test_the_exit_status_is_the_commands_and_never_0_for_what_did_not_succeed(
    waiting, action, value, exit_status, sentence
):
    one = waiting()
    one.begin(is_silent=True)
    one.worker.take()
    one.end(action, **value)
    end = one.ended()
    assert (end.exit_status, end.summary) == (exit_status, sentence)


def test_a_run_that_never_ran_has_exit_status_1(waiting):
    one = waiting(concurrency="replace")
    one.begin()
    one.leader.decide(minute(2))
    end = one.ended()
    assert (end.outcome, end.exit_status, end.summary) == ("replaced", 1, "replaced")


def test_attempts_before_the_waiting_are_not_shown(waiting, capfd):
    one = waiting(retries=1)
    one.worker.take()
    one.end("retry", text="before\n", exit_code=1)
    since = await_run.newest_result(Store(one.client, KEYS), one.run)
    one.begin(since=since)
    one.leader.tidy(seconds_ahead=60)
    one.worker.take()
    one.end(text="after\n", exit_code=0, attempt=2)
    assert one.ended().exit_status == 0
    assert capfd.readouterr().out == "after\n"


def test_a_run_that_somebody_deletes_ends_the_waiting(waiting):
    one = waiting()
    one.begin()
    one.client.delete(KEYS.run(one.run))
    with pytest.raises(RunGoneError, match="was deleted before it had ended"):
        one.ended()


def test_whoever_stops_waiting_is_told_that_the_run_goes_on(waiting, capfd, monkeypatch):
    one = waiting()

    class Impatient:
        def wait(self, _seconds):
            raise KeyboardInterrupt

    monkeypatch.setattr(threading, "Event", Impatient)
    with pytest.raises(KeyboardInterrupt):
        _follow_run.follow(one._store, one.run)
    assert capfd.readouterr().err == (
        f"kuber-cron: {one.run} goes on without being waited for; kuber-cron stop {one.run} ends it\n"
    )


def test_the_waiting_outlives_a_restart_of_redis(redis_server, capfd):
    server = redis_server()
    one = Waiting(server.url)
    one.begin()
    one.worker.take()
    server.stop()
    again = redis_server(server.directory)
    assert again.url == server.url
    one.end(text="back\n", exit_code=0)
    assert one.ended().exit_status == 0
    assert capfd.readouterr().out.endswith("back\n")
    one.close()


def test_a_redis_that_stays_away_is_an_error_in_the_end(redis_server, monkeypatch):
    monkeypatch.setattr(await_run, "_AWAY_SECONDS", 0.5)
    server = redis_server()
    one = Waiting(server.url)
    one.begin()
    server.stop()
    with pytest.raises(RedisUnreachableError):
        one.ended()
    one.close()
