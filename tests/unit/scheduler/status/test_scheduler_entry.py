"""How late decisions were lately, and who leads, as people are told."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.stepped import KEYS

from kuber_cron.common.records.processes import Leader, QueueInfo, SchedulerInfo, ServerInfo, WorkerInfo
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.control.queries import problems, processes
from kuber_cron.control.queries.results import JobCounts, RunCounts, StatusView
from kuber_cron.scheduler.status.scheduler_entry import Lateness

AT = datetime(2026, 3, 1, tzinfo=UTC)


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(0, 99)), max_size=30))
def test_the_largest_lateness_is_of_the_last_one_to_two_minutes(noted):
    lateness = Lateness()
    noted.sort()
    for second, late in noted:
        lateness.note(AT + timedelta(seconds=second), late)
    now = AT + timedelta(seconds=noted[-1][0] if noted else 0)
    largest = lateness.largest(now)
    recent = [late for second, late in noted if second > noted[-1][0] - 60]
    within = [late for second, late in noted if second > noted[-1][0] - 120]
    if noted:
        assert max(recent) <= largest <= max(within)
    else:
        assert largest is None
    assert lateness.largest(now + timedelta(minutes=3)) is None


def fence(**told):
    values = {"holder": "one", "epoch": "3", "seen": "1772323200000", **told}
    return [values[name].encode() if name in values else None for name in processes.FENCE_FIELDS]


@pytest.mark.parametrize(
    ("cluster", "lease", "seconds", "alive", "election"),
    [
        ("kuber-cron", b"one:3", 99, True, "redis"),
        ("kuber-cron", None, 0, False, "redis"),
        ("a1b2c3", None, 14, True, "kubernetes"),
        ("a1b2c3", None, 16, False, "kubernetes"),
    ],
)
def test_who_leads_is_said_by_the_lease_in_redis_or_by_when_the_fence_was_seen(
    cluster, lease, seconds, alive, election
):
    at = AT + timedelta(seconds=seconds)
    found = processes.leader_of(Store(None, KEYS), fence(cluster=cluster), lease, at)
    assert (found.is_alive, found.election, found.epoch, found.seen_at) == (alive, election, 3, AT)
    team = processes.leader_of(Store(None, Keys("team-a")), fence(cluster="team-a"), lease, at)
    assert team.election == "redis"


def status(**told):
    usual = {
        "now": AT,
        "instance": "kuber-cron",
        "client_version": "1.0.0",
        "redis": ServerInfo(address="redis:6379", memory_bytes=1, memory_max_bytes=100),
        "leader": Leader(holder="one", epoch=1, seen_at=AT, is_alive=True),
        "schedulers": (SchedulerInfo(holder="one", version="1.0.0", seen_at=AT, epoch=1, jobs=2),),
        "workers": (WorkerInfo(worker="w", version="1.0.0"),),
        "queues": (QueueInfo(queue="default", workers=1),),
        "jobs": JobCounts(total=2),
        "runs": RunCounts(),
        "quarantined": 0,
        "failures": (),
    }
    return StatusView(**usual | told)


def test_where_all_is_well_there_are_no_troubles():
    assert problems.problems(status()) == ()


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"leader": Leader()}, "no scheduler has ever led"),
        ({"workers": ()}, "no worker is there"),
        ({"workers": (WorkerInfo(worker="w", state="lost"),)}, "no worker is there"),
        (
            {
                "schedulers": (
                    SchedulerInfo(holder="one", seen_at=AT, is_valid=False, problem="crontab:1:1: bad"),
                )
            },
            "the job files of one hold errors, so its last good jobs run: crontab:1:1: bad",
        ),
        (
            {
                "schedulers": (
                    SchedulerInfo(holder="a", seen_at=AT, jobs=1),
                    SchedulerInfo(holder="b", seen_at=AT, jobs=2),
                )
            },
            "different numbers of jobs: 1, 2",
        ),
        ({"queues": (QueueInfo(queue="batch", queued=3),)}, "no worker serves queue batch, where 3 wait"),
        (
            {
                "queues": (
                    QueueInfo(queue="a", queued=3, workers=1, oldest_queued_at=AT - timedelta(minutes=5)),
                )
            },
            "the first in queue a has waited for 5 m 00 s",
        ),
        ({"jobs": JobCounts(total=2, paused=2)}, "all jobs are paused"),
        ({"quarantined": 4}, "4 in quarantine"),
        (
            {"schedulers": (SchedulerInfo(holder="one", version="1.0.0", seen_at=AT, late_seconds=7.0),)},
            "a run was queued 7.0 s late",
        ),
        (
            {"redis": ServerInfo(address="redis:6379", memory_bytes=95, memory_max_bytes=100)},
            "Redis uses 95% of its maxmemory",
        ),
        (
            {"redis": ServerInfo(address="redis:6379", lost_at=AT - timedelta(hours=2))},
            "Redis had lost writes, found 2 h 00 m ago: each job went on by its on_state_loss",
        ),
        (
            {"workers": (WorkerInfo(worker="w", version="0.9.0"),)},
            "releases differ: schedulers 1.0.0, workers 0.9.0, this command 1.0.0; update workers first",
        ),
    ],
)
def test_each_trouble_is_told_in_a_sentence(told, sentence):
    assert any(sentence in each for each in problems.problems(status(**told)))


def test_a_loss_of_the_day_before_yesterday_is_no_problem_any_more():
    lost = ServerInfo(address="redis:6379", lost_at=AT - timedelta(days=2))
    assert problems.problems(status(redis=lost)) == ()


def test_a_replica_that_is_gone_troubles_nobody():
    gone = SchedulerInfo(
        holder="old", version="0.1.0", seen_at=AT - timedelta(minutes=5), is_valid=False, jobs=9
    )
    assert problems.problems(status(schedulers=(*status().schedulers, gone))) == ()
