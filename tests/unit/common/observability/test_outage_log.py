"""How many lines an outage is worth."""

import threading

import structlog
from tests.support.clocks import SteppedClock

from kuber_cron.common.observability.outage_log import OutageLog

ERROR = OSError("gone")


def lines(entries):
    return [(entry["event"], entry.get("failures")) for entry in entries]


def test_an_outage_is_a_line_at_its_begin_a_few_in_between_and_one_at_its_end():
    clock = SteppedClock()
    outage = OutageLog(clock)
    with structlog.testing.capture_logs() as entries:
        for _ in range(7200):  # an hour, twice a second
            outage.failed("claiming failed", ERROR)
            clock.advance(0.5)
        clock.advance(5)
        outage.answered()
        outage.answered()
    assert lines(entries)[0] == ("claiming failed", None)
    assert lines(entries)[-1] == ("redis answers again", 7200)
    assert len(entries) < 16
    assert [entry["event"] for entry in entries].count("redis answers again") == 1


def test_all_threads_together_begin_one_outage():
    outage = OutageLog(SteppedClock())
    with structlog.testing.capture_logs() as entries:
        threads = [
            threading.Thread(target=outage.failed, args=(f"loop {number} failed", ERROR))
            for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(entries) == 1


def test_what_one_loop_reaches_does_not_end_the_outage_of_another():
    clock = SteppedClock()
    outage = OutageLog(clock)
    with structlog.testing.capture_logs() as entries:
        for _ in range(10):
            outage.failed("claiming failed", ERROR)
            clock.advance(0.5)
            outage.answered()
    assert lines(entries) == [("claiming failed", None)]


def test_the_next_outage_is_announced_anew():
    clock = SteppedClock()
    outage = OutageLog(clock)
    with structlog.testing.capture_logs() as entries:
        for _ in range(2):
            outage.failed("claiming failed", ERROR)
            clock.advance(5)
            outage.answered()
    assert lines(entries) == [("claiming failed", None), ("redis answers again", 1)] * 2
