"""Weighted turns: every list comes first in its share of them, and by preference otherwise."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.worker.coordination.queue_rotation import QueueRotation

QUEUES = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True)


@given(QUEUES, st.integers(1, 300))
def test_each_turn_names_every_list_once_and_all_but_the_first_by_preference(queues, count):
    turns = QueueRotation(queues)
    for _ in range(count):
        order = turns.next()
        assert sorted(order) == sorted(turns.queues)
        rest = [queue for queue in turns.queues if queue != order[0]]
        assert order[1:] == rest


@given(QUEUES)
def test_no_list_is_starved_and_the_shares_follow_the_preference(queues):
    turns = QueueRotation(queues)
    firsts = Counter(turns.next()[0] for _ in range(2000))
    assert set(firsts) == set(turns.queues)
    shares = [firsts[queue] for queue in queues]
    assert shares == sorted(shares, reverse=True)
    assert all(firsts[f"{queue}-low"] <= firsts[queue] for queue in queues)


def test_one_queue_leaves_its_low_list_a_tenth():
    turns = QueueRotation(["default"])
    firsts = Counter(turns.next()[0] for _ in range(1100))
    assert firsts == {"default": 1000, "default-low": 100}
