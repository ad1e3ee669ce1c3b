"""The laws of what jobs have to do with each other: order, delays, groups."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.jobs.job import Job, delay_of
from kuber_cron.scheduler.decisions import dependencies
from kuber_cron.scheduler.decisions.catalog import compile_entries


def job(name, **policy):
    return Job(id=name, command="true", **{"schedule": "* * * * *", **policy})


@st.composite
def families(draw):
    """Jobs that come after any of those before them, in any order, with delays of their own."""
    count = draw(st.integers(1, 12))
    jobs, delays = [], {}
    for number in range(count):
        before = draw(st.lists(st.integers(0, number - 1), unique=True, max_size=3)) if number else []
        group = draw(st.sampled_from([None, "disk", "disk:2", "disk:3", "net:5"]))
        jobs.append(job(f"j{number}", after=[f"j{n}" for n in before], group=group))
        delays[f"j{number}"] = timedelta(seconds=draw(st.integers(0, 90)))
    return draw(st.permutations(jobs)), delays


def related(jobs, delays):
    return dependencies.of({one.id: one for one in jobs}, delays)


def ancestors(jobs, name):
    by_id = {one.id: one for one in jobs}
    found, coming = set(), list(by_id[name].after)
    while coming:
        other = coming.pop()
        if other not in found:
            found.add(other)
            coming.extend(by_id[other].after)
    return found


@given(families())
def test_every_job_ranks_after_its_predecessors_and_no_further_than_needed(family):
    jobs, delays = family
    found = related(jobs, delays)
    for one in jobs:
        assert found[one.id].rank == max((found[other].rank + 1 for other in one.after), default=0)


@given(families())
def test_a_job_is_due_no_earlier_than_any_of_its_ancestors_and_no_later_than_the_latest(family):
    jobs, delays = family
    found = related(jobs, delays)
    for one in jobs:
        assert found[one.id].delay == max(delays[name] for name in {one.id, *ancestors(jobs, one.id)})


@given(families())
def test_a_job_is_watched_exactly_if_another_comes_after_it(family):
    jobs, delays = family
    found = related(jobs, delays)
    assert {name for name, one in found.items() if one.watched} == {
        name for one in jobs for name in one.after
    }


@given(families())
def test_all_jobs_of_a_group_agree_on_its_smallest_limit(family):
    jobs, delays = family
    limits = {}
    for one in related(jobs, delays).values():
        if one.group is not None:
            limits.setdefault(one.group[0], set()).add(one.group[1])
    said = {}
    for one in jobs:
        if one.group is not None:
            name, limit = dependencies.group_of(one.group)
            said.setdefault(name, set()).add(limit)
    assert limits == {name: {min(all_of_them)} for name, all_of_them in said.items()}


@given(families(), st.randoms())
def test_the_order_of_the_files_changes_nothing(family, random):
    jobs, delays = family
    shuffled = list(jobs)
    random.shuffle(shuffled)
    assert related(jobs, delays) == related(shuffled, delays)


def test_a_chain_of_ten_thousand_jobs_is_no_recursion():
    jobs = [job(f"j{n}", after=[f"j{n - 1}"] if n else []) for n in range(10_000)]
    found = related(list(reversed(jobs)), {one.id: timedelta(0) for one in jobs})
    assert found["j9999"].rank == 9_999


@pytest.mark.parametrize(("text", "expected"), [("disk", ("disk", 1)), ("disk:7", ("disk", 7))])
def test_a_group_without_a_number_holds_one(text, expected):
    assert dependencies.group_of(text) == expected


def test_a_compiled_dependent_waits_out_its_predecessors_jitter():
    jobs = [job("a", jitter=300.0), job("b", after=["a"]), job("c", schedule="@after", after=["b"])]
    entries = compile_entries(jobs)
    assert entries["a"].delay == entries["b"].delay == entries["c"].delay == delay_of(jobs[0])
