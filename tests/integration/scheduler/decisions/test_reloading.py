"""A reload plans what has changed, and decides what a scheduler that planned everything anew would decide."""

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.stepped import KEYS, SteppedLeader, job, log_of, minute

from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.scheduler.decisions import decider, pending_jobs
from kuber_cron.scheduler.decisions.catalog import Catalog, compile_entries

OTHER = Keys("other")
NAMES = ("a", "b", "c", "d")
# The same objects each time, as a file that has not changed gives them.
VARIANTS = {
    name: [
        job(name),
        job(name, "*/3 * * * *"),
        job(name, "*/2 * * * *", suspend=True),
        job(name, jitter=90.0),
        job(name, group="disk:2"),
    ]
    for name in NAMES
}
DEPENDENT = [job("z", "*/2 * * * *", after=["a"]), job("z", "@after", after=["b"])]


@st.composite
def edits(draw):
    """So many minutes pass, then the files hold these jobs."""
    held = [draw(st.sampled_from(VARIANTS[name])) for name in draw(st.sets(st.sampled_from(NAMES)))]
    ids = {one.id for one in held}
    dependents = [one for one in DEPENDENT if set(one.after) <= ids]
    if dependents and draw(st.booleans()):
        held.append(draw(st.sampled_from(dependents)))
    return draw(st.integers(0, 4)), held


class Anew(SteppedLeader):
    """A replica to which all jobs are new with each edit."""

    def edit(self, *jobs, settled_seconds=0.0):
        self.catalog = Catalog(compile_entries(jobs), self.catalog.version + 1, True, self.clock.at, ())
        self.settled_seconds = settled_seconds


@settings(max_examples=60)
@given(steps=st.lists(edits(), min_size=1, max_size=6), half=st.booleans())
def test_what_a_reload_keeps_decides_as_if_all_were_planned_anew(shared_redis, steps, half):
    with redis.Redis.from_url(shared_redis.url, protocol=2) as client:
        client.flushall()
        assert_alike(client, steps, half)


def assert_alike(redis_client, steps, half):
    start = [VARIANTS[name][0] for name in NAMES]
    kept, anew = SteppedLeader(redis_client, *start), Anew(redis_client, *start, keys=OTHER)
    at = 0.0
    for leader in (kept, anew):
        leader.decide(minute(0))
    for passed, held in steps:
        at += passed + 0.5 * half
        for leader in (kept, anew):
            leader.decide(minute(at))
            leader.edit(*held)
            leader.decide(minute(at))
    for number in range(1, 6):
        for leader in (kept, anew):
            leader.decide(minute(at + number))
    for name in (*NAMES, "z"):
        assert told(redis_client, name, KEYS) == told(redis_client, name, OTHER)
    assert kept.decider.upcoming() == anew.decider.upcoming()


@settings(max_examples=30)
@given(steps=st.lists(edits(), min_size=1, max_size=6), half=st.booleans())
def test_edits_that_are_taken_in_one_by_one_decide_the_same(shared_redis, steps, half):
    with (
        redis.Redis.from_url(shared_redis.url, protocol=2) as client,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(pending_jobs, "EDITS_A_TURN", 1)
        client.flushall()
        assert_alike(client, steps, half)


def test_what_is_due_is_decided_while_thousands_of_edits_are_taken_in(make_leader):
    def edited(schedule):
        return [job(f"job-{number:04}", schedule) for number in range(3000)]

    punctual = job("punctual")
    made = make_leader(punctual, *edited("0 0 1 1 *"))
    made.decide(minute(0))
    made.edit(punctual, *edited("0 0 2 1 *"))
    made.clock.at = minute(1)
    before = len(made.verdicts)
    made.turn()
    words = [each.decision.job for each in made.verdicts[before:]]
    assert "punctual" in words
    assert len(words) == 1 + pending_jobs.EDITS_A_TURN  # its turn waits for so many, not for all
    made.decide(minute(1))
    assert len(made.verdicts) - before == 1 + 3000


def told(client, name, keys):
    return [(entry.decision, entry.reason, entry.first, entry.last) for entry in log_of(client, name, keys)]


def test_a_reload_plans_what_has_changed(make_leader, monkeypatch):
    jobs = [job(f"job-{number}", "0 0 1 1 *") for number in range(50)]
    made = make_leader(*jobs)
    made.decide(minute(0))
    planned, plan = [], decider.planner.plan
    monkeypatch.setattr(
        decider.planner, "plan", lambda entry, *rest: planned.append(entry.job.id) or plan(entry, *rest)
    )
    jobs[7] = job("job-7", "*/5 * * * *")
    made.edit(*jobs, job("new"))
    made.decide(minute(0.5))
    assert set(planned) == {"job-7", "new"}
    made.decide(minute(5))
    assert made.words("job-7") == ["moved first seen", "moved edited", "queued"]


def test_a_job_that_left_is_not_decided_and_one_that_came_back_is(make_leader):
    first, second = job("a"), job("b")
    made = make_leader(first, second)
    made.decide(minute(0))
    made.edit(first)
    made.decide(minute(2))
    assert made.words("b") == ["moved first seen"]
    made.edit(first, second)
    made.decide(minute(3))
    assert made.words("b") == ["moved first seen", "queued", "queued", "queued"]
