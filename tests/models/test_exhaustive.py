"""Every history of a small cluster: what is decided is decided once, in order, by whom Redis says; and each rule
of the script and of the election is needed for that."""

import pytest
from tests.models.leadership import Bounds, Model, Rules, search

SIZES = {
    "two schedulers, a restart": (Rules(), Bounds(terms=3), 10_000),
    "three schedulers in three terms": (Rules(), Bounds(schedulers=3, terms=3, crashes=0), 60_000),
    "two jobs": (Rules(), Bounds(jobs=2, crashes=0), 40_000),
    "two batches in flight": (Rules(in_flight=2), Bounds(), 7_000),
    "the lease deleted": (Rules(), Bounds(terms=3, crashes=0, deletions=1), 5_000),
    "redis going back": (Rules(), Bounds(crashes=0, rollbacks=1), 25_000),
}


@pytest.mark.parametrize("size", SIZES)
def test_no_history_loses_doubles_or_reorders_an_instant(size, record_property):
    rules, bounds, least = SIZES[size]
    states, found = search(Model(rules, bounds))
    record_property("states", states)
    assert found is None
    assert states >= least  # a search that has become small has become blind


BROKEN = {
    "no cursor compared": (Rules(cursor="none"), Bounds(), "instant 1 of job 0 is decided twice"),
    "a later cursor is good enough, two batches in flight": (
        Rules(cursor="at least", in_flight=2),
        Bounds(),
        "instant 1 of job 0 is skipped",
    ),
    "no epoch compared": (Rules(epoch="none"), Bounds(), "epoch 1 decided after epoch 2 had claimed"),
    "a larger epoch than the fence's is good enough, Redis going back": (
        Rules(epoch="at least"),
        Bounds(rollbacks=1),
        "epoch 1 decided after epoch 2 had",
    ),
    "nobody claims": (Rules(claims=False), Bounds(), "instant 1 of job 0 is never decided"),
    "nobody claims and a larger epoch is good enough": (
        Rules(claims=False, epoch="at least"),
        Bounds(),
        "epoch 1 decided after epoch 2 had",
    ),
    "an epoch claimed by two, the lease deleted": (
        Rules(holders=False),
        Bounds(deletions=1),
        "epoch 1 was led by two",
    ),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_mistake_in_the_rules_has_a_history_that_shows_it(mistake):
    rules, bounds, wrong = BROKEN[mistake]
    _, found = search(Model(rules, bounds))
    assert found is not None, "the search did not notice"
    assert found.wrong == wrong, "\n".join(found.steps)
