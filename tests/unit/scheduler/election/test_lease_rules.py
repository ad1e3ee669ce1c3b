"""The rules of the Lease's record, as laws."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kuber_cron.common.config.lease_timing import LeaseTiming
from kuber_cron.scheduler.election import lease_object, lease_rules
from kuber_cron.scheduler.election.lease_rules import (
    Acquire,
    LeaseError,
    LeaseRecord,
    Observation,
    Renew,
    StepDown,
    Wait,
)

SECONDS = st.floats(min_value=0.0, max_value=1e6)
NAMES = st.sampled_from(["", "me", "other", "third"])
NUMBERS = st.integers(min_value=0, max_value=2**31 - 1)
WALLS = st.datetimes(timezones=st.just(UTC))
TEXTS = st.sampled_from(["", "2026-01-01T00:00:00.000001Z", "1970-01-01T00:00:00.000001Z", "yesterday"])
RECORDS = st.builds(
    LeaseRecord,
    holder=NAMES,
    duration_seconds=st.integers(min_value=1, max_value=3600),
    acquired_at=TEXTS,
    renewed_at=TEXTS,
    transitions=NUMBERS,
    through=NUMBERS,
    version=st.sampled_from(["", "1", "2"]),
)


@given(
    lease_seconds=st.floats(min_value=4, max_value=600),
    renew_share=st.floats(min_value=0.4, max_value=0.9),
    retry_share=st.floats(min_value=0.01, max_value=0.2),
    rate=st.floats(min_value=0.97, max_value=1.03),
    took=st.floats(min_value=0, max_value=5),
)
def test_a_term_ends_before_anybody_else_may_take_the_lease(
    lease_seconds, renew_share, retry_share, rate, took
):
    renew = lease_seconds * renew_share
    times = LeaseTiming(lease=lease_seconds, renew=renew, retry=renew * retry_share)
    assume(not times.problems())
    ours_ends = times.valid
    written = lease_rules.taken(
        None, holder="me", epoch=1, lease=times.lease, wall=datetime(2026, 1, 1, tzinfo=UTC), through=0
    )
    # Another sees the record at the earliest when it is written, and waits on a clock that runs `rate` fast.
    others_begin = (took + written.duration_seconds) / rate
    assert ours_ends < others_begin


def seen_at(record: LeaseRecord, at: float) -> Observation:
    return Observation(record, at, at)


@given(RECORDS, RECORDS, SECONDS, st.floats(min_value=0, max_value=1))
def test_only_a_change_that_a_holder_makes_counts_as_a_sign_of_life(before, after, then, passed):
    seen = lease_rules.observe(seen_at(before, then), replace(after, version="9", through=5), then + passed)
    assert seen.read_at == then + passed
    assert seen.changed_at == (then if after.is_as(before) else then + passed)
    assert lease_rules.observe(seen, after, then + passed).changed_at == seen.changed_at


@given(RECORDS, SECONDS)
def test_a_lease_that_is_gone_leaves_its_holder_the_time_that_it_had(record, now):
    known = seen_at(record, now)
    assert lease_rules.observe(known, None, now + 1000) is known


@given(RECORDS, SECONDS, st.floats(min_value=0, max_value=10_000), st.floats(min_value=0, max_value=10))
def test_a_holder_that_nobody_could_see_for_a_lease_has_the_grace_to_show_itself(record, then, passed, grace):
    now = then + passed
    seen = lease_rules.observe(seen_at(record, then), record, now, grace=grace)
    before = then + record.duration_seconds
    if now - then <= record.duration_seconds:
        assert seen.expires_at() == before
    else:
        assert seen.expires_at() == pytest.approx(max(before, now + grace))
    # Whoever goes on looking waits no longer than that.
    again = lease_rules.observe(seen, record, now + 0.5, grace=grace)
    assert again.expires_at() == seen.expires_at()


@given(RECORDS, SECONDS, SECONDS)
def test_another_holder_is_waited_for_until_its_record_has_not_changed_for_its_own_duration(
    record, then, now
):
    assume(record.holder in {"other", "third"})
    decision = lease_rules.decide(record, seen_at(record, then), holder="me", epoch=None, now=now)
    if now < then + record.duration_seconds:
        assert decision == Wait(record.holder, then + record.duration_seconds)
    else:
        assert decision == Acquire()


@given(RECORDS, SECONDS, SECONDS, st.tuples(TEXTS, TEXTS), st.one_of(st.none(), NUMBERS))
def test_no_time_in_the_record_is_ever_read(record, then, now, texts, epoch):
    other = replace(record, acquired_at=texts[0], renewed_at=texts[1])
    decisions = {
        lease_rules.decide(each, seen_at(each, then), holder="me", epoch=epoch, now=now)
        for each in (record, other)
    }
    assert len(decisions) == 1


@given(RECORDS, SECONDS, SECONDS)
def test_a_record_of_ours_or_of_nobody_is_taken_at_once(record, then, now):
    assume(record.holder in {"", "me"})
    assert lease_rules.decide(record, seen_at(record, then), holder="me", epoch=None, now=now) == Acquire()


def test_where_there_never_was_a_lease_it_is_made():
    assert lease_rules.decide(None, None, holder="me", epoch=None, now=0.0) == Acquire()


def test_a_lease_deleted_under_a_holder_is_not_taken_before_the_holder_could_write_it_anew():
    known = seen_at(LeaseRecord(holder="other", duration_seconds=15), 100.0)
    assert lease_rules.decide(None, known, holder="me", epoch=None, now=110.0) == Wait("other", 115.0)
    assert lease_rules.decide(None, known, holder="me", epoch=None, now=115.0) == Acquire()


@given(RECORDS, NUMBERS, SECONDS)
def test_a_leader_renews_what_is_its_own_and_steps_down_for_any_other(record, epoch, now):
    decision = lease_rules.decide(record, seen_at(record, now), holder="me", epoch=epoch, now=now)
    if record.holder in {"other", "third"}:
        assert decision == StepDown(record.holder)
    elif record.holder == "me" or record.transitions <= epoch:
        assert decision == Renew()
    else:
        assert decision == StepDown("")


def test_a_leader_writes_a_deleted_lease_anew():
    assert lease_rules.decide(None, None, holder="me", epoch=3, now=0.0) == Renew()


@given(NUMBERS, st.integers(min_value=0, max_value=2**31 - 2))
def test_a_new_epoch_is_above_all_that_redis_and_this_process_have_seen(recorded, floor):
    try:
        epoch = lease_rules.next_epoch(recorded, floor)
    except LeaseError:
        assert recorded == lease_rules.MAX_TRANSITIONS
        return
    assert floor < epoch <= lease_rules.MAX_TRANSITIONS
    assert epoch > recorded or recorded > floor + 10**6


@pytest.mark.parametrize(
    ("recorded", "floor", "epoch"),
    [
        (0, 0, 1),
        (7, 3, 8),
        (3, 7, 8),
        (10**6, 0, 10**6 + 1),
        (10**6 + 1, 0, 1),
        (2**31 - 1, 41, 42),
        (2**31 - 1, 2**31 - 5, None),
    ],
)
def test_a_number_typed_in_by_hand_is_ignored_and_one_that_no_lease_can_hold_is_refused(
    recorded, floor, epoch
):
    if epoch is None:
        with pytest.raises(LeaseError, match="more than a Lease can hold"):
            lease_rules.next_epoch(recorded, floor)
    else:
        assert lease_rules.next_epoch(recorded, floor) == epoch


@given(WALLS)
def test_times_have_six_digits_and_never_a_fraction_of_0(wall):
    text = lease_rules.stamp(wall)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
    assert not text.endswith(".000000Z")
    assert abs((datetime.fromisoformat(text) - wall).total_seconds()) <= 1e-6


@given(RECORDS, WALLS, NUMBERS)
def test_a_released_record_is_free_keeps_its_number_and_is_one_that_the_api_server_takes(
    record, wall, through
):
    free = lease_rules.released(record, wall=wall, through=through)
    assert (free.holder, free.transitions, free.version) == ("", record.transitions, record.version)
    assert free.duration_seconds == 1
    assert lease_rules.decide(free, seen_at(free, 0.0), holder="other", epoch=None, now=0.0) == Acquire()


@given(
    RECORDS,
    WALLS,
    NUMBERS,
    st.integers(min_value=1, max_value=2**31 - 1),
    st.floats(min_value=0.5, max_value=600),
)
def test_a_renewal_keeps_when_the_term_began_and_puts_right_what_was_edited(
    record, wall, through, epoch, seconds
):
    made = lease_rules.renewed(record, holder="me", epoch=epoch, lease=seconds, wall=wall, through=through)
    assert (made.holder, made.transitions, made.through, made.version) == (
        "me",
        epoch,
        through,
        record.version,
    )
    assert made.duration_seconds >= seconds
    if record.holder == "me" and record.transitions == epoch and record.acquired_at:
        assert made.acquired_at == record.acquired_at
    else:
        assert made.acquired_at == made.renewed_at == lease_rules.stamp(wall)


@given(RECORDS)
def test_a_record_survives_the_way_through_an_object(record):
    written = lease_object.to_object(record, {}, namespace="a", name="b")
    assert lease_object.from_object(written) == record


@pytest.mark.parametrize("through", ["", "-1", "1.5", "many", "٣", "9" * 5000])
def test_an_annotation_that_is_no_count_counts_as_none(through):
    document = {"metadata": {"annotations": {lease_object.THROUGH: through}}, "spec": {}}
    assert lease_object.from_object(document).through == 0
