from datetime import timedelta

import pytest
from tests.support.planning import T0, cursor, made

from kuber_cron.common.errors import StateLostError
from kuber_cron.scheduler.decisions import planner
from kuber_cron.scheduler.decisions.known_cursors import KnownCursors

ENTRY = made()
EARLY, LATE = cursor(ENTRY), cursor(ENTRY, T0 + timedelta(minutes=5))


def known(stored: str, **texts: str) -> KnownCursors:
    """Cursors as read, of a Redis that now holds ``stored``."""
    cursors = KnownCursors(lambda _: stored)
    cursors.replace(dict(texts), {})
    return cursors


def decision(believed: str) -> planner.Decision:
    (found,) = planner.plan(ENTRY, believed, T0 + timedelta(minutes=1)).decisions
    return found


def test_a_job_without_a_cursor_has_an_empty_one():
    assert known("").of("job") == known("").readable("job") == ""


def test_an_unreadable_cursor_is_kept_and_not_readable():
    cursors = known("", job="nonsense")
    assert (cursors.of("job"), cursors.readable("job")) == ("nonsense", "")


def test_an_applied_decision_moves_the_cursor():
    cursors, applied = known("", job=EARLY), decision(EARLY)
    cursors.advance(applied)
    assert cursors.of("job") == applied.cursor


def test_a_cursor_that_another_leader_moved_on_is_believed():
    cursors = known("", job=EARLY)
    cursors.correct(decision(EARLY), LATE)
    assert cursors.of("job") == LATE


@pytest.mark.parametrize("stored", ["", EARLY])
def test_a_cursor_behind_the_one_that_redis_acknowledged_is_a_loss(stored):
    cursors, sent = known(stored, job=LATE), decision(EARLY)
    with pytest.raises(StateLostError, match="job"):
        cursors.read_again("job")
    assert cursors.of("job") == LATE
    cursors.correct(sent, stored)  # an earlier decision of its batch was not applied: no sign of a loss
    assert cursors.of("job") == stored


def test_a_cursor_that_is_read_again_is_believed():
    cursors = known(LATE, job=EARLY)
    cursors.read_again("job")
    assert cursors.of("job") == LATE


def test_the_clock_is_behind_by_the_farthest_readable_cursor_of_these_jobs():
    cursors = known("", a=EARLY, b=LATE, c="nonsense", gone=cursor(ENTRY, T0 + timedelta(days=1)))
    cursors.measure(["a", "b", "c"])
    assert cursors.ahead_seconds(T0) == 300.0
    assert cursors.is_ahead_of(T0)
    assert cursors.ahead_seconds(T0 + timedelta(minutes=5)) == 0.0
