"""The operator's verbs as functions: typed results, and errors with a code for each thing that hinders them."""

import pytest
from tests.support.operators import WHO, Asker, acts
from tests.support.stepped import KEYS, job, minute, seen

from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.control.actions import backfill, leader_requests, pause, quarantine, trigger
from kuber_cron.control.actions.errors import (
    ForeignRunError,
    OverlapError,
    PutAsideError,
    RunLiveError,
    RunOverError,
    RunSucceededError,
    SuspendedError,
)
from kuber_cron.control.actions.leader_requests import RequestTerms
from kuber_cron.control.actions.results import DroppedRun, PauseState, RetriedRun, StoppedRun, StoppedRuns
from kuber_cron.control.actions.retry import retry_run
from kuber_cron.control.actions.stop import live_runs, stop_run, stop_runs
from kuber_cron.control.queries.names import UnknownJobError, UnknownRunError


@pytest.fixture
def store(redis_client):
    return Store(redis_client, KEYS)


def decided(make_leader, number=1, **policy):
    """The job's run of that minute, and its leader."""
    made = seen(make_leader, job(**policy))
    made.decide(minute(number))
    return made, made.run(number)


def terms_of(made):
    """The terms of an operator whose leader looks for requests whenever somebody waits."""
    asker = Asker(made)
    return RequestTerms(operator=WHO, wait=lambda _: asker.inbox.drain())


# --- stop --------------------------------------------------------------------------------------------


def test_a_stopped_run_is_over_and_a_running_one_is_stopping(make_leader, worker, store):
    made, run = decided(make_leader)
    assert stop_run(store, run, operator=WHO) == StoppedRun(run=run, state="stopped")
    made.decide(minute(2))
    running = worker.take()
    assert stop_run(store, running, operator=WHO) == StoppedRun(
        run=running, state="stopping", worker="worker"
    )


def test_a_run_that_has_ended_cannot_be_stopped(make_leader, store):
    _, run = decided(make_leader)
    stop_run(store, run, operator=WHO)
    with pytest.raises(RunOverError, match=f"{run} has ended already: stopped") as raised:
        stop_run(store, run, operator=WHO)
    assert (raised.value.code, raised.value.hint) == ("run-over", f"kuber-cron show {run} tells how")


@pytest.mark.parametrize("verb", [stop_run, retry_run])
def test_a_run_of_rqs_own_and_one_without_a_record_are_told_apart(redis_client, store, verb):
    redis_client.hset(KEYS.run("theirs"), mapping={"status": "queued", "origin": "default"})
    with pytest.raises(ForeignRunError):
        verb(store, "theirs", operator=WHO)
    with pytest.raises(UnknownRunError):
        verb(store, "job-20260101T000000Z", operator=WHO)


def test_all_runs_of_a_job_are_stopped_the_last_in_line_first(make_leader, worker, store):
    made = seen(make_leader, job(concurrency="queue", max_running=3))
    made.minutes(1, 3)
    worker.take()
    live = live_runs(store, "job")
    assert live == [made.run(3), made.run(2), made.run(1)]
    assert stop_runs(store, "job", [*live, "job-20260101T000000Z"], operator=WHO) == StoppedRuns(
        job="job",
        runs=(
            StoppedRun(run=made.run(3), state="stopped"),
            StoppedRun(run=made.run(2), state="stopped"),
            StoppedRun(run=made.run(1), state="stopping", worker="worker"),
        ),
    )


# --- retry -------------------------------------------------------------------------------------------


def test_a_success_is_retried_only_when_that_is_asked_for(make_leader, worker, store):
    _, run = decided(make_leader)
    worker.work()
    with pytest.raises(RunSucceededError) as raised:
        retry_run(store, run, operator=WHO)
    assert raised.value.code == "run-succeeded"
    assert retry_run(store, run, operator=WHO, even_succeeded=True) == RetriedRun(run=run, verdict="queued")
    with pytest.raises(RunLiveError, match="its status is queued"):
        retry_run(store, run, operator=WHO)


def test_a_retry_beside_a_live_run_is_an_overlap_unless_forced(make_leader, worker, store):
    made, run = decided(make_leader, concurrency="forbid")
    worker.end(worker.take(), "fail")
    made.decide(minute(2))
    with pytest.raises(OverlapError, match=f"{made.run(2)} has not ended"):
        retry_run(store, run, operator=WHO)
    assert retry_run(store, run, operator=WHO, force=True).verdict == "queued"


def test_a_retry_in_line_is_held(make_leader, worker, store):
    made, run = decided(make_leader, concurrency="queue")
    worker.end(worker.take(), "fail")
    made.decide(minute(2))
    assert retry_run(store, run, operator=WHO) == RetriedRun(run=run, verdict="held")


# --- pause and resume --------------------------------------------------------------------------------


def test_a_pause_says_until_when_and_a_resumption_whether_it_changed_anything(
    make_leader, redis_client, store
):
    seen(make_leader)
    assert pause.pause(store, "job", operator=WHO, until_at=minute(9)) == PauseState(
        job="job", paused=True, until_at=minute(9)
    )
    assert [one["detail"] for one in acts(redis_client)] == [f"{minute(9):%Y-%m-%dT%H:%M:%SZ}"]
    pause.pause(store, "job", operator=WHO)
    pause.pause(store, None, operator=WHO)
    assert pause.resume(store, "job", operator=WHO) == PauseState(job="job", paused=False, all_paused=True)
    assert pause.resume(store, "job", operator=WHO) == PauseState(
        job="job", paused=False, changed=False, all_paused=True
    )
    assert pause.resume(store, None, operator=WHO) == PauseState(job=None, paused=False)


@pytest.mark.parametrize("verb", [pause.pause, pause.resume])
def test_a_job_without_a_cursor_is_neither_paused_nor_resumed(make_leader, store, verb):
    seen(make_leader)
    with pytest.raises(UnknownJobError, match='there is no job "bakup"'):
        verb(store, "bakup", operator=WHO)


# --- quarantine --------------------------------------------------------------------------------------


def test_a_run_leaves_the_quarantine_by_a_release_or_a_drop(make_leader, worker, store):
    made, run = decided(make_leader)
    worker.end(worker.take(), "quarantine", "failed")
    assert quarantine.release(store, run, operator=WHO) == RetriedRun(run=run, verdict="queued")
    assert made.queued() == [run]
    worker.end(worker.take(), "quarantine", "failed")
    assert quarantine.drop(store, run, operator=WHO) == DroppedRun(run=run)
    for verb in (quarantine.release, quarantine.drop):
        with pytest.raises(UnknownRunError, match="in quarantine"):
            verb(store, run, operator=WHO)


def test_what_was_put_aside_cannot_be_released(make_leader, worker, redis_client, store):
    _, run = decided(make_leader)
    redis_client.delete(KEYS.run(run))
    redis_client.set(KEYS.run(run), "no run")
    worker.take()
    with pytest.raises(PutAsideError) as raised:
        quarantine.release(store, run, operator=WHO)
    assert raised.value.code == "put-aside"
    assert quarantine.drop(store, run, operator=WHO) == DroppedRun(run=run)


# --- by the leader -----------------------------------------------------------------------------------


def test_a_trigger_with_the_id_of_another_makes_the_same_run_once(make_leader, worker, store):
    made = seen(make_leader)
    terms, request_id = terms_of(made), leader_requests.new_id()
    (first,) = trigger.trigger(store, "job", terms, request_id=request_id)
    (second,) = trigger.trigger(store, "job", terms, request_id=request_id)
    assert first.run == second.run
    assert worker.work() == [first.run]


def test_a_trigger_that_its_jobs_rules_forbid_is_an_error_with_their_code(make_leader, store):
    made = seen(make_leader, job(concurrency="forbid"))
    terms = terms_of(made)
    trigger.trigger(store, "job", terms)
    with pytest.raises(OverlapError):
        trigger.trigger(store, "job", terms)
    pause.pause(store, "job", operator=WHO)
    with pytest.raises(SuspendedError) as raised:
        trigger.trigger(store, "job", terms)
    assert raised.value.code == "suspended"
    with pytest.raises(UnknownJobError):
        trigger.trigger(store, "jib", terms)


def test_a_plan_has_the_instants_of_the_backfill_and_makes_nothing(make_leader, store):
    made = seen(make_leader)
    terms = terms_of(made)
    span = backfill.BackfillSpan(job="job", from_at=minute(-3), to_at=minute(0))
    plan = backfill.plan(store, span, terms)
    assert (plan.dry_run, {each.verdict for each in plan.runs}, made.queued()) == (True, {"planned"}, [])
    result = backfill.backfill(store, span, terms)
    assert [each.scheduled_at for each in result.runs] == [each.scheduled_at for each in plan.runs]
    assert (result.dry_run, made.queued()) == (False, [each.run for each in result.runs])
