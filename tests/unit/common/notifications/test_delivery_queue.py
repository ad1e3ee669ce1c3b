"""The outbox: in order within a lane, patient with one receiver without making the others wait."""

import random

from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.notifications.delivery_queue import Delivery, DeliveryQueue, Retries

STEADY = Retries(jitter=0.0)


def outbox(retries=STEADY):
    return DeliveryQueue(retries, random.Random(1))


def letter(name, lane="lane", host="host", at=0.0):
    return Delivery(content=name, lane=lane, host=host, told_at=at)


def put(box, *letters):
    for one in letters:
        box.put(one)
    return letters


def due(box, now):
    """Who is tried now, as far as the names go."""
    found, _ = box.next(now)
    return found.content if found else None


@given(failures=st.integers(1, 50), asked=st.none() | st.floats(0, 1e6), seed=st.integers())
def test_a_pause_is_within_its_bounds(failures, asked, seed):
    policy = Retries()
    pause = policy.pause(failures, random.Random(seed), asked)
    usual = policy.first_seconds * policy.factor ** min(failures - 1, policy.tries)
    wished = min(asked or 0.0, policy.longest_seconds)
    assert max(usual * 0.8, wished) <= pause <= max(usual * 1.2, wished)


def test_six_tries_take_about_five_minutes():
    box, (one,), now = outbox(), [letter("a")], 0.0
    put(box, one)
    tries = []
    while True:
        tries.append(now)
        if box.refused(one, now):
            break
        _, now = box.next(now)
    assert tries == [0.0, 2.5, 10.0, 32.5, 100.0, 302.5]
    assert box.next(1e9) == (None, None)


def test_a_lane_keeps_its_order_and_waits_for_its_first():
    box = outbox()
    start, end = put(box, letter("start"), letter("end", at=1.0))
    assert due(box, 1.0) == "start"
    box.refused(start, 1.0)
    assert due(box, 3.0) is None
    assert due(box, 3.5) == "start"
    box.settled(start)
    assert due(box, 3.5) == "end"
    box.settled(end)
    assert list(box) == []


def test_an_answer_that_asks_for_patience_holds_up_its_own_lane_only():
    box = outbox()
    first, _ = put(box, letter("a", lane="1"), letter("b", lane="2", at=1.0))
    box.refused(first, 1.0, 60.0)
    assert due(box, 1.0) == "b"
    assert box.next(1.0)[0].content == "b"


def test_a_dead_host_holds_up_all_its_lanes_and_no_other_host():
    box = outbox()
    first, _, _ = put(
        box, letter("a", lane="1"), letter("b", lane="2", at=1.0), letter("c", lane="3", host="other", at=2.0)
    )
    box.unreachable(first, 2.0)
    assert due(box, 2.0) == "c"
    box.settled(box.next(2.0)[0])
    assert box.next(2.0) == (None, 4.5)


def test_what_a_dead_host_has_made_old_is_given_up_with_it():
    box = outbox()
    first, second, young = put(
        box, letter("a", lane="1"), letter("b", lane="2", at=1.0), letter("c", lane="3", at=200.0)
    )
    assert box.unreachable(first, 301.0) == [first, second]
    assert list(box) == [young]


def test_a_letter_that_is_refused_does_not_take_the_next_ones_with_it():
    box = outbox()
    bad, good = put(box, letter("bad"), letter("good"))
    assert box.refused(bad, 400.0) == [bad]
    assert due(box, 402.5) == "good"
    assert list(box) == [good]


def test_at_the_last_call_nothing_waits_and_each_is_tried_once():
    box = outbox()
    first, second, third = put(box, letter("a"), letter("b", at=1.0), letter("c", lane="2", at=2.0))
    box.refused(first, 1.0)
    box.last_call()
    assert due(box, 1.0) == "a"
    assert box.refused(first, 1.0) == [first]
    assert due(box, 1.0) == "b"
    assert box.unreachable(second, 1.0) == [second, third]


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["put", "settled", "refused", "unreachable"]), st.integers(0, 3)),
        max_size=60,
    )
)
def test_every_letter_is_settled_given_up_or_still_there(steps):
    box, now, put_in, out = outbox(Retries()), 0.0, 0, 0
    for word, number in steps:
        now += number * 10
        if word == "put":
            box.put(letter("x", lane=str(number), host=str(number % 2), at=now))
            put_in += 1
            continue
        found, _ = box.next(now)
        if found is None:
            continue
        if word == "settled":
            box.settled(found)
            out += 1
        else:
            out += len(getattr(box, word)(found, now))
    assert put_in == out + len(list(box))
