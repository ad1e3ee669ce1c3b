"""When the worker sends its heartbeats."""

import pytest
from prometheus_client import CollectorRegistry
from redis.exceptions import TimeoutError as RedisTimeoutError
from tests.support.clocks import SteppedClock
from tests.support.workers import context

from kuber_cron.worker.coordination.heartbeat import Heartbeat
from kuber_cron.worker.coordination.run_store import RunStore

TTL = 15.0


class Heart(RunStore):
    """Redis as it answers heartbeats: after so many seconds, or with an error."""

    def __init__(self, clock, seconds=0.0, error=None):
        self.clock, self.seconds, self.error = clock, seconds, error

    def heartbeat(self, _running, _now):
        self.clock.advance(self.seconds)
        if self.error is not None:
            raise self.error
        return 2, []


class Once:
    """An event that is set after the first wait, and tells how long that was to be."""

    waited = None

    def is_set(self):
        return self.waited is not None

    def wait(self, seconds):
        self.waited = seconds

    def clear(self):
        pass


def pause(clock, heart, rq_seconds=0.0):
    """How long the worker waits after one heartbeat."""

    def send_to_rq():
        clock.advance(rq_seconds)

    made = Heartbeat(
        context(CollectorRegistry(), clock=clock, ttl_seconds=TTL),
        heart,
        stop=lambda *_, **__: None,
        send_to_rq=send_to_rq,
    )
    done = made._send_now = Once()
    made.run(done)
    return done.waited


@pytest.mark.parametrize(("rq_seconds", "waits"), [(0.0, 5.0), (4.0, 1.0), (11.0, 0.0)])
def test_the_heartbeat_to_rq_does_not_delay_the_next_heartbeat(rq_seconds, waits):
    clock = SteppedClock()
    assert pause(clock, Heart(clock), rq_seconds) == pytest.approx(waits)


def test_a_heartbeat_without_an_answer_is_tried_again_a_second_after_it():
    clock = SteppedClock()
    assert pause(clock, Heart(clock, 1.5, RedisTimeoutError("it hangs"))) == pytest.approx(1.0)
