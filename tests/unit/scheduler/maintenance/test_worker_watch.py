"""When the leader finds a worker dead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.scheduler.maintenance.worker_watch import WorkerMark, WorkerWatch

TTL = 15.0
looks = st.lists(st.tuples(st.floats(0, 40), st.integers(0, 3)), min_size=1, max_size=60)


def mark(count, ttl=TTL):
    return WorkerMark.parse(f"{count} {ttl * 1000:.0f}")


def dead_at(watch, seconds, count=1, every=1.0, ttl=TTL):
    """The first look that finds the worker dead; None if none does."""
    looked = 0.0
    while looked <= seconds:
        if watch.look(looked, {"w": mark(count, ttl)}):
            return looked
        looked += every
    return None


def test_a_counter_that_stands_still_for_the_ttl_is_a_dead_worker():
    assert dead_at(WorkerWatch(TTL), 60) == TTL


def test_a_worker_whose_own_ttl_is_longer_is_given_it():
    assert dead_at(WorkerWatch(TTL), 60, ttl=40.0) == 40.0


def test_a_worker_whose_own_ttl_is_shorter_is_given_the_leaders():
    assert dead_at(WorkerWatch(TTL), 60, ttl=4.0) == TTL


@pytest.mark.parametrize("every", [4.0, 20.0, 3600.0])
def test_a_leader_that_is_slow_or_asleep_counts_two_seconds_a_look(every):
    assert dead_at(WorkerWatch(TTL), 10 * every, every=every) == 8 * every


def test_where_the_ttl_is_short_a_late_look_counts_nothing():
    assert dead_at(WorkerWatch(4.0), 600, ttl=4.0, every=2.0) is None


def test_a_worker_that_has_left_is_dead_at_once():
    assert WorkerWatch(TTL).look(0.0, {"w": WorkerMark.parse("left")})


def test_what_was_seen_before_the_watch_began_anew_does_not_count():
    watch = WorkerWatch(TTL)
    assert dead_at(watch, TTL - 1) is None
    watch.begin_anew()
    assert dead_at(watch, TTL - 1) is None


@pytest.mark.parametrize("text", ["", "2026-11-30T12:00:00.000000Z", "7", "7 x", "x 15000", "٣ 15000"])
def test_a_mark_of_the_version_before_says_no_ttl(text):
    assert WorkerMark.parse(text) == WorkerMark(text, 0.0)


@given(looks)
def test_nobody_is_dead_who_was_not_seen_standing_still_for_the_ttl(steps):
    watch, now, since, previous = WorkerWatch(TTL), 0.0, 0.0, None
    for seconds, count in steps:
        now += seconds
        if count != previous:
            since, previous = now, count
        assert not watch.look(now, {"w": mark(count)}) or now - since >= TTL


@given(looks)
def test_a_clock_that_steps_back_finds_nobody_dead(steps):
    watch, now = WorkerWatch(TTL), 0.0
    for seconds, _ in steps:
        now -= seconds + 0.001
        assert watch.look(now, {"w": mark(1)}) == {}
