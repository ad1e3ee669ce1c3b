"""What becomes of ends while Redis takes none, and of attempts that never ran."""

import math
import random
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import redis
from prometheus_client import CollectorRegistry
from tests.support.workers import context, job

from kuber_cron.common.clock import SystemClock
from kuber_cron.common.observability.outage_log import OutageLog
from kuber_cron.common.runs import payload
from kuber_cron.common.runs.retry_policy import SpentBudgets
from kuber_cron.worker.coordination import result_reporter
from kuber_cron.worker.coordination.command_listener import CommandListener
from kuber_cron.worker.coordination.notifications import WorkerNotifications
from kuber_cron.worker.coordination.result_reporter import ResultReporter
from kuber_cron.worker.coordination.run_store import AttemptStart, EndReply, RunStore
from kuber_cron.worker.coordination.slots import RunningAttempt
from kuber_cron.worker.execution.launch import AttemptResult, Launch
from kuber_cron.worker.execution.outcome import Outcome

NOW = datetime(2026, 1, 1, tzinfo=UTC)
START = AttemptStart(attempt=1, recovered=False, data=b"", spent=SpentBudgets(), queued_at=None)


class Book(RunStore):
    """A run store that Redis does not answer, or always with DONE."""

    def __init__(self, error=None):
        self.error = error
        self.endings = []

    def end(self, _run, _execution, ending, **_):
        self.endings.append(ending)
        if self.error is not None:
            raise self.error
        return EndReply.DONE


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def report(registry, monkeypatch):
    """Tell so many ends of so many commands, and wait until the reporter is done with them."""
    monkeypatch.setattr(result_reporter, "_FLUSH_SECONDS", 0.2)
    monkeypatch.setattr(result_reporter, "_AFTER_ERROR_SECONDS", 0.02)

    def run(book, *ends, **policy):
        worker = context(registry, slots=len(ends))
        slots = worker.slots
        reporter = ResultReporter(
            worker,
            book,
            notifications=WorkerNotifications(None, book, worker="w"),
            rng=random.Random(1),
            may_give_up=lambda: True,
        )
        for number, ended in enumerate(ends):
            execution = f"e{number}"
            slots.occupy(RunningAttempt("run", execution, START, payload.payload_for(job(**policy), NOW)))
            reporter.report(replace(ended, launch=Launch.of_unreadable_run("run", execution, 1)))
        reporter.end_by(math.inf)
        thread = threading.Thread(target=reporter.run, daemon=True)
        thread.start()
        thread.join(60)
        assert not thread.is_alive()
        assert len(slots) == 0
        return book.endings

    return run


def an_end(kind="success", pid=1):
    return AttemptResult(
        launch=Launch.of_unreadable_run("", "", 1), outcome=Outcome(kind=kind), pid=pid, ended_at=NOW
    )


def test_all_outcomes_that_redis_does_not_take_are_given_up_together(report):
    tried = report(Book(redis.TimeoutError("it hangs")), *[an_end()] * 64)
    assert len(tried) < 20  # as often as fits into the time, and not once for each of them


def test_an_outcome_that_redis_refuses_is_given_up_alone(report):
    book = Book(redis.ResponseError("WRONGTYPE"))
    report(book, *[an_end()] * 3)
    assert len(book.endings) >= 6


@pytest.mark.parametrize(
    "policy", [{}, {"on_interrupt": "fail"}, {"execution": "at_most_once"}, {"on_interrupt": "requeue"}]
)
def test_an_attempt_that_a_drain_kept_from_running_was_none(report, registry, policy):
    (ending,) = report(Book(), an_end("interrupted", pid=None), **policy)
    assert ending.action == "return"
    labels = {"job": "job", "outcome": "interrupted"}
    assert registry.get_sample_value("cron_job_executions_total", labels) is None


def test_an_attempt_that_a_drain_ended_was_one(report, registry):
    (ending,) = report(Book(), an_end("interrupted"))
    assert ending.action == "requeue"
    labels = {"job": "job", "outcome": "interrupted"}
    assert registry.get_sample_value("cron_job_executions_total", labels) == 1


def test_no_error_makes_the_worker_deaf_for_commands(monkeypatch):
    monkeypatch.setattr("kuber_cron.worker.coordination.command_listener._AFTER_ERROR_SECONDS", 0.01)
    done = threading.Event()

    class Client:
        tries = 0

        def pubsub(self, **_):
            self.tries += 1
            if self.tries == 3:
                done.set()
            raise RuntimeError("pubsub connection not set")

    CommandListener(Client(), "channel", lambda _: None, OutageLog(SystemClock())).run(done)
