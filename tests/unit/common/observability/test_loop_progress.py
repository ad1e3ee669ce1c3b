"""What a liveness check knows of a loop."""

from datetime import UTC, datetime

import pytest

from kuber_cron.common.observability.loop_progress import LoopProgress


class Clock:
    def __init__(self):
        self.at = 1000.0

    def now(self):
        return datetime.fromtimestamp(self.at, UTC)

    def elapsed(self):
        return self.at


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def progress(clock):
    return LoopProgress(clock, "deciding", 40.0)


def test_a_loop_that_has_not_come_round_for_too_long_stands_still(clock, progress):
    clock.at += 39.9
    assert progress.check() == "ok"
    clock.at += 5.1
    assert progress.check() == "the deciding loop has not turned for 45 s"
    progress.turned()
    assert progress.check() == "ok"


def test_a_loop_that_rests_may_take_any_time_until_it_has_come_round(clock, progress):
    progress.rests()
    clock.at += 86400
    assert progress.check() == "ok"
    progress.turned()
    clock.at += 41
    assert progress.check() != "ok"


def test_failures_are_counted_from_the_first_one_until_an_answer(clock, progress):
    assert progress.failing_seconds() == 0
    progress.failed()
    clock.at += 30
    progress.failed()
    clock.at += 30
    assert progress.failing_seconds() == 60
    progress.succeeded()
    clock.at += 30
    assert progress.failing_seconds() == 0
