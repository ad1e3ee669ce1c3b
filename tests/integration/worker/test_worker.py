"""The worker on a real Redis with real commands, seen through RQ's own eyes."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis
from rq.command import send_stop_job_command
from rq.queue import Queue
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from tests.support.waiting import eventually
from tests.support.workers import KEYS, ended, job, push, status, worker

from kuber_cron.common.redis_store import connections
from kuber_cron.worker.coordination.rq_registration import RqRegistration


def sample(made, name, **labels):
    return made.registry.get_sample_value(name, labels)


def test_a_run_is_executed_logged_and_finished(redis_client: redis.Redis, redis_url: str, tmp_path: Path):
    run = push(redis_client, job("hello", "echo to stdout; echo to stderr >&2"))
    with worker(redis_url, tmp_path) as made:
        result = ended(redis_client, run)
        assert result.is_finished
        value = result.return_value()
        assert (value["outcome"], value["exit_code"], value["attempt"]) == ("success", 0, 1)
        assert sorted(value["head"].splitlines()) == ["to stderr", "to stdout"]
        assert sorted(Path(value["log"]).read_text().splitlines()) == ["to stderr", "to stdout"]
        eventually(lambda: sample(made, "cron_job_executions_total", job="hello", outcome="success") == 1)


def test_the_command_knows_its_run_and_not_our_settings(redis_client, redis_url, tmp_path):
    environ = {**os.environ, "KUBER_CRON_REDIS_URL": "redis://secret@nowhere"}
    run = push(redis_client, job("env", "env", env={"MINE": "x y"}))
    with worker(redis_url, tmp_path, environ=environ):
        lines = ended(redis_client, run).return_value()["head"].splitlines()
    assert f"KUBER_CRON_RUN_ID={run}" in lines
    assert "KUBER_CRON_JOB=env" in lines
    assert "KUBER_CRON_ATTEMPT=1" in lines
    assert "MINE=x y" in lines
    assert not [line for line in lines if "secret" in line]


def test_several_commands_run_at_once(redis_client, redis_url, tmp_path):
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    # Each waits until all four are there: one after the other, none would ever end.
    command = (
        f"touch {meeting}/$KUBER_CRON_RUN_ID; until [ $(ls {meeting} | wc -l) -ge 4 ]; do sleep 0.05; done"
    )
    pushed = [push(redis_client, job(f"meet{i}", command, timeout=20)) for i in range(4)]
    with worker(redis_url, tmp_path, slots=4):
        assert all(ended(redis_client, run).is_finished for run in pushed)


def test_no_more_commands_than_slots_run_at_once(redis_client, redis_url, tmp_path):
    log = tmp_path / "log"
    command = f"echo + >> {log}; sleep 0.1; echo - >> {log}"
    pushed = [push(redis_client, job(f"job{i}", command)) for i in range(6)]
    with worker(redis_url, tmp_path, slots=2):
        assert all(ended(redis_client, run).is_finished for run in pushed)
    running = most = 0
    for sign in log.read_text().split():
        running += 1 if sign == "+" else -1
        most = max(most, running)
    assert most == 2


def test_a_failed_run_is_scheduled_again_by_its_policy(redis_client, redis_url, tmp_path):
    run = push(redis_client, job("flaky", "exit 3", retries=1, retry_delay=30, retry_jitter=0))
    with worker(redis_url, tmp_path) as made:
        eventually(lambda: status(redis_client, run) == "scheduled")
        due = redis_client.zscore("rq:scheduled:default", run)
        now = redis_client.time()[0]
        assert 28 <= due - now <= 31
        assert redis_client.hget(KEYS.run(run), "retried") == b"1"
        eventually(lambda: sample(made, "cron_job_retries_total", job="flaky") == 1)
        assert sample(made, "cron_job_failures_total", job="flaky", reason="failed") == 1


def test_a_failure_tells_its_exit_code_and_the_end_of_its_output(redis_client, redis_url, tmp_path):
    run = push(redis_client, job("bad", "echo the reason; exit 7"))
    with worker(redis_url, tmp_path):
        failed = ended(redis_client, run)
    assert failed.is_failed
    assert "exit code 7" in failed.latest_result().exc_string
    assert "the reason" in failed.latest_result().exc_string


def test_a_command_over_its_time_limit_is_ended(redis_client, redis_url, tmp_path):
    run = push(redis_client, job("slow", "sleep 60", timeout=0.3, kill_grace=1))
    with worker(redis_url, tmp_path):
        failed = ended(redis_client, run)
    assert failed.latest_result().return_value["outcome"] == "timed_out"


def test_standard_input_is_what_the_crontab_says(redis_client, redis_url, tmp_path):
    run = push(redis_client, job("cat", "cat", stdin="one\ntwo\n"))
    with worker(redis_url, tmp_path):
        assert ended(redis_client, run).return_value()["head"] == "one\ntwo\n"


def test_a_list_is_executed_without_a_shell(redis_client, redis_url, tmp_path):
    run = push(redis_client, job("list", ["printf", "%s|", "a b", "$HOME"]))
    with worker(redis_url, tmp_path):
        assert ended(redis_client, run).return_value()["head"] == "a b|$HOME|"


def test_a_drained_worker_requeues_what_it_had_to_interrupt(redis_client, redis_url, tmp_path):
    run = push(redis_client, job("long", "sleep 60", kill_grace=0.2))
    with worker(redis_url, tmp_path, grace_seconds=1.0) as first:
        eventually(first.running)  # in Redis it is started before the worker has heard so
    assert status(redis_client, run) == "queued"
    assert redis_client.lrange(KEYS.queue("default"), 0, -1) == [run.encode()]
    assert redis_client.hget(KEYS.run(run), "interrupted") == b"1"
    with worker(redis_url, tmp_path, grace_seconds=1.0) as second:
        eventually(lambda: sample(second, "cron_job_recoveries_total", job="long") == 1)


def test_a_drained_worker_leaves_nothing_of_itself_behind(redis_client, redis_url, tmp_path):
    with worker(redis_url, tmp_path):
        ended(redis_client, push(redis_client, job()))
    assert redis_client.smembers("rq:workers") == set()
    assert redis_client.keys(KEYS.claims("*")) == []
    assert redis_client.keys("rq:execution:*") == []
    assert redis_client.zcard("rq:wip:default") == 0
    assert redis_client.keys(KEYS.alive("*")) == []


def test_rq_tells_a_running_command_as_it_tells_its_own(redis_client, redis_url, tmp_path):
    run = push(redis_client, job("shown", "sleep 60", kill_grace=0.1))
    with worker(redis_url, tmp_path, grace_seconds=0.5) as made:
        eventually(lambda: status(redis_client, run) == "started")
        queue = Queue("default", connection=redis_client, serializer=JSONSerializer)
        # get_job_ids runs RQ's own clean-up, with this reader's clock.
        assert StartedJobRegistry(queue=queue).get_job_ids() == [run]
        listing = subprocess.run(
            [sys.executable, "-m", "rq.cli", "info", "--url", redis_url, "--serializer", "json", "--raw"],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        assert made.name in listing.stdout


def test_the_stop_command_of_rq_ends_the_run_as_stopped(redis_client, redis_url, tmp_path):
    run = push(redis_client, job("stopme", "sleep 60", retries=5))
    with worker(redis_url, tmp_path) as made:
        eventually(made.running)
        eventually(lambda: redis_client.pubsub_numsub(f"rq:pubsub:{made.name}")[0][1] == 1)
        send_stop_job_command(redis_client, run, serializer=JSONSerializer)
        eventually(lambda: status(redis_client, run) == "stopped")


@pytest.mark.parametrize("forged", [b"not json", json.dumps(["os.system", None, ["id"], {}]).encode()])
def test_a_payload_that_cannot_be_read_fails_and_the_worker_goes_on(
    redis_client, redis_url, tmp_path, forged
):
    bad = push(redis_client, job("bad"))
    redis_client.hset(KEYS.run(bad), "data", forged)
    good = push(redis_client, job("good"))
    with worker(redis_url, tmp_path) as made:
        assert ended(redis_client, good).is_finished
        assert ended(redis_client, bad).is_failed
        assert sample(made, "cron_quarantined_total", reason="malformed") == 1


def test_an_altered_command_is_not_run_where_a_key_is_set(redis_client, redis_url, tmp_path):
    proof = tmp_path / "proof"
    forged = push(redis_client, job("forged", f"touch {proof}"), signing_key=b"somebody else's")
    signed = push(redis_client, job("signed"), signing_key=b"ours")
    with worker(redis_url, tmp_path, signing_keys=[b"ours"]) as made:
        assert ended(redis_client, signed).is_finished
        assert ended(redis_client, forged).is_failed
        assert sample(made, "cron_quarantined_total", reason="signature") == 1
    assert not proof.exists()


def test_a_run_taken_by_another_is_ended_here_and_its_outcome_is_not_recorded(
    redis_client, redis_url, tmp_path
):
    run = push(redis_client, job("taken", "sleep 60"))
    with worker(redis_url, tmp_path, ttl_seconds=4.0) as made:
        eventually(made.running)
        redis_client.hset(KEYS.run(run), "execution", "somebody else's")
        eventually(lambda: not made.running())
        eventually(lambda: redis_client.hget(KEYS.counters, "late") == b"1")
        assert status(redis_client, run) == "started"


def test_rqs_worker_does_not_make_our_connection_wait_longer(redis_url):
    with connections.open_client(redis_url, "rq") as client:
        before = client.connection_pool.connection_kwargs["socket_timeout"]
        made = RqRegistration(["default"], "w", client, 15.0)
        assert made.connection.connection_pool.connection_kwargs["socket_timeout"] == before


def test_a_worker_whose_loop_has_ended_is_not_alive(redis_url, tmp_path):
    with worker(redis_url, tmp_path) as made:
        assert made.checks()["loop"]() == "ok"
        made._threads["live-output"] = over = threading.Thread(target=str)
        over.start()
        over.join()
        assert made.checks()["loop"]() == "the live-output loop has ended"


def test_each_final_end_is_counted_in_redis_by_how_it_came(redis_client, redis_url, tmp_path):
    with worker(redis_url, tmp_path):
        for command in ("true", "false", "true"):
            ended(redis_client, push(redis_client, job("counted", command)))
        run = push(redis_client, job("counted", "test $KUBER_CRON_ATTEMPT = 2", retries=1, retry_delay=3600))
        eventually(lambda: status(redis_client, run) == "scheduled")
    assert redis_client.hgetall(KEYS.ended) == {b"counted|success": b"2", b"counted|failed": b"1"}


def test_suspended_workers_claim_nothing_until_resumed(redis_client, redis_url, tmp_path):
    redis_client.set("rq:suspended", 1)
    with worker(redis_url, tmp_path) as made:
        run = push(redis_client, job())
        eventually(lambda: redis_client.exists(KEYS.alive(made.name)))
        assert status(redis_client, run) == "queued"
        redis_client.delete("rq:suspended")
        assert ended(redis_client, run).is_finished
