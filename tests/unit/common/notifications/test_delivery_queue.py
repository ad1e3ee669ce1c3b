"""The delivery queue: in order to each receiver, patient with one without making the others wait."""

import random

from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.notifications.delivery_queue import Backoff, Delivery, DeliveryQueue

STEADY = Backoff(jitter=0.0)


def queue(backoff=STEADY):
    return DeliveryQueue(backoff, random.Random(1))


def delivery(name, receiver="receiver", host="host", at=0.0):
    return Delivery(content=name, receiver=receiver, host=host, created_at=at)


def put(box, *deliveries):
    for one in deliveries:
        box.add(one)
    return deliveries


def due(box, now):
    """Who is tried now, as far as the names go."""
    found, _ = box.next(now)
    return found.content if found else None


@given(failures=st.integers(1, 50), asked=st.none() | st.floats(0, 1e6), seed=st.integers())
def test_a_pause_is_within_its_bounds(failures, asked, seed):
    policy = Backoff()
    pause = policy.pause(failures, random.Random(seed), asked)
    usual = policy.first_seconds * policy.factor ** min(failures - 1, policy.tries)
    wished = min(asked or 0.0, policy.longest_seconds)
    assert max(usual * 0.8, wished) <= pause <= max(usual * 1.2, wished)


def test_six_tries_take_about_five_minutes():
    box, (one,), now = queue(), [delivery("a")], 0.0
    put(box, one)
    tries = []
    while True:
        tries.append(now)
        if box.refused(one, now):
            break
        _, now = box.next(now)
    assert tries == [0.0, 2.5, 10.0, 32.5, 100.0, 302.5]
    assert box.next(1e9) == (None, None)


def test_a_receiver_keeps_its_order_and_waits_for_its_first():
    box = queue()
    start, end = put(box, delivery("start"), delivery("end", at=1.0))
    assert due(box, 1.0) == "start"
    box.refused(start, 1.0)
    assert due(box, 3.0) is None
    assert due(box, 3.5) == "start"
    box.settled(start)
    assert due(box, 3.5) == "end"
    box.settled(end)
    assert list(box) == []


def test_an_answer_that_asks_for_patience_holds_up_its_own_receiver_only():
    box = queue()
    first, _ = put(box, delivery("a", receiver="1"), delivery("b", receiver="2", at=1.0))
    box.refused(first, 1.0, 60.0)
    assert due(box, 1.0) == "b"
    assert box.next(1.0)[0].content == "b"


def test_a_dead_host_holds_up_all_its_receivers_and_no_other_host():
    box = queue()
    first, _, _ = put(
        box,
        delivery("a", receiver="1"),
        delivery("b", receiver="2", at=1.0),
        delivery("c", receiver="3", host="other", at=2.0),
    )
    box.unreachable(first, 2.0)
    assert due(box, 2.0) == "c"
    box.settled(box.next(2.0)[0])
    assert box.next(2.0) == (None, 4.5)


def test_what_a_dead_host_has_made_old_is_given_up_with_it():
    box = queue()
    first, second, young = put(
        box,
        delivery("a", receiver="1"),
        delivery("b", receiver="2", at=1.0),
        delivery("c", receiver="3", at=200.0),
    )
    assert box.unreachable(first, 301.0) == [first, second]
    assert list(box) == [young]


def test_a_delivery_that_is_refused_does_not_take_the_next_ones_with_it():
    box = queue()
    bad, good = put(box, delivery("bad"), delivery("good"))
    assert box.refused(bad, 400.0) == [bad]
    assert due(box, 402.5) == "good"
    assert list(box) == [good]


def test_at_shutdown_nothing_waits_and_each_is_tried_once():
    box = queue()
    first, second, third = put(box, delivery("a"), delivery("b", at=1.0), delivery("c", receiver="2", at=2.0))
    box.refused(first, 1.0)
    box.shut_down()
    assert due(box, 1.0) == "a"
    assert box.refused(first, 1.0) == [first]
    assert due(box, 1.0) == "b"
    assert box.unreachable(second, 1.0) == [second, third]


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "settled", "refused", "unreachable"]), st.integers(0, 3)),
        max_size=60,
    )
)
def test_every_delivery_is_settled_given_up_or_still_there(steps):
    box, now, put_in, out = queue(Backoff()), 0.0, 0, 0
    for word, number in steps:
        now += number * 10
        if word == "add":
            box.add(delivery("x", receiver=str(number), host=str(number % 2), at=now))
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
