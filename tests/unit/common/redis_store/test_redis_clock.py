"""Redis' time by looks at it that take their time: never ahead of it, and behind by no more than a look takes."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.redis_store.redis_clock import RedisClock

SERVER_AHEAD = 1_795_000_000.0
DELAYS = st.floats(0.0, 0.9)
# Instants are floats of microseconds' precision here.
TOUCH = 1e-5


class Wall:
    """An own clock that is a little wrong; ``elapsed`` is set by the test."""

    def __init__(self, wrong: float = 0.5) -> None:
        self.reading = 100.0
        self._wrong = wrong

    def elapsed(self) -> float:
        return self.reading

    def now(self) -> datetime:
        return datetime.fromtimestamp(SERVER_AHEAD + self._wrong + self.reading, UTC)


def look(clock: RedisClock, wall: Wall, out: float, back: float, *, jump: float = 0.0) -> None:
    sent = wall.reading
    answered = sent + out
    wall.reading = answered + back
    clock.measured(sent, wall.reading, SERVER_AHEAD + answered + jump)


def behind(clock: RedisClock, wall: Wall, *, jump: float = 0.0) -> float:
    """By how many seconds it is behind the server's real time."""
    return SERVER_AHEAD + wall.reading + jump - clock.now().timestamp()


@given(looks=st.lists(st.tuples(DELAYS, DELAYS), min_size=1, max_size=6))
def test_it_is_never_ahead_and_behind_by_no_more_than_the_way_back_of_a_look(looks):
    wall = Wall()
    clock = RedisClock(wall)
    taken = 0
    for out, back in looks:
        look(clock, wall, out, back)
        if out + back < 1.0:  # longer ones say less than the own clock does
            taken += 1
        if taken:
            assert -TOUCH <= behind(clock, wall) <= max(back for _, back in looks) + TOUCH


def test_a_first_look_whose_answer_is_quick_after_a_long_way_out_starts_nothing_early():
    wall = Wall()
    clock = RedisClock(wall)
    look(clock, wall, 0.05, 0.001)  # the connection was made within it
    assert 0 <= behind(clock, wall) <= 0.001 + TOUCH


def test_a_quicker_look_is_believed_and_a_slower_one_is_not_until_the_quick_one_is_old():
    wall = Wall()
    clock = RedisClock(wall)
    look(clock, wall, 0.01, 0.02)
    look(clock, wall, 0.001, 0.001)
    assert behind(clock, wall) <= 0.001 + TOUCH
    look(clock, wall, 0.01, 0.02)
    assert behind(clock, wall) <= 0.001 + TOUCH
    wall.reading += timedelta(minutes=10).total_seconds()
    look(clock, wall, 0.01, 0.02)
    assert behind(clock, wall) >= 0.02 - TOUCH


@given(jump=st.one_of(st.floats(-3600, -1), st.floats(1, 3600)), out=DELAYS)
def test_a_jump_of_the_servers_clock_is_believed_at_once(jump, out):
    wall = Wall()
    clock = RedisClock(wall)
    look(clock, wall, 0.001, 0.001)
    look(clock, wall, out / 10, 0.001, jump=jump)
    assert -TOUCH <= behind(clock, wall, jump=jump) <= 0.001 + TOUCH
