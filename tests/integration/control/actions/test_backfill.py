"""Backfills: the instants of a span made up for, each once, in order, by the schedule as it is now."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.support.operators import Asker, acted, acts, verdicts
from tests.support.stepped import KEYS, T0, job, minute, seen

from kuber_cron.common.errors import FencedError
from kuber_cron.control.actions.errors import RefusedError
from kuber_cron.scheduler.manual_runs import request_loop


def span(asker, first, end, **what):
    return asker.backfill(minute(first), minute(end), **what)


def at(made):
    return [one.scheduled_at for one in made]


def test_each_instant_of_the_span_is_one_run_with_that_instant(make_leader, worker, redis_client):
    made = seen(make_leader, job(schedule="*/10 * * * *"))
    asker = Asker(made)
    found = span(asker, -60, 0)
    assert at(found) == [minute(number) for number in range(-60, 0, 10)]
    assert set(verdicts(found)) == {"queued"}
    assert worker.work() == [one.run for one in found]
    assert acted(redis_client) == {"backfill": 1}
    assert [one["detail"] for one in acts(redis_client)] == ["2026-02-28T23:00:00Z 2026-03-01T00:00:00Z"]
    assert {one.run[-10:] for one in found} == {found[0].run[-10:]}, "one backfill, one mark"


def test_a_dry_run_tells_the_same_and_makes_nothing(make_leader, redis_client):
    made = seen(make_leader, job(schedule="*/10 * * * *"))
    asker = Asker(made)
    before = made.words()
    found = span(asker, -30, 0, dry=True)
    assert verdicts(found) == ["planned"] * 3
    assert (made.queued(), made.words(), acted(redis_client)) == ([], before, {})
    assert at(span(asker, -30, 0)) == at(found)


def test_instants_that_have_succeeded_or_are_on_their_way_are_left_out_unless_forced(make_leader, worker):
    made = seen(make_leader)
    made.minutes(1, 4)
    first, second = worker.take(), worker.take()
    worker.end(first)
    worker.end(second, "fail")
    asker = Asker(made)
    found = span(asker, 1, 6)
    assert verdicts(found) == ["succeeded", "queued", "live", "live", "queued"]
    assert verdicts(span(asker, 1, 6)) == ["succeeded", "live", "live", "live", "live"]
    worker.work()
    assert verdicts(span(asker, 1, 6)) == ["succeeded"] * 5
    assert verdicts(span(asker, 1, 3, force=True)) == ["queued"] * 2


def test_a_success_of_another_job_or_instant_counts_for_nothing(make_leader, worker):
    made = seen(make_leader, job(), job("job-2"))
    made.decide(minute(1))
    worker.work()
    assert verdicts(span(Asker(made), 0, 2)) == ["queued", "succeeded"]


def test_the_runs_of_a_job_that_allows_no_overlap_stand_in_line(make_leader, worker):
    for number, concurrency in enumerate(("forbid", "queue", "replace")):
        made = seen(make_leader, job(name := f"j{number}", concurrency=concurrency, catchup="last"))
        made.decide(minute(1))
        found = span(Asker(made), -5, 0, job=name)
        assert set(verdicts(found)) == {"held"}
        assert made.queued() == [made.run(1, name)], "what went on is neither stopped nor overtaken"
        assert worker.work() == [made.run(1, name), *(one.run for one in found)]


def test_a_line_goes_on_over_a_run_that_fails_or_is_stopped(make_leader, worker):
    made = seen(make_leader, job(concurrency="queue"))
    asker = Asker(made)
    first, second, third, fourth = span(asker, -4, 0)
    worker.end(worker.take(), "fail")
    worker.end(worker.take(), "stop")
    assert made.queued() == [third.run]
    asker.acts.stop(third.run)
    assert worker.work() == [fourth.run]
    assert {first.verdict, second.verdict} == {"queued", "held"}


def test_a_line_whose_head_is_stopped_goes_on_behind_what_it_waited_for(make_leader, worker):
    made = seen(make_leader, job(concurrency="queue"))
    made.decide(minute(1))
    running = worker.take()
    asker = Asker(made)
    first, second = span(asker, -2, 0)
    asker.acts.stop(first.run)
    assert made.queued() == []
    worker.end(running)
    assert worker.work() == [second.run]


def test_a_second_backfill_waits_behind_the_first(make_leader, worker):
    made = seen(make_leader, job(concurrency="queue"))
    asker = Asker(made)
    later = span(asker, -3, 0)
    earlier = span(asker, -6, -3)
    assert worker.work() == [one.run for one in (*later, *earlier)]


def test_an_occurrence_waits_behind_the_line_or_is_skipped_as_its_job_says(make_leader, worker):
    made = seen(make_leader, job(concurrency="queue", max_running=5))
    found = span(Asker(made), -4, 0)
    made.decide(minute(1))
    assert made.status(1) == "deferred"
    assert worker.work() == [*(one.run for one in found), made.run(1)]


def test_a_backfill_waits_for_what_was_decided_before_and_for_nothing_later(make_leader, worker):
    made = seen(make_leader, job(concurrency="queue", max_running=9))
    made.minutes(1, 2)
    first, second = span(Asker(made), -2, 0)
    made.decide(minute(3))
    assert worker.work() == [made.run(1), made.run(2), first.run, second.run, made.run(3)]


def test_what_is_due_today_goes_before_what_is_made_up_for(make_leader):
    made = seen(make_leader, job(priority="high"))
    found = span(Asker(made), -2, 0)
    made.decide(minute(1))
    assert made.queued() == [made.run(1), *(one.run for one in found)]


def test_the_end_of_the_span_is_not_in_it_and_nothing_lies_in_the_future(make_leader, redis_client):
    made = seen(make_leader, job(schedule="0 * * * *"))
    asker = Asker(made)
    now = asker.acts.now()
    hour = now.replace(minute=0, second=0, microsecond=0)
    found = asker.backfill(hour - timedelta(hours=2), hour + timedelta(days=1))
    assert at(found) == [hour - timedelta(hours=2), hour - timedelta(hours=1), hour]
    assert at(asker.backfill(hour - timedelta(hours=4), hour - timedelta(hours=2))) == [
        hour - timedelta(hours=4),
        hour - timedelta(hours=3),
    ]


def test_the_life_of_the_job_counts(make_leader):
    made = seen(make_leader, job(not_before=minute(-2), not_after=minute(0)))
    assert at(span(Asker(made), -10, 10)) == [minute(-2), minute(-1), minute(0)]


def test_the_zone_of_the_job_counts_with_both_passes_of_a_repeated_hour(make_leader):
    made = seen(make_leader, job(schedule="30 * * * *", timezone="Europe/Berlin"))
    start = datetime(2025, 10, 25, 23, tzinfo=UTC)
    found = Asker(made).backfill(start, start + timedelta(hours=3))
    assert [f"{each.hour}:{each.minute}" for each in at(found)] == ["23:30", "0:30", "1:30"]


@pytest.mark.parametrize(
    ("policy", "first", "end", "code"),
    [
        ({"schedule": "@reboot"}, -10, 0, "no-instants"),
        ({"schedule": "0 0 30 2 *"}, -10, 0, "no-instants"),
        ({"schedule": "0 12 * * *"}, -10, 0, "no-instants"),
        ({}, 0, -10, "no-instants"),
        ({}, -1001, 0, "too-many"),
    ],
)
def test_a_span_without_instants_or_with_too_many_is_refused_whole(make_leader, policy, first, end, code):
    made = seen(make_leader, job(**policy))
    with pytest.raises(RefusedError) as refused:
        span(Asker(made), first, end)
    assert refused.value.code == code
    assert not [word for word in made.words() if word == "triggered"]


def test_fewer_may_be_asked_for(make_leader):
    made = seen(make_leader)
    with pytest.raises(RefusedError, match="more than 3 instants"):
        span(Asker(made), -4, 0, most=3)
    assert len(span(Asker(made), -3, 0, most=3)) == 3


def test_a_year_of_seconds_is_refused_at_once(make_leader):
    made = seen(make_leader, job(schedule="@every 1s"))
    with pytest.raises(RefusedError, match="more than 1000 instants"):
        Asker(made).backfill(T0 - timedelta(days=365), T0)


def test_after_means_the_instants_of_the_first_predecessor(make_leader):
    made = seen(make_leader, job("a", "*/5 * * * *"), job("b", "@after", after=["a"]))
    found = span(Asker(made), -10, 0, job="b")
    assert at(found) == [minute(-10), minute(-5)]
    assert set(verdicts(found)) == {"queued"}


def test_a_paused_job_is_made_up_for_only_by_force(make_leader):
    made = seen(make_leader)
    asker = Asker(made)
    asker.acts.pause("job", None)
    assert verdicts(span(asker, -2, 0)) == ["refused suspended"] * 2
    assert verdicts(span(asker, -2, 0, force=True)) == ["queued"] * 2


# --- in parts ----------------------------------------------------------------------------------------


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(request_loop, "BATCH", 2)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("concurrency", ["allow", "queue"])
def test_a_backfill_in_parts_is_the_same(make_leader, worker, concurrency):
    made = seen(make_leader, job(concurrency=concurrency))
    found = span(Asker(made), -5, 0)
    assert at(found) == [minute(number) for number in range(-5, 0)]
    assert worker.work() == [one.run for one in found]


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("concurrency", ["allow", "queue"])
def test_the_next_leader_goes_on_where_one_was_fenced(make_leader, worker, monkeypatch, parts, concurrency):
    monkeypatch.setattr(request_loop, "BATCH", 2)
    made = seen(make_leader, job(concurrency=concurrency))
    asker = Asker(made)
    redis_client = made.client
    asked = asker.request(action="backfill", from_at=minute(-5), to_at=minute(0))
    asker.put(asked)
    make, count = asker.inbox._create, iter(range(100))

    def fenced(*args, **kwargs):
        if next(count) == parts:
            redis_client.hset(KEYS.fence, "epoch", 2)
        return make(*args, **kwargs)

    monkeypatch.setattr(asker.inbox, "_create", fenced)
    with pytest.raises(FencedError):
        asker.inbox.drain()
    monkeypatch.setattr(asker.inbox, "_create", make)
    made.lead(2)
    early = worker.work()
    for run in early:  # dropped from a short history meanwhile: the request itself knows that they were made
        redis_client.delete(KEYS.run(run))
    asker.inbox.drain()
    found = asker.ask(asked)
    assert at(found) == [minute(number) for number in range(-5, 0)]
    assert [*early, *worker.work()] == [one.run for one in found]
    assert acted(redis_client) == {"backfill": 1}


@pytest.mark.usefixtures("small_parts")
def test_each_part_may_arrive_twice(make_leader, redis_client, monkeypatch):
    made = seen(make_leader)
    asker = Asker(made)
    call = asker.inbox._store.call

    def twice(script, *args):
        first = call(script, *args)
        if script == "create_manual_runs":
            call(script, *args)
        return first

    monkeypatch.setattr(asker.inbox._store, "call", twice)
    found = span(asker, -5, 0)
    assert at(found) == [minute(number) for number in range(-5, 0)]
    assert made.queued() == [one.run for one in found]
    assert acted(redis_client) == {"backfill": 1}


def test_a_thousand_runs_are_made_in_parts_that_do_not_hold_redis_for_long(make_leader, monkeypatch):
    made = seen(make_leader, job(concurrency="queue"))
    asker = Asker(made)
    sizes = []
    make = asker.inbox._create

    def measured(term, heard, part, start, **rest):
        sizes.append(len(part))
        return make(term, heard, part, start, **rest)

    monkeypatch.setattr(asker.inbox, "_create", measured)
    assert len(span(asker, -1000, 0)) == 1000
    assert max(sizes) == request_loop.BATCH <= 50
