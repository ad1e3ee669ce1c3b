"""The deciding script on a real Redis: each verdict, and the run record that RQ itself would write."""

from datetime import UTC, datetime, timedelta

import pytest
from rq.queue import Queue
from rq.serializers import JSONSerializer

from kuber_cron.common.errors import FencedError, StateLostError
from kuber_cron.common.jobs.job import Job
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs import payload
from kuber_cron.common.schedule import Schedule
from kuber_cron.scheduler.decisions import planner
from kuber_cron.scheduler.decisions.dispatcher import Dispatcher
from kuber_cron.scheduler.decisions.run_hash import RunHashBuilder
from kuber_cron.scheduler.election.term import Term

KEYS = Keys("rq")
TERM = Term(7, "me")


def entry(name="job", schedule="* * * * *", **policy):
    job = Job(id=name, schedule=schedule, command="true", **policy)
    return planner.entry(job, Schedule.parse(schedule, "UTC", name))


@pytest.fixture
def dispatcher(redis_client):
    redis_client.hset(KEYS.fence, "epoch", TERM.epoch)
    return Dispatcher(Store(redis_client, KEYS), RunHashBuilder(redis_client, None))


def now(client):
    seconds, micro = client.time()
    return datetime.fromtimestamp(seconds + micro / 1e6, UTC)


def due_minute(client):
    """A job whose cursor stands before the newest full minute, and the plan for it."""
    one = entry(catchup="all")
    at = now(client).replace(second=0, microsecond=0)
    stored = f"{int((at - timedelta(minutes=1)).timestamp())}|UTC|* * * * *"
    client.hset(KEYS.cursors, "job", stored)
    return one, stored, planner.plan(one, stored, at + timedelta(seconds=1)).decisions


def words(dispatcher, one, decisions, term=TERM):
    items = [dispatcher.item(decision, one) for decision in decisions]
    applied = dispatcher.apply(items, term, cursors={}, leads=lambda: True, now=lambda: datetime.now(UTC))
    return [v.word for answer in applied for v in answer.results()]


def test_a_due_occurrence_becomes_a_queued_run_a_cursor_and_a_log_entry(redis_client, dispatcher):
    one, _, decisions = due_minute(redis_client)
    assert words(dispatcher, one, decisions) == ["QUEUED"]
    run = decisions[0].run
    assert redis_client.lrange("rq:queue:default", 0, -1) == [run.encode()]
    assert redis_client.hget(KEYS.cursors, "job").decode() == decisions[0].cursor
    ((_, logged),) = redis_client.xrange(KEYS.log("job"))
    assert (logged[b"decision"], logged[b"run"], logged[b"epoch"]) == (b"queued", run.encode(), b"7")


def test_the_same_decision_sent_twice_is_applied_once(redis_client, dispatcher):
    one, _, decisions = due_minute(redis_client)
    assert words(dispatcher, one, decisions) == ["QUEUED"]
    assert words(dispatcher, one, decisions) == ["MOVED"]
    assert redis_client.llen("rq:queue:default") == 1
    assert redis_client.xlen(KEYS.log("job")) == 1


def test_a_smaller_epoch_is_fenced_and_writes_nothing(redis_client, dispatcher):
    one, _, decisions = due_minute(redis_client)
    redis_client.hset(KEYS.fence, "epoch", 8)
    with pytest.raises(FencedError):
        words(dispatcher, one, decisions)
    assert redis_client.llen("rq:queue:default") == 0


@pytest.mark.parametrize("stored", [None, 6])
def test_a_fence_that_went_back_is_told_as_lost_state(redis_client, dispatcher, stored):
    one, _, decisions = due_minute(redis_client)
    redis_client.delete(KEYS.fence)
    if stored is not None:
        redis_client.hset(KEYS.fence, "epoch", stored)
    with pytest.raises(StateLostError):
        words(dispatcher, one, decisions)
    assert redis_client.llen("rq:queue:default") == 0


def test_a_leader_whose_lease_key_is_gone_is_fenced(redis_client, dispatcher):
    one, _, decisions = due_minute(redis_client)
    with pytest.raises(FencedError):
        words(dispatcher, one, decisions, Term(7, "me", "me:7"))


def test_an_instant_ahead_of_redis_clock_is_refused_and_stays_undecided(redis_client, dispatcher):
    one = entry()
    at = now(redis_client).replace(second=0, microsecond=0) + timedelta(minutes=2)
    stored = f"{int((at - timedelta(minutes=1)).timestamp())}|UTC|* * * * *"
    redis_client.hset(KEYS.cursors, "job", stored)
    decisions = planner.plan(one, stored, at).decisions
    assert words(dispatcher, one, decisions) == ["EARLY"]
    assert redis_client.hget(KEYS.cursors, "job").decode() == stored


def test_a_run_that_exists_is_not_queued_again(redis_client, dispatcher):
    one, _, decisions = due_minute(redis_client)
    redis_client.hset(KEYS.run(decisions[0].run), "status", "finished")
    assert words(dispatcher, one, decisions) == ["KNOWN"]
    assert redis_client.llen("rq:queue:default") == 0


def test_a_paused_job_is_skipped_in_the_script_and_counted(redis_client, dispatcher):
    one, _, decisions = due_minute(redis_client)
    redis_client.hset(KEYS.paused, "job", "0")
    assert words(dispatcher, one, decisions) == ["SKIPPED"]
    assert redis_client.hget(KEYS.missed, "job|suspended") == b"1"


def test_forbid_skips_while_a_run_of_the_job_is_active(redis_client, dispatcher):
    _, _, decisions = due_minute(redis_client)
    forbidding = entry(concurrency="forbid")
    redis_client.zadd(KEYS.active("job"), {"an older run": 1})
    redis_client.hset(KEYS.run("an older run"), "status", "started")
    assert words(dispatcher, forbidding, decisions) == ["SKIPPED"]
    assert redis_client.hget(KEYS.missed, "job|overlap") == b"1"


def test_a_queue_of_the_wrong_kind_costs_no_cursor(redis_client, dispatcher):
    one, stored, decisions = due_minute(redis_client)
    redis_client.set("rq:queue:default", "not a list")
    assert words(dispatcher, one, decisions) == ["ERROR"]
    assert redis_client.hget(KEYS.cursors, "job").decode() == stored


def test_the_run_record_is_what_rq_itself_writes(redis_client):
    job = entry(timeout=90.0).job
    at = datetime(2026, 1, 1, tzinfo=UTC)
    record = RunHashBuilder(redis_client, None).build(job, at, at)
    ours = dict(zip(record.fields[0::2], record.fields[1::2], strict=True))
    queue = Queue("default", connection=redis_client, serializer=JSONSerializer)
    body, signature = payload.encode(payload.payload_for(job, at), None)
    data = Queue.prepare_data(
        payload.FUNCTION, args=(body, signature), job_id="theirs", timeout=90,
        result_ttl=ours["result_ttl"], failure_ttl=ours["failure_ttl"], description=ours["description"],
    )  # fmt: skip
    queue.enqueue_many([data])
    theirs = {k.decode(): v for k, v in redis_client.hgetall("rq:job:theirs").items()}
    own_fields = {"job", "at", "max_lost"}
    assert set(ours) - own_fields == set(theirs)
    for name in set(theirs) - {"created_at", "enqueued_at"}:
        value = ours[name] if isinstance(ours[name], bytes) else str(ours[name]).encode()
        assert value == theirs[name], name
    assert "retries_left" not in ours
