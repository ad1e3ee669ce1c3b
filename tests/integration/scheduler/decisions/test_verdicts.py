"""What the deciding script answers when something is not as the leader believes, and what then becomes of it."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from structlog.testing import capture_logs
from tests.support.stepped import KEYS, T0, SteppedLeader, assert_sound, job, minute, seen, statuses
from tests.support.waiting import eventually

from kuber_cron.common.errors import FencedError, RedisUnreachableError, StateLostError, TermOverError
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.scheduler.decisions.dispatcher import BATCH

OTHER = Keys("other")


def snapshot(client):
    """Everything that Redis holds, but for when the fence was last seen."""
    everything = {}
    for key in client.scan_iter("*"):
        everything[key] = client.dump(key)
    fence = client.hgetall(KEYS.fence)
    fence.pop(b"seen", None)
    return everything | {KEYS.fence.encode(): fence}


# --- the fence ---------------------------------------------------------------------------------------


def test_a_larger_epoch_fences_and_nothing_is_written(make_leader):
    made = seen(make_leader)
    made.client.hset(KEYS.fence, "epoch", 2)
    before = snapshot(made.client)
    with pytest.raises(FencedError):
        made.decide(minute(1))
    assert snapshot(made.client) == before


def test_a_leader_stopped_between_its_token_and_the_script_is_fenced(make_leader):
    made = seen(make_leader)

    def leads_and_is_then_stopped():
        # The token is valid; then the process sleeps, and another one takes over.
        made.client.hset(KEYS.fence, mapping={"epoch": 2, "holder": "other"})
        return True

    made.leads = leads_and_is_then_stopped
    with pytest.raises(FencedError):
        made.decide(minute(1))
    assert made.queued() == []
    successor = make_leader(job(), epoch=2, holder="other")
    successor.decide(minute(1))
    assert [(entry.decision, entry.epoch, entry.by) for entry in made.log()] == [
        ("moved", 1, "leader"),
        ("queued", 2, "other"),
    ]


def test_a_leader_without_a_token_sends_nothing(make_leader):
    made = seen(make_leader)
    made.leads = lambda: False
    with pytest.raises(TermOverError):
        made.decide(minute(1))
    assert made.words() == ["moved first seen"]


def test_a_term_that_ends_between_two_batches_leaves_the_rest_to_the_next(make_leader):
    jobs = [job(f"j{n:03}") for n in range(BATCH + 50)]
    made = seen(make_leader, *jobs)
    answers = iter([True, False])
    made.leads = lambda: next(answers)
    with pytest.raises(TermOverError):
        made.decide(minute(1))
    assert len(made.queued()) == BATCH
    successor = make_leader(*jobs)
    successor.lead(2)
    successor.decide(minute(1))
    assert sorted(made.queued()) == [made.run(1, one.id) for one in jobs]


@pytest.mark.parametrize("change", [{"epoch": 0}, None])
def test_a_smaller_or_absent_epoch_is_a_loss_of_state_and_nothing_is_written(make_leader, change):
    made = seen(make_leader)
    fence = made.client.hgetall(KEYS.fence)
    made.client.delete(KEYS.fence)
    if change:
        made.client.hset(KEYS.fence, mapping={**fence, **change})
    with pytest.raises(StateLostError, match=f"epoch {change['epoch'] if change else 'none'}, this leader"):
        made.decide(minute(1))
    assert made.queued() == []
    made.client.hset(KEYS.fence, mapping=fence)


def test_fewer_decisions_than_this_leader_knows_of_are_a_loss_of_state(make_leader):
    made = seen(make_leader)
    made.minutes(1, 3)
    made.client.hset(KEYS.fence, "through", 2)
    with pytest.raises(StateLostError, match="counts 2 decisions, this leader knows more"):
        made.decide(minute(4))
    assert len(made.queued()) == 3
    made.client.hset(KEYS.fence, "through", 3)


def test_a_cursor_that_went_back_is_a_loss_of_state(make_leader):
    made = seen(make_leader)
    made.minutes(1, 3)
    made.client.hset(KEYS.cursors, "job", f"{int(minute(1).timestamp())}|UTC|* * * * *")
    with pytest.raises(StateLostError):
        made.decide(minute(4))
    assert len(made.queued()) == 3


# --- instants and cursors ----------------------------------------------------------------------------


def test_an_early_instant_is_refused_and_applied_once_redis_clock_is_there(make_leader, redis_client):
    seconds, _ = redis_client.time()
    real = datetime.fromtimestamp(seconds, UTC)
    made = make_leader(job(schedule="@every 1s"), at=real)
    made.decide(real)
    soon = real + timedelta(seconds=3)
    coming = replace(made.plan("job", soon)[0], first=soon, last=soon)
    stored = made.cursor()
    assert made.send(coming) == ["EARLY"]
    assert made.cursor() == stored
    assert made.queued() == []
    eventually(lambda: made.send(coming) == ["QUEUED"])


def test_an_early_instant_stays_due_in_the_decider(make_leader, redis_client):
    seconds, micro = redis_client.time()
    real = datetime.fromtimestamp(seconds + micro / 1e6, UTC)
    made = make_leader(job(schedule="@every 1s"), at=real - timedelta(seconds=5))
    made.decide(real - timedelta(seconds=5))
    made.decide(real + timedelta(seconds=30))
    refused = [entry.last for entry in made.log() if entry.last > real + timedelta(seconds=5)]
    assert refused == []
    assert made.decider.upcoming()["job"] == made.clock.at + timedelta(seconds=0.25)


def test_a_moved_cursor_is_believed_and_the_job_goes_on_from_there(make_leader):
    made = seen(make_leader)
    other = make_leader(job(), holder="other")
    other.minutes(0, 3)
    made.decide(minute(3))
    made.decide(minute(4))
    assert [entry.by for entry in made.log()] == ["leader", *["other"] * 3, "leader"]


def test_a_batch_whose_reply_was_lost_is_not_applied_again(make_leader):
    made = seen(make_leader)
    plan = made.plan("job", minute(3))
    assert made.send(*plan) == ["QUEUED"] * 3
    before = snapshot(made.client)
    assert made.send(*plan) == ["MOVED"] * 3
    assert snapshot(made.client) == before
    # The decider, which has had no answer, reads the cursors again.
    made.decider.forget()
    made.decide(minute(3))
    assert len(made.queued()) == 3
    assert made.state_lost == 0


def test_a_dependent_waits_where_its_predecessors_cursor_is_not_as_believed(make_leader):
    made = seen(make_leader, job("a"), job("b", after=["a"]))
    (first,), (second,) = made.plan("a", minute(1)), made.plan("b", minute(1))
    believed = made.dispatcher.cursors()
    assert made.send(second, cursors={**believed, "a": first.cursor}) == ["WAITS"]
    assert made.words("b") == ["moved first seen"]
    assert made.send(second, first, cursors=believed) == ["QUEUED", "QUEUED"]  # the wrong order, on purpose


def test_a_dependent_is_not_decided_before_a_predecessor_that_failed_in_the_same_batch(make_leader):
    made = seen(make_leader, job("a"), job("b", after=["a"]))
    made.client.rename(KEYS.log("a"), "aside")
    made.client.set(KEYS.log("a"), "not a stream")
    made.decide(minute(1))
    assert made.words("b") == ["moved first seen"]
    made.client.rename("aside", KEYS.log("a"))
    made.decide(minute(1.01))
    made.decide(minute(1.02))
    assert (made.status(1, "a"), made.status(1, "b")) == ("queued", "deferred")


# --- a script that fails half-way ----------------------------------------------------------------------


def test_a_log_of_the_wrong_kind_stops_its_own_job_only_and_no_instant_is_lost(make_leader):
    made = seen(make_leader, job("a"), job("b"), job("c"))
    made.client.rename(KEYS.log("b"), "aside")
    made.client.set(KEYS.log("b"), "not a stream")
    made.minutes(1, 3)
    assert len(made.words("a")) == len(made.words("c")) == 4
    assert made.cursor("b").startswith(str(int(T0.timestamp())))
    made.client.rename("aside", KEYS.log("b"))
    made.decide(minute(3.02))
    assert made.words("b") == ["moved first seen", *["queued"] * 3]


def test_a_queue_of_the_wrong_kind_stops_its_own_jobs_only_and_no_instant_is_lost(make_leader):
    made = seen(make_leader, job("a"), job("b", queue="broken"), job("c"))
    made.client.set("rq:queue:broken", "not a list")
    made.minutes(1, 3)
    assert len(made.words("a")) == len(made.words("c")) == 4
    assert statuses(made.client).keys() == {made.run(n, name) for n in (1, 2, 3) for name in "ac"}
    made.client.delete("rq:queue:broken")
    made.decide(minute(3.02))
    assert made.queued("broken") == [made.run(n, "b") for n in (1, 2, 3)]


def test_an_error_after_the_cursor_has_moved_is_the_occurrences_outcome_in_the_log(make_leader):
    made = seen(make_leader, job("a"), job("b", concurrency="queue"), job("c"))
    made.minutes(1, 1)
    made.client.set("rq:deferred:default", "not a zset")
    made.decide(minute(2))
    assert made.words("b")[2] == "held"
    assert made.words("b")[3].startswith("error WRONGTYPE")
    assert made.missed() == {"b|error": 1}
    assert made.queued()[-2:] == [made.run(2, "a"), made.run(2, "c")]
    assert statuses(made.client).keys() == {*made.queued()}
    made.client.delete("rq:deferred:default")
    made.decide(minute(3))
    assert made.words("b")[4:] == ["held"]


@pytest.mark.parametrize("policy", [{"concurrency": "forbid"}, {"concurrency": "replace"}, {}])
def test_an_instant_that_could_not_be_judged_is_an_error_in_the_log_once_and_counts_as_missed(
    make_leader, policy
):
    made = seen(make_leader, job(**policy))
    made.decide(minute(1))
    # What the script meets is the run before this one, or what somebody has put in its own place.
    broken = KEYS.run(made.run(1 if policy else 2))
    if policy:
        made.client.rename(broken, "aside")
    made.client.set(broken, "not a hash")
    made.decide(minute(2))
    assert [word.split()[0] for word in made.words()] == ["moved", "queued", "error"]
    assert made.missed() == {"job|error": 1}
    made.client.delete(broken)
    if policy:
        made.client.rename("aside", broken)


def test_a_removal_that_cannot_cancel_is_no_loss_of_state_and_is_tried_again(make_leader):
    made = seen(make_leader, job(on_remove="cancel"))
    made.minutes(1, 2)
    broken = KEYS.run(made.run(1))
    made.client.rename(broken, "aside")
    made.client.set(broken, "not a hash")
    made.edit(settled_seconds=1000.0)
    made.decide(minute(2.1))
    assert made.cursor()
    made.client.rename("aside", broken)
    made.decide(minute(2.2))
    assert made.state_lost == 0
    assert (made.status(1), made.status(2)) == ("canceled", "canceled")
    assert made.words()[-3:] == ["ended removed", "ended removed", "dropped removed"]


def test_what_redis_refuses_is_not_called_unanswered(make_leader):
    made = seen(make_leader)
    made.client.set(KEYS.open_runs, "not a hash")
    with pytest.raises(RedisUnreachableError, match="has refused a batch of decisions: WRONGKIND"):
        made.decide(minute(1))
    made.client.delete(KEYS.open_runs)


def test_a_decision_that_fails_again_and_again_is_told_once_a_minute_and_anew_after_a_success(make_leader):
    made = seen(make_leader)

    def told(*instants):
        made.client.rename(KEYS.log("job"), "aside")
        made.client.set(KEYS.log("job"), "not a stream")
        with capture_logs() as said:
            for number in instants:
                made.decide(minute(number))
        made.client.rename("aside", KEYS.log("job"))
        made.decide(minute(instants[-1] + 0.1))
        return [line["event"] for line in said].count("a decision failed")

    assert told(1.0, 1.01, 1.02, 1.5) == 1
    assert told(2.0, 2.01, 2.9, 3.01, 3.02) == 2


@pytest.fixture
def restricted(redis_server):
    """Makes clients of a server that lets its user do what the test says."""
    server = redis_server(appendfsync="no")
    clients = []

    def connect(*rules):
        admin = redis.Redis.from_url(server.url, protocol=2)
        clients.append(admin)
        if rules:
            admin.acl_setuser("cron", reset=True)
            admin.execute_command("ACL", "SETUSER", "cron", "on", ">secret", *rules)
            admin = redis.Redis.from_url(
                server.url, protocol=2, username="cron", password="secret", retry=Retry(NoBackoff(), 0)
            )
            clients.append(admin)
        return admin

    yield connect
    for client in clients:
        client.close()


def test_without_the_right_to_push_nothing_is_in_limbo_and_the_log_tells(restricted):
    admin = restricted()
    user = restricted("~*", "&*", "+@all", "-rpush")
    made = SteppedLeader(user, job("a"), job("b", suspend=True))
    made.minutes(0, 2)
    assert statuses(admin) == {}
    assert [entry.decision for entry in made.log("a")] == ["moved", "queued", "error", "queued", "error"]
    # Redis and Valkey word the refusal differently; what counts is that the log carries it.
    assert re.match(r"error .*(can't run this command|no permissions to run the 'rpush')", made.words("a")[2])
    assert made.words("b")[1:] == ["skipped suspended"] * 2
    assert made.missed()["a|error"] == 2
    for name in ("open", "held", "active:a"):
        assert not admin.exists(f"rq:kuber-cron:{name}")
    assert_sound(admin)


@pytest.mark.parametrize("pattern", ["%R~rq:queue:b", None])
def test_without_the_right_to_a_queues_key_its_instants_wait_and_the_others_go_on(restricted, pattern):
    admin = restricted()
    keys = ["~rq:kuber-cron:*", "~rq:job:*", "~rq:queues", "~rq:queue:a", *([pattern] if pattern else [])]
    user = restricted(*keys, "&*", "+@all")
    made = SteppedLeader(user, job("a", queue="a"), job("b", queue="b"))
    made.minutes(0, 2)
    assert len(made.queued("a")) == 2
    assert set(statuses(admin)) == {made.run(1, "a"), made.run(2, "a")}
    if pattern is None:
        # It was refused before anything was written: the instant is not lost, and the log is not flooded.
        assert made.words("b") == ["moved first seen"]
        admin.acl_setuser("cron", keys=["queue:b"])
        admin.execute_command("ACL", "SETUSER", "cron", "~*")
        made.decide(minute(2.01))
        assert admin.lrange("rq:queue:b", 0, -1) == [made.run(n, "b").encode() for n in (1, 2)]
    else:
        assert [entry.decision for entry in made.log("b")[1:]] == ["queued", "error"] * 2
    assert_sound(admin)


WITHOUT_LOG = ("~rq:[^k]*", "~rq:kuber-cron:[^l]*", "%R~*")
WITHOUT_CURSOR = ("~rq:[^k]*", "~rq:kuber-cron:[^c]*", "~rq:kuber-cron:changed", "%R~*")


@pytest.mark.parametrize("rights", [WITHOUT_LOG, WITHOUT_CURSOR])
def test_without_the_right_to_log_or_cursor_no_instant_is_passed_over(restricted, rights):
    admin = restricted()
    user = restricted("~*", "&*", "+@all")
    jobs = [
        job("plain"),
        job("suspended", suspend=True),
        job("forbid", concurrency="forbid"),
        job("replace", concurrency="replace"),
        job("line", concurrency="queue", max_running=5),
        job("watched"),
        job("after", after=["watched"]),
        job("late", catchup="none"),
    ]
    made = SteppedLeader(user, *jobs)
    made.minutes(0, 2)
    before = {one.id: (made.words(one.id), made.cursor(one.id), made.missed()) for one in jobs}
    queued, counted = made.queued(), admin.hget(KEYS.fence, "through")
    admin.execute_command("ACL", "SETUSER", "cron", "resetkeys", *rights)
    made.edit(*jobs, job("new"))
    made.minutes(3, 5)
    assert {one.id: (made.words(one.id), made.cursor(one.id), made.missed()) for one in jobs} == before
    assert (made.queued(), admin.hget(KEYS.fence, "through")) == (queued, counted)
    assert made.cursor("new") == ""
    admin.execute_command("ACL", "SETUSER", "cron", "~*")
    made.decide(minute(5.02))
    made.decide(minute(5.04))  # what comes after another is decided then
    for one in jobs:
        covered = [
            minute(number)
            for each in made.log(one.id)
            if each.decision in {"queued", "held", "skipped", "known", "error"}
            for number in range(1, 6)
            if each.first <= minute(number) <= each.last
        ]
        assert covered == [minute(number) for number in range(1, 6)], one.id
    assert made.words("new") == ["moved first seen"]
    assert_sound(admin)


def test_without_the_right_to_the_log_a_removal_waits_and_cancels_nothing(restricted):
    admin = restricted()
    user = restricted("~*", "&*", "+@all")
    made = SteppedLeader(user, job(on_remove="cancel"), removal_seconds=0)
    made.minutes(0, 1)
    admin.execute_command("ACL", "SETUSER", "cron", "resetkeys", *WITHOUT_LOG)
    made.edit(settled_seconds=1)
    made.decide(minute(1.5))
    assert made.cursor()
    assert made.status(1) == "queued"
    admin.execute_command("ACL", "SETUSER", "cron", "~*")
    made.decide(minute(1.6))
    assert made.words()[-2:] == ["ended removed", "dropped removed"]


def test_an_undone_run_leaves_no_gate_behind(make_leader):
    made = seen(make_leader, job(concurrency="queue"))
    made.decide(minute(1))
    made.client.set(KEYS.gated(made.run(1)), "not a set")
    made.decide(minute(2))
    assert [entry.decision for entry in made.log()[2:]] == ["held", "error"]
    made.client.delete(KEYS.gated(made.run(1)))
    assert made.client.keys("rq:kuber-cron:gate*") == []
    assert made.client.keys("rq:deferred:*") == []
