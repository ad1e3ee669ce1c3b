"""The operator's scripts, which need no leader: stop, retry, pause, resume, and the runs in quarantine."""

import json

import pytest
from tests.support.operators import WHO, Asker, Operator, acted, acts
from tests.support.stepped import KEYS, chain, job, log_of, minute, seen

from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs.run_id import job_of_run
from kuber_cron.control.actions.operator_scripts import ScriptReply


@pytest.fixture
def operator(redis_client):
    return Operator(Store(redis_client, KEYS), WHO)


def fields(client, run, *names):
    return [(value or b"").decode() for value in client.hmget(KEYS.run(run), *names)]


def whos(client, decision, name="job"):
    """Who is recorded with these entries of the decision log."""
    return [
        told[b"who"].decode()
        for _, told in client.xrange(KEYS.log(name))
        if told[b"decision"] == decision.encode()
    ]


# --- stop --------------------------------------------------------------------------------------------


def test_a_queued_run_that_is_stopped_never_starts(make_leader, worker, redis_client, operator):
    made = seen(make_leader)
    made.decide(minute(1))
    run = made.run(1)
    assert operator.stop(run) == ScriptReply("STOPPED", ("queued",))
    assert fields(redis_client, run, "status", "outcome", "stopped_by") == ["canceled", "stopped", WHO]
    assert made.queued() == []
    assert worker.take() == ""
    assert made.words()[-1] == "ended stopped"
    assert whos(redis_client, "ended") == [WHO]


def test_a_stopped_run_is_no_missed_instant(make_leader, redis_client, operator):
    made = seen(make_leader)
    made.decide(minute(1))
    operator.stop(made.run(1))
    assert made.missed() == {}
    assert redis_client.hget(KEYS.ended, "job|stopped") == b"1"


def test_a_run_between_two_attempts_that_is_stopped_is_not_attempted_again(
    make_leader, worker, redis_client, operator
):
    made = seen(make_leader, job(retries=3))
    made.decide(minute(1))
    worker.end(worker.take(), "retry", delay=0)
    assert operator.stop(made.run(1)) == ScriptReply("STOPPED", ("scheduled",))
    made.tidy(seconds_ahead=60)
    assert worker.take() == ""
    assert fields(redis_client, made.run(1), "status", "outcome") == ["canceled", "stopped"]


def test_a_claimed_run_that_is_stopped_is_not_started(make_leader, worker, operator):
    made = seen(make_leader)
    made.decide(minute(1))
    run = worker.claim()
    assert operator.stop(run) == ScriptReply("STOPPED", ("queued",))
    assert worker.start(run) == "status is canceled"


def test_a_held_run_that_is_stopped_lets_the_next_in_line_go_on(make_leader, worker, operator):
    made = seen(make_leader, job(concurrency="queue", max_running=3))
    made.minutes(1, 3)
    running = worker.take()
    assert operator.stop(made.run(2)) == ScriptReply("STOPPED", ("deferred",))
    assert made.queued() == []
    worker.end(running)
    assert made.queued() == [made.run(3)]


def test_what_comes_after_a_stopped_run_is_not_queued(make_leader, operator):
    made = seen(make_leader, *chain("a", "b"))
    made.decide(minute(1))
    operator.stop(made.run(1, "a"))
    assert made.words("b")[-1] == "ended predecessor"
    assert made.missed() == {"b|predecessor": 1}


def test_a_run_that_waits_for_its_group_frees_its_place_when_it_is_stopped(
    make_leader, worker, operator, redis_client
):
    made = seen(make_leader, job("a", group="one:1"), job("b", group="one:1"))
    made.decide(minute(1))
    first = worker.take()
    worker.take()
    second = ({made.run(1, "a"), made.run(1, "b")} - {first}).pop()
    assert operator.stop(second) == ScriptReply("STOPPED", ("deferred",))
    assert redis_client.zcard(KEYS.waiting("one")) == 0
    worker.end(first)
    assert made.queued() == []


def test_a_running_run_is_told_to_stop_durably_and_at_once(make_leader, worker, redis_client, operator):
    made = seen(make_leader, job(retries=3))
    made.decide(minute(1))
    run = worker.take()
    with redis_client.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe("rq:pubsub:worker")
        heard.get_message(timeout=1)
        assert operator.stop(run) == ScriptReply("STOPPING", ("worker", ""))
        message = heard.get_message(timeout=1)
    assert json.loads(message["data"]) == {"command": "stop-job", "job_id": run}
    assert fields(redis_client, run, "stop", "stopped_by") == ["stopped", WHO]
    assert worker.ledger.heartbeat([(run, worker.running[run])], minute(1))[1] == ["STOP"]
    assert worker.end(run, "retry") == "STOPPED"
    assert fields(redis_client, run, "status", "outcome") == ["stopped", "failed"]


def test_a_run_that_is_being_stopped_may_be_told_again_and_counts_once(
    make_leader, worker, redis_client, operator
):
    made = seen(make_leader)
    made.decide(minute(1))
    run = worker.take()
    operator.stop(run)
    assert operator.stop(run) == ScriptReply("STOPPING", ("worker", "1"))
    assert made.words().count("stopping") == 1
    assert acted(redis_client) == {"stop": 1}
    worker.end(run, "stop")


def test_a_run_that_is_stopped_and_whose_worker_dies_is_not_attempted_again(
    make_leader, worker, redis_client, operator
):
    made = seen(make_leader)
    made.decide(minute(1))
    run = worker.take()
    operator.stop(run)
    worker.die()
    made.tidy()
    assert fields(redis_client, run, "status", "outcome") == ["stopped", "stopped"]


def test_an_ended_run_cannot_be_stopped(make_leader, worker, operator):
    made = seen(make_leader)
    made.decide(minute(1))
    worker.work()
    assert operator.stop(made.run(1)) == ScriptReply("OVER", ("finished", "success"))
    assert operator.stop("job-20260101T000000Z") == ScriptReply("UNKNOWN")


def test_a_run_of_rqs_own_is_none_of_ours(redis_client, operator):
    redis_client.hset(KEYS.run("theirs"), mapping={"status": "queued", "origin": "default"})
    assert operator.stop("theirs") == ScriptReply("FOREIGN")
    assert operator.retry("theirs") == ScriptReply("FOREIGN")


# --- retry -------------------------------------------------------------------------------------------


def failed(make_leader, worker, number=1, **policy):
    """A leader, and its job's run of that minute, which has failed with two retries spent."""
    made = seen(make_leader, job(retries=2, **policy))
    made.decide(minute(number))
    for action in ("retry", "retry", "fail"):
        worker.end(worker.take(), action)
        made.tidy(seconds_ahead=60)
    return made, made.run(number)


def test_a_failed_run_that_is_retried_has_all_its_budgets_again(make_leader, worker, redis_client, operator):
    made, run = failed(make_leader, worker)
    assert operator.retry(run) == ScriptReply("QUEUED")
    assert made.queued() == [run]
    started = worker.start(worker.claim())
    assert (started.attempt, started.spent.retries, started.spent.lost) == (4, 0, 0)
    assert worker.end(run) == "RECOVERED"
    assert redis_client.zscore("rq:failed:default", run) is None
    assert whos(redis_client, "retried") == [WHO]


def test_a_retried_run_never_expires_before_its_end(make_leader, worker, redis_client, operator):
    _, run = failed(make_leader, worker)
    operator.retry(run)
    assert redis_client.ttl(KEYS.run(run)) == redis_client.ttl(f"rq:results:{run}") == -1
    assert redis_client.lrange(KEYS.history("job"), 0, -1) == []
    worker.work()
    assert redis_client.ttl(KEYS.run(run)) > 0
    assert redis_client.lrange(KEYS.history("job"), 0, -1) == [run.encode()]


def test_a_success_is_retried_only_on_purpose(make_leader, worker, operator):
    made = seen(make_leader)
    made.decide(minute(1))
    worker.work()
    assert operator.retry(made.run(1)) == ScriptReply("SUCCEEDED")
    assert operator.retry(made.run(1), again=True) == ScriptReply("QUEUED")
    assert worker.work() == [made.run(1)]


def test_a_run_that_was_stopped_in_a_workers_hands_and_retried_stands_in_its_queue_alone(
    make_leader, worker, operator
):
    made = seen(make_leader)
    made.decide(minute(1))
    run = worker.claim()
    operator.stop(run)
    assert operator.retry(run) == ScriptReply("QUEUED")
    assert worker.ledger.claimed_runs() == []
    assert worker.start(run) == "not claimed by this worker"
    assert worker.work() == [run]


@pytest.mark.parametrize("state", ["queued", "started", "scheduled"])
def test_a_live_run_is_not_retried(make_leader, worker, operator, state):
    made = seen(make_leader, job(retries=1))
    made.decide(minute(1))
    if state != "queued":
        worker.take()
    if state == "scheduled":
        worker.end(made.run(1), "retry", delay=60)
    assert operator.retry(made.run(1)) == ScriptReply("LIVE", (state,))
    assert operator.retry("job-20260101T000000Z") == ScriptReply("UNKNOWN")


def test_a_retried_run_waits_in_line_where_its_job_runs_one_at_a_time(make_leader, worker, operator):
    made, run = failed(make_leader, worker, concurrency="queue")
    made.decide(minute(2))
    assert operator.retry(run) == ScriptReply("HELD")
    assert made.queued() == [made.run(2)]
    worker.end(worker.take())
    assert worker.work() == [run]


def test_a_retried_run_waits_for_every_run_that_goes_on(make_leader, worker, operator):
    made, run = failed(make_leader, worker, concurrency="queue")
    made.minutes(2, 3)
    operator.retry(run)
    assert worker.work() == [made.run(2), made.run(3), run]


def test_a_job_that_forbids_overlap_refuses_a_retry_beside_another_run_unless_forced(
    make_leader, worker, operator
):
    made, run = failed(make_leader, worker, concurrency="forbid")
    made.decide(minute(2))
    assert operator.retry(run) == ScriptReply("OVERLAP", (made.run(2),))
    assert operator.retry(run, force=True) == ScriptReply("QUEUED")
    assert set(worker.work()) == {run, made.run(2)}


def test_a_retry_is_not_late_for_the_deadline_of_its_instant(make_leader, worker, operator):
    made, run = failed(make_leader, worker, concurrency="queue", deadline=600.0)
    made.decide(minute(2))
    operator.retry(run)
    assert worker.work() == [made.run(2), run]


def test_the_next_of_a_chain_goes_by_how_the_retry_went(make_leader, worker, operator):
    """The night's backup failed and was retried in the morning: the report of noon has its backup."""
    made = seen(make_leader, job("backup", "1-59/2 * * * *"), job("report", "*/2 * * * *", after=["backup"]))
    made.decide(minute(1))
    worker.end(worker.take(), "fail")
    assert operator.retry(made.run(1, "backup")) == ScriptReply("QUEUED")
    made.decide(minute(2))
    assert made.status(2, "report") == "deferred"
    worker.end(worker.take())
    assert made.status(2, "report") == "queued"


def test_a_retry_of_a_paused_job_runs_for_somebody_wants_it(make_leader, worker, operator):
    _, run = failed(make_leader, worker)
    operator.pause("job", None)
    operator.retry(run)
    assert worker.work() == [run]


def test_a_retried_run_that_is_stopped_counts_as_no_missed_instant(make_leader, worker, operator):
    made, run = failed(make_leader, worker)
    operator.retry(run)
    operator.stop(run)
    assert made.missed() == {}


# --- pause and resume --------------------------------------------------------------------------------


def test_a_paused_job_queues_nothing_until_it_is_resumed(make_leader, redis_client, operator):
    made = seen(make_leader)
    assert operator.pause("job", None) == ScriptReply("PAUSED")
    made.decide(minute(1))
    assert operator.resume("job") == ScriptReply("RESUMED", ("",))
    made.decide(minute(2))
    assert made.words() == ["moved first seen", "paused", "skipped suspended", "resumed", "queued"]
    assert whos(redis_client, "paused") == whos(redis_client, "resumed") == [WHO]


def test_a_pause_ends_by_itself(make_leader, operator):
    made = seen(make_leader)
    operator.pause("job", operator.now().replace(microsecond=0))
    made.decide(minute(1))
    assert made.words()[-1] == "queued"
    assert [entry.reason for entry in made.log() if entry.decision == "paused"] != [""]


def test_what_has_ended_by_itself_is_cleared_away_by_the_next_pause(make_leader, redis_client, operator):
    seen(make_leader, job("a"), job("b"))
    operator.pause("a", minute(0))
    operator.pause("b", None)
    assert redis_client.hkeys(KEYS.paused) == [b"b"]


def test_all_jobs_are_paused_at_once(make_leader, redis_client, operator):
    made = seen(make_leader, job("a"), job("b"))
    assert operator.pause("*", None) == ScriptReply("PAUSED")
    made.decide(minute(1))
    assert made.missed() == {"a|suspended": 1, "b|suspended": 1}
    assert operator.resume("a") == ScriptReply("RUNNING", ("1",))
    assert operator.resume("*") == ScriptReply("RESUMED", ("",))
    made.decide(minute(2))
    assert made.words("a")[-1] == made.words("b")[-1] == "queued"
    assert [(one["action"], one["job"], one["who"]) for one in acts(redis_client)] == [
        ("pause", "*", WHO),
        ("resume", "*", WHO),
    ]


def test_a_job_that_nobody_knows_is_neither_paused_nor_resumed(make_leader, redis_client, operator):
    seen(make_leader)
    assert operator.pause("bakup", None) == operator.resume("bakup") == ScriptReply("UNKNOWN")
    assert redis_client.exists(KEYS.paused) == 0
    assert operator.resume("job") == ScriptReply("RUNNING", ("",))
    assert acted(redis_client) == {}


# --- quarantine --------------------------------------------------------------------------------------


def quarantined(make_leader, worker):
    made = seen(make_leader)
    made.decide(minute(1))
    run = worker.take()
    worker.end(run, "quarantine", "failed")
    return made, run


def test_a_released_run_is_queued_again_and_its_record_is_gone(make_leader, worker, redis_client, operator):
    made, run = quarantined(make_leader, worker)
    assert redis_client.xlen(KEYS.quarantine) == 1
    assert operator.release(run) == ScriptReply("QUEUED")
    assert redis_client.xlen(KEYS.quarantine) == 0
    assert made.queued() == [run]
    assert worker.work() == [run]
    assert operator.release(run) == ScriptReply("UNKNOWN")
    assert acted(redis_client) == {"release": 1}


def test_a_dropped_run_leaves_the_quarantine_and_is_not_queued(make_leader, worker, redis_client, operator):
    made, run = quarantined(make_leader, worker)
    assert operator.drop(run) == ScriptReply("DROPPED")
    assert redis_client.xlen(KEYS.quarantine) == 0
    assert made.queued() == []
    assert fields(redis_client, run, "status") == ["failed"]


def test_what_was_no_run_can_only_be_dropped(make_leader, worker, redis_client, operator):
    made = seen(make_leader)
    made.decide(minute(1))
    run = made.run(1)
    redis_client.delete(KEYS.run(run))
    redis_client.set(KEYS.run(run), "no run")
    worker.take()
    assert redis_client.exists(KEYS.aside(run))
    assert operator.release(run) == ScriptReply("ASIDE")
    assert operator.drop(run) == ScriptReply("DROPPED")
    assert not redis_client.exists(KEYS.aside(run))


# --- all of them -------------------------------------------------------------------------------------


def test_a_key_of_the_wrong_kind_is_refused_before_anything_is_written(make_leader, redis_client, operator):
    made = seen(make_leader)
    made.decide(minute(1))
    redis_client.set(KEYS.acts, "no stream")
    with pytest.raises(Exception, match="acts is not a stream"):
        operator.stop(made.run(1))
    assert made.status(1) == "queued"
    redis_client.delete(KEYS.acts)


def test_every_act_is_counted_and_written_down_with_who_did_it(make_leader, worker, redis_client, operator):
    _made, run = failed(make_leader, worker)
    operator.retry(run)
    operator.stop(run)
    operator.pause("job", None)
    operator.resume("job")
    assert acted(redis_client) == {"retry": 1, "stop": 1, "pause": 1, "resume": 1}
    assert [(one["action"], one["job"], one["run"], one["who"]) for one in acts(redis_client)] == [
        ("retry", "job", run, WHO),
        ("stop", "job", run, WHO),
        ("pause", "job", "", WHO),
        ("resume", "job", "", WHO),
    ]


def test_runs_by_hand_end_like_any_other(make_leader, worker):
    made = seen(make_leader)
    (one,) = Asker(made).trigger()
    assert worker.work() == [one.run]
    assert job_of_run(one.run) == "job"
    assert log_of(made.client)[-1].decision == "triggered"
