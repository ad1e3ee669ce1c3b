"""How long a worker has been silent, and when its commands are ended."""

from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.worker.coordination.self_fencing import ASK_SECONDS, REFUSAL_SECONDS, RESERVE_SECONDS, Silence

TTL = 15.0
KILL_AT = TTL - RESERVE_SECONDS


def test_commands_may_go_on_for_half_the_ttl():
    assert Silence(0.0).grace_seconds(TTL / 2 - 0.01, TTL) is None


def test_commands_have_until_two_seconds_before_the_ttl():
    assert Silence(0.0).grace_seconds(TTL / 2, TTL) == KILL_AT - TTL / 2


def test_an_error_that_proves_nothing_lets_the_silence_grow():
    silence = Silence(0.0)
    for _ in range(20):
        silence = silence.unanswered()
    assert silence.seconds(20.0) == 20.0


def test_the_silence_stands_still_between_two_refusals_of_everybody():
    silence = Silence(0.0)
    for second in range(5, 65):
        silence = silence.refused(float(second))
    assert silence.seconds(64.0) == 5.0


def test_a_refusal_holds_until_the_next_answer_is_overdue():
    refused = Silence(0.0).refused(7.0)
    assert refused.seconds(7.0 + REFUSAL_SECONDS / 2) == 7.0
    assert refused.seconds(7.0 + RESERVE_SECONDS) == 7.0 + RESERVE_SECONDS


def test_the_time_before_the_first_refusal_counts():
    assert Silence(0.0).refused(9.0).seconds(9.0) == 9.0


def test_an_error_between_two_refusals_makes_the_time_around_it_count():
    silence = Silence(0.0).refused(1.0).unanswered().refused(5.0)
    assert silence.seconds(5.0) == 5.0


def test_a_worker_that_wakes_asks_before_it_ends_anything():
    awake = Silence(0.0).awoken(100.0, TTL, ran_until=5.0)
    assert awake.grace_seconds(100.0 + ASK_SECONDS - 0.01, TTL) is None
    assert awake.grace_seconds(100.0 + ASK_SECONDS, TTL) == 0.0


def test_a_worker_that_was_cut_off_before_its_sleep_asks_nothing():
    assert Silence(0.0).awoken(100.0, TTL, ran_until=TTL / 2).grace_seconds(100.0, TTL) == 0.0


def test_asking_does_not_put_off_a_kill_that_lies_ahead():
    awake = Silence(0.0).awoken(KILL_AT - 0.5, TTL, ran_until=5.0)
    assert awake.grace_seconds(KILL_AT, TTL) == 0.0


def test_an_answer_that_was_sent_before_the_last_one_changes_nothing():
    assert Silence(7.0).acknowledged(3.0).acked_at == 7.0


@given(st.lists(st.sampled_from(["refused", "unanswered", "awoken"])), st.floats(0.1, 3))
def test_commands_are_killed_in_time_whatever_the_errors_were_where_nobody_refused_everybody(kinds, step):
    silence, now = Silence(0.0), 0.0
    for kind in kinds:
        now += step
        if kind == "awoken":
            silence = silence.awoken(now, TTL, ran_until=now - step)
        elif kind == "unanswered":
            silence = silence.unanswered()
    if now < KILL_AT:
        assert silence.grace_seconds(KILL_AT, TTL) == 0.0
