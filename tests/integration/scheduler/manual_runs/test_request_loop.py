"""Triggers: asked of the leader, decided by the rules of its job in one fenced script, once."""

import contextlib
import json
import secrets
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.support.operators import WHO, Asker, acted, acts, verdicts
from tests.support.stepped import KEYS, T0, chain, job, minute, seen

from kuber_cron.common.errors import FencedError, StateLostError
from kuber_cron.common.runs.manual_request import MAX_BYTES
from kuber_cron.common.runs.run_id import manual_run_id
from kuber_cron.control.actions.errors import HalfDecidedError, NotDecidedError, RefusedError
from kuber_cron.worker.coordination import rq_codec

KEY = b"a key"


def payload(client, run, keys=()):
    return rq_codec.read_payload(client.hget(KEYS.run(run), "data"), keys, run)


def test_a_trigger_makes_one_run_by_hand_with_who_asked(make_leader, redis_client):
    made = seen(make_leader)
    asker = Asker(made)
    asked = asker.request()
    (one,) = asker.ask(asked)
    assert one.verdict == "queued"
    assert one.run == manual_run_id("job", asked.asked_at, asked.id)
    assert made.queued() == [one.run]
    told = redis_client.hgetall(KEYS.run(one.run))
    assert (told[b"manual"], told[b"who"], told[b"request"]) == (b"1", WHO.encode(), asked.id.encode())
    assert payload(redis_client, one.run).manual
    ((_, entry),) = redis_client.xrevrange(KEYS.log("job"), count=1)
    assert (entry[b"decision"], entry[b"who"], entry[b"by"]) == (b"triggered", WHO.encode(), b"leader")
    assert acted(redis_client) == {"trigger": 1}
    assert [(each["action"], each["run"]) for each in acts(redis_client)] == [("trigger", one.run)]


def test_a_trigger_moves_no_cursor_and_counts_as_no_occurrence(make_leader):
    made = seen(make_leader)
    before = made.cursor()
    Asker(made).trigger()
    assert made.cursor() == before
    made.decide(minute(1))
    assert made.words() == ["moved first seen", "triggered", "queued"]


@pytest.mark.parametrize("concurrency", ["forbid", "queue"])
def test_a_trigger_respects_overlap(make_leader, worker, concurrency):
    made = seen(make_leader, job(concurrency=concurrency, max_running=1))
    made.decide(minute(1))
    asker = Asker(made)
    if concurrency == "queue":
        assert verdicts(asker.trigger()) == ["held"]
    assert verdicts(asker.trigger()) == ["refused overlap"]
    assert len(worker.work()) == (1 if concurrency == "forbid" else 2)
    assert verdicts(asker.trigger()) == ["queued"]


def test_a_trigger_of_a_job_that_replaces_ends_what_waits_and_stops_what_runs(
    make_leader, worker, redis_client
):
    made = seen(make_leader, job(concurrency="replace"))
    made.decide(minute(1))
    running = worker.take()
    made.decide(minute(2))
    (one,) = Asker(made).trigger()
    assert one.verdict == "held"
    assert made.status(2) == "canceled"
    assert redis_client.hget(KEYS.run(running), "stop") == b"replaced"
    worker.end(running, "stop")
    assert worker.work() == [one.run]


def test_a_forced_trigger_runs_beside_the_others(make_leader, worker):
    made = seen(make_leader, job(concurrency="forbid"))
    made.decide(minute(1))
    worker.take()
    (one,) = Asker(made).trigger(force=True)
    assert worker.take() == one.run


def test_an_occurrence_that_was_due_before_a_trigger_and_decided_after_it_waits_for_all_that_goes_on(
    make_leader, worker
):
    """Its jitter had not passed yet when two runs were asked for, one of them by force."""
    made = seen(make_leader, job(concurrency="queue", max_running=5))
    asker = Asker(made)
    (first,), (second,) = asker.trigger(), asker.trigger(force=True)
    assert {worker.take(), worker.take()} == {first.run, second.run}
    made.decide(minute(1))
    for run in sorted([first.run, second.run], reverse=True):
        assert made.status(1) == "deferred"
        worker.end(run)
    assert worker.work() == [made.run(1)]


def test_a_group_has_no_more_room_for_a_run_by_hand(make_leader, worker):
    made = seen(make_leader, job("a", group="one:1"), job("b", group="one:1"))
    made.decide(minute(1))
    first = worker.take()
    worker.take()
    (one,) = Asker(made).trigger("a", force=True)
    assert worker.take() == ""
    worker.end(first)
    second = worker.take()
    worker.end(second)
    assert worker.work() == [one.run]


def test_a_run_by_hand_holds_up_the_next_occurrence_like_any_other(make_leader, worker):
    made = seen(make_leader, job(concurrency="forbid"))
    (one,) = Asker(made).trigger()
    made.decide(minute(1))
    assert made.words()[-1] == "skipped overlap"
    worker.work()
    made.decide(minute(2))
    assert made.words()[-1] == "queued"
    assert one.verdict == "queued"


@pytest.mark.parametrize("how", ["the job", "all", "its file"])
def test_a_paused_or_suspended_job_is_triggered_only_by_force(make_leader, how):
    made = seen(make_leader, job(suspend=how == "its file"))
    asker = Asker(made)
    if how != "its file":
        asker.acts.pause("job" if how == "the job" else "*", None)
    assert verdicts(asker.trigger()) == ["refused suspended"]
    assert verdicts(asker.trigger(force=True)) == ["queued"]


def test_a_refused_trigger_leaves_nothing_behind(make_leader, redis_client):
    made = seen(make_leader, job(concurrency="forbid"))
    made.decide(minute(1))
    before = made.words()
    Asker(made).trigger()
    assert made.words() == before
    assert redis_client.hlen(KEYS.open_runs) == 1
    assert acted(redis_client) == {}
    assert redis_client.llen(KEYS.requests) == 0


def test_a_trigger_needs_neither_predecessors_nor_a_deadline(make_leader, redis_client):
    made = seen(make_leader, *chain("a", "b", deadline=1.0))
    (one,) = Asker(made).trigger("b")
    assert one.verdict == "queued"
    assert redis_client.hget(KEYS.run(one.run), "deadline_at") is None


def test_a_run_by_hand_triggers_no_dependents_unless_asked(make_leader, worker):
    made = seen(make_leader, *chain("a", "b"))
    Asker(made).trigger("a")
    worker.work()
    assert made.words("b") == ["moved first seen"]


def test_a_run_by_hand_says_nothing_about_the_occurrence_before_it(make_leader, worker):
    made = seen(make_leader, job("a"), job("b", "*/2 * * * *", after=["a"]))
    made.minutes(1, 1)
    worker.end(worker.take(), "fail")
    Asker(made).trigger("a")
    worker.work()
    made.edit(job("a", "0 0 1 1 *"), job("b", "*/2 * * * *", after=["a"]))
    assert "released" not in made.words("b")


def test_the_jobs_of_a_chain_follow_in_their_order_where_it_is_asked(make_leader, worker):
    made = seen(make_leader, *chain("a", "b", "c"), job("other"))
    first, second, third = Asker(made).trigger("a", chain=True)
    assert [first.verdict, second.verdict, third.verdict] == ["queued", "held", "held"]
    assert worker.work() == [first.run, second.run, third.run]
    assert made.words("other") == ["moved first seen"]


def test_a_chain_ends_where_one_of_it_fails_and_no_instant_is_missed(make_leader, worker):
    made = seen(make_leader, *chain("a", "b", "c"))
    Asker(made).trigger("a", chain=True)
    worker.end(worker.take(), "fail")
    assert made.words("b")[-1] == made.words("c")[-1] == "ended predecessor"
    assert made.missed() == {}


def test_a_diamond_is_joined_when_both_sides_are_done(make_leader, worker):
    made = seen(
        make_leader,
        job("a"),
        job("l", after=["a"]),
        job("r", after=["a"]),
        job("join", after=["l", "r"]),
        job("x"),
    )
    asked = Asker(made).trigger("a", chain=True)
    assert [one.job for one in asked] == ["a", "l", "r", "join"]
    worker.end(worker.take())
    worker.end(worker.take())
    assert made.queued() == [asked[2].run]
    worker.end(worker.take())
    assert made.queued() == [asked[3].run]


def test_what_comes_after_a_refused_job_of_a_chain_is_refused(make_leader):
    made = seen(make_leader, job("a"), job("b", after=["a"], concurrency="forbid"), job("c", after=["b"]))
    made.decide(minute(1))
    asked = Asker(made).trigger("a", chain=True)
    assert verdicts(asked) == ["queued", "refused overlap", "refused predecessor"]


def test_priority_puts_a_run_by_hand_first_too(make_leader):
    made = seen(make_leader, job("normal"), job("high", priority="high"))
    made.decide(minute(1))
    (one,) = Asker(made).trigger("high")
    assert made.queued()[0] == one.run


# --- variables ---------------------------------------------------------------------------------------


def test_signed_variables_come_over_the_jobs_own(make_leader, redis_client):
    made = seen(make_leader, job(env={"MODE": "usual", "KEEP": "1"}))
    asker = Asker(made, key=KEY, accepted=(KEY,))
    (one,) = asker.trigger(env={"MODE": "full"})
    assert payload(redis_client, one.run, [KEY]).env == {"MODE": "full", "KEEP": "1"}


@pytest.mark.parametrize("key", [None, b"another key"])
def test_variables_without_the_right_signature_are_refused_and_nothing_else_is(make_leader, key):
    made = seen(make_leader)
    asker = Asker(made, accepted=(b"the key",))
    with pytest.raises(RefusedError) as refused:
        asker.ask(asker.request(env={"LD_PRELOAD": "/tmp/x.so"}), key=key)
    assert refused.value.code == "unsigned-variables"
    assert verdicts(asker.ask(asker.request(), key=key)) == ["queued"]


def test_an_older_key_signs_as_well_during_a_rotation(make_leader):
    made = seen(make_leader)
    asker = Asker(made, accepted=(b"new", b"old"))
    assert verdicts(asker.ask(asker.request(env={"A": "1"}), key=b"old")) == ["queued"]


def test_where_nothing_is_signed_variables_need_no_signature(make_leader):
    made = seen(make_leader)
    assert verdicts(Asker(made).trigger(env={"A": "1"})) == ["queued"]


def test_a_changed_request_is_not_signed_any_more(make_leader, redis_client):
    made = seen(make_leader)
    asker = Asker(made, accepted=(KEY,))
    asked = asker.request(env={"A": "1"})
    asker.put(asked, key=KEY)
    redis_client.hset(KEYS.request(asked.id), "body", replace(asked, env={"A": "2"}).to_bytes())
    asker.inbox.drain()
    assert redis_client.hget(KEYS.request(asked.id), "code") == b"unsigned-variables"


# --- once, or not at all -----------------------------------------------------------------------------


def test_a_request_that_is_brought_again_is_answered_and_makes_nothing(make_leader, redis_client):
    made = seen(make_leader)
    asker = Asker(made)
    asked = asker.request()
    first = asker.ask(asked)
    redis_client.rpush(KEYS.requests, asked.id)
    assert asker.ask(asked) == first
    asker.inbox.drain()
    assert made.queued() == [first[0].run]
    assert redis_client.llen(KEYS.requests) == 0


def test_a_script_that_arrives_twice_makes_one_run(make_leader, redis_client, monkeypatch):
    """The answer was lost and a leader asks again; or the network delivers it late, to the next one."""
    made = seen(make_leader)
    asker = Asker(made)
    sent = []
    call = asker.inbox._store.call

    def recorded(script, *args):
        sent.append((script, args))
        return call(script, *args)

    monkeypatch.setattr(asker.inbox._store, "call", recorded)
    asker.trigger()
    before = made.words()
    for script, args in sent:
        if script == "create_manual_runs":
            assert call(script, *args) == [b"GONE"]
    assert made.words() == before


def test_a_fenced_leader_makes_nothing_and_the_next_one_does(make_leader, redis_client):
    made = seen(make_leader)
    asker = Asker(made)
    asked = asker.request()
    asker.put(asked)
    redis_client.hset(KEYS.fence, "epoch", 2)
    with pytest.raises(FencedError):
        asker.inbox.drain()
    assert made.queued() == []
    assert redis_client.llen(KEYS.requests) == 1
    made.lead(2)
    asker.inbox.drain()
    assert len(made.queued()) == 1


def test_a_leader_that_is_fenced_between_reading_and_making_makes_nothing(
    make_leader, redis_client, monkeypatch
):
    made = seen(make_leader)
    asker = Asker(made)
    asker.put(asker.request())
    make = asker.inbox._create

    def late(*args, **kwargs):
        redis_client.hset(KEYS.fence, "epoch", 2)
        return make(*args, **kwargs)

    monkeypatch.setattr(asker.inbox, "_create", late)
    with pytest.raises(FencedError):
        asker.inbox.drain()
    assert made.queued() == []
    monkeypatch.undo()
    made.lead(2)
    asker.inbox.drain()
    assert len(made.queued()) == 1


def test_a_leader_whose_redis_has_lost_writes_makes_nothing(make_leader, redis_client):
    made = seen(make_leader)
    asker = Asker(made)
    asker.put(asker.request())
    redis_client.hset(KEYS.fence, "epoch", 0)
    with pytest.raises(StateLostError):
        asker.inbox.drain()
    redis_client.hset(KEYS.fence, "epoch", 1)


def test_a_standby_answers_nothing(make_leader, redis_client):
    made = seen(make_leader)
    made.leads = lambda: False
    asker = Asker(made)
    asker.put(asker.request())
    assert asker.inbox.drain() == 0
    assert redis_client.llen(KEYS.requests) == 1


def test_without_a_leader_a_request_is_withdrawn_and_never_decided_later(make_leader, redis_client):
    made = seen(make_leader)
    asker = Asker(made)
    with pytest.raises(NotDecidedError, match="has not answered within 0 s: the request is withdrawn"):
        asker.acts.ask(asker.request(patience_seconds=0.05), signing_key=None, wait=lambda _: None)
    assert asker.inbox.drain() == 0
    assert made.queued() == []
    assert not list(redis_client.scan_iter("rq:kuber-cron:request*"))


def test_who_asks_is_told_how_long_nobody_has_led(make_leader, redis_client):
    made = seen(make_leader)
    asker = Asker(made)
    for seen_at, sentence in (("1000", "no scheduler leads, and none has for"), (None, "has ever led")):
        if seen_at is None:
            redis_client.hdel(KEYS.fence, "seen")
        else:
            redis_client.hset(KEYS.fence, "seen", seen_at)
        with pytest.raises(NotDecidedError, match=sentence):
            asker.acts.ask(asker.request(patience_seconds=0.01), signing_key=None, wait=lambda _: None)


def test_who_stops_waiting_withdraws_the_request(make_leader):
    made = seen(make_leader)
    asker = Asker(made)

    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asker.acts.ask(asker.request(), signing_key=None, wait=interrupted)
    assert asker.inbox.drain() == 0
    assert made.queued() == []


def test_a_request_that_has_expired_is_not_decided(make_leader, redis_client):
    made = seen(make_leader)
    asker = Asker(made)
    asked = asker.request()
    asker.put(asked)
    redis_client.delete(KEYS.request(asked.id))
    assert asker.inbox.drain() == 0
    assert redis_client.llen(KEYS.requests) == 0


def test_a_request_that_somebody_has_kept_cannot_be_brought_again(make_leader):
    made = seen(make_leader)
    asker = Asker(made, accepted=(KEY,))
    old = asker.request(env={"A": "1"})
    asker.put(
        replace(old, asked_at=old.asked_at - timedelta(hours=1), until_at=old.until_at - timedelta(hours=1))
    )
    asker.inbox.drain()
    assert made.queued() == []


def test_an_inbox_that_is_full_says_so(make_leader, redis_client):
    made = seen(make_leader)
    redis_client.rpush(KEYS.requests, *[secrets.token_hex(16) for _ in range(1000)])
    asker = Asker(made)
    with pytest.raises(NotDecidedError, match="too many requests"):
        asker.trigger()
    asker.inbox.drain()
    assert verdicts(asker.trigger()) == ["queued"]


def test_a_request_that_was_begun_and_not_finished_is_not_withdrawn(make_leader, redis_client):
    made = seen(make_leader)
    asker = Asker(made)
    asked = asker.request(patience_seconds=0.05)

    def begun(_):
        redis_client.hset(KEYS.request(asked.id), "state", "deciding")
        redis_client.persist(KEYS.request(asked.id))

    with pytest.raises(HalfDecidedError, match="has begun to make the runs"):
        asker.acts.ask(asked, signing_key=None, wait=begun)
    assert asker.inbox.drain() == 1
    assert len(made.queued()) == 1


# --- what may lie in the inbox -----------------------------------------------------------------------


def put(client, body, request_id=None, signature=""):
    request_id = request_id or secrets.token_hex(16)
    client.hset(KEYS.request(request_id), mapping={"body": body, "signature": signature})
    client.rpush(KEYS.requests, request_id)
    return request_id


def changed(asker, **changes):
    return json.dumps({**json.loads(asker.request().to_bytes()), **changes})


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"job": "unknown"}, "unknown-job"),
        ({"job": "x" * 1000}, "bad-request"),
        ({"job": None}, "bad-request"),
        ({"version": 2}, "newer-request"),
        ({"surprise": 1}, "newer-request"),
        ({"action": "drop"}, "bad-request"),
        ({"who": 5}, "bad-request"),
        ({"env": {"A=B": "1"}}, "bad-variable"),
        ({"env": {"A": 1}}, "bad-variable"),
        ({"env": {"A": "\0"}}, "bad-variable"),
        ({"env": {"KUBER_CRON_RUN_ID": "1"}}, "bad-variable"),
        ({"env": []}, "bad-request"),
        ({"asked_at": "soon"}, "bad-request"),
        ({"asked_at": "2026-01-01T00:00:00"}, "bad-request"),
        ({"until_at": None}, "bad-request"),
        ({"until_at": "2026-01-01T00:00:00Z"}, "request-expired"),
        ({"asked_at": "9999-12-31T23:59:59Z"}, "request-expired"),
        ({"most": 10**9}, "bad-request"),
        ({"action": "backfill"}, "bad-request"),
        ({"force": "yes"}, "bad-request"),
    ],
)
def test_what_is_no_request_is_refused_with_the_reason(make_leader, redis_client, changes, code):
    made = seen(make_leader)
    asker = Asker(made)
    body = changed(asker, **changes)
    found = put(redis_client, body, json.loads(body)["id"])
    asker.inbox.drain()
    assert redis_client.hget(KEYS.request(found), "code") == code.encode()
    assert redis_client.pttl(KEYS.request(found)) > 0
    assert made.queued() == []


@pytest.mark.parametrize("body", ["", "[]", "{}", "nonsense", "[" * 30_000, "\xff\xfe", '{"version": 1}'])
def test_what_cannot_even_be_read_is_refused(make_leader, redis_client, body):
    asker = Asker(seen(make_leader))
    found = put(redis_client, body)
    asker.inbox.drain()
    assert redis_client.hget(KEYS.request(found), "state") == b"refused"


def test_what_is_too_large_never_reaches_the_leader(make_leader, redis_client, monkeypatch):
    asker = Asker(seen(make_leader))
    large = put(redis_client, "x" * 5_000_000)
    signed = put(redis_client, "{}", signature="x" * 5_000_000)
    monkeypatch.setattr(asker.inbox, "_answer", lambda *_: pytest.fail("the leader has read it"))
    asker.inbox.drain()
    for found in (large, signed):
        assert redis_client.hget(KEYS.request(found), "code") == b"request-too-large"
    assert redis_client.llen(KEYS.requests) == 0


def test_rubbish_in_the_inbox_does_not_hold_up_a_request_behind_it(make_leader, redis_client):
    made = seen(make_leader)
    asker = Asker(made)
    strange = secrets.token_hex(16)
    redis_client.set(KEYS.request(strange), "no hash")
    redis_client.rpush(KEYS.requests, "x" * 100_000, "", strange, *[str(n) for n in range(300)])
    assert verdicts(asker.trigger()) == ["queued"]


def test_a_flood_of_requests_is_dealt_with_a_part_at_a_time(make_leader):
    made = seen(make_leader)
    asker = Asker(made)
    for _ in range(150):
        asker.put(asker.request())
    assert [asker.inbox.drain() for _ in range(3)] == [100, 50, 0]
    assert len(made.queued()) == 150


def test_a_request_under_anothers_id_is_refused(make_leader, redis_client):
    made = seen(make_leader)
    asker = Asker(made)
    found = put(redis_client, asker.request().to_bytes())
    asker.inbox.drain()
    assert redis_client.hget(KEYS.request(found), "code") == b"bad-request"


def test_a_request_that_redis_refuses_is_told_so_and_holds_up_no_other(make_leader, redis_client):
    made = seen(make_leader)
    asker = Asker(made)
    asked = asker.request()
    redis_client.set(KEYS.answer(asked.id), "no list")
    with pytest.raises(RefusedError, match="is not a list") as refused:
        asker.ask(asked)
    assert refused.value.code == "redis-refused"
    redis_client.delete(KEYS.answer(asked.id))
    assert verdicts(asker.trigger()) == ["queued"]


def test_a_run_whose_queue_is_no_list_is_an_error_and_half_a_run_is_not_left(make_leader, redis_client):
    made = seen(make_leader)
    redis_client.set("rq:queue:default", "no list")
    (one,) = Asker(made).trigger()
    assert (one.verdict, one.reason) == ("error", "rq:queue:default is not a list")
    assert redis_client.exists(KEYS.run(one.run)) == 0
    assert redis_client.hlen(KEYS.open_runs) == 0
    redis_client.delete("rq:queue:default")


def test_who_asks_for_too_much_is_told_before_it_is_sent(make_leader):
    asker = Asker(seen(make_leader))
    with pytest.raises(RefusedError, match=f"{MAX_BYTES} are allowed"):
        asker.trigger(env={"A": "x" * MAX_BYTES})


def test_every_key_of_a_request_expires(make_leader, redis_client):
    made = seen(make_leader)
    asker = Asker(made)
    asker.trigger()
    with contextlib.suppress(RefusedError):
        asker.trigger("unknown")
    found = list(redis_client.scan_iter(KEYS.request("*"))) + list(redis_client.scan_iter(KEYS.answer("*")))
    assert len(found) == 3
    assert all(0 < redis_client.pttl(key) <= 3_600_000 for key in found)


def test_the_jobs_that_follow_are_bounded(make_leader):
    many = [job(f"f{number}", after=["a"]) for number in range(100)]
    with pytest.raises(RefusedError, match="100 jobs come after a"):
        Asker(seen(make_leader, job("a"), *many)).trigger("a", chain=True)


def test_asked_at_is_the_instant_that_the_command_is_told(make_leader, redis_client):
    made = seen(make_leader)
    asker = Asker(made)
    asked = asker.request()
    (one,) = asker.ask(asked)
    assert payload(redis_client, one.run).scheduled_at == asked.asked_at.replace(microsecond=0)
    assert one.scheduled_at == asked.asked_at.replace(microsecond=0) > T0
