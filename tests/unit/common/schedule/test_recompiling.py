"""A reload takes over what is as it was, and comes to what a first load would come to."""

from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.jobs.job import Job
from kuber_cron.common.schedule import timezones
from kuber_cron.scheduler.decisions.catalog import compile_entries


def job(name, **policy):
    return Job(id=name, command="true", **{"schedule": "* * * * *", **policy})


@st.composite
def two_files(draw):
    """Jobs before and after an edit; some are the same objects in both."""
    names = [f"j{number}" for number in range(draw(st.integers(1, 8)))]

    def one(number):
        after = draw(st.lists(st.sampled_from(names[:number]), unique=True, max_size=2)) if number else []
        schedules = ["* * * * *", "H 2 * * *", "@every 90s", *(["@after"] if after else [])]
        return job(
            names[number],
            schedule=draw(st.sampled_from(schedules)),
            timezone=draw(st.sampled_from(["UTC", "Europe/Berlin"])),
            after=after,
            group=draw(st.sampled_from([None, "disk", "disk:2"])),
            jitter=draw(st.sampled_from([0.0, 90.0])),
        )

    before = [one(number) for number in range(len(names))]
    after = [known if draw(st.booleans()) else one(number) for number, known in enumerate(before)]
    left = draw(st.permutations(after))
    return before, left


@given(two_files())
def test_what_was_known_before_changes_nothing_that_is_compiled(files):
    before, after = files
    known = compile_entries(before)
    found = compile_entries(after, known)
    assert found == compile_entries(after)
    assert list(found) == [one.id for one in after]
    for name, entry in found.items():
        assert (
            entry is known[name]
            or entry != known[name]
            or entry.job is not known[name].job
            or entry.job.after
        )


def test_a_job_that_is_as_it_was_keeps_its_entry():
    jobs = [job("a"), job("b", group="disk:2"), job("c", after=["a"]), job("d")]
    known = compile_entries(jobs)
    found = compile_entries([*jobs[:3], job("d", schedule="@daily"), job("e", after=["d"])], known)
    assert [found[name] is known[name] for name in "abcd"] == [True, True, True, False]


@pytest.mark.parametrize("other", [job("b", group="disk:1"), job("b", after=["a"])])
def test_a_job_that_another_job_changes_gets_a_new_entry(other):
    jobs = [job("a", group="disk:2"), job("b")]
    known = compile_entries(jobs)
    found = compile_entries([jobs[0], other], known)
    assert found["a"] is not known["a"]


def test_a_new_tz_database_makes_new_entries(tmp_path, monkeypatch):
    jobs = [job("a", timezone="Europe/Berlin"), job("b", timezone="Europe/Berlin")]
    known = compile_entries(jobs)
    monkeypatch.setattr(timezones, "TZPATH", (str(tmp_path),))
    (tmp_path / "Europe").mkdir()
    content = resources.files("tzdata").joinpath("zoneinfo", "Asia", "Tokyo").read_bytes()
    (tmp_path / "Europe" / "Berlin").write_bytes(content)
    timezones.refresh()
    try:
        found = compile_entries(jobs, known)
        assert all(found[name] is not known[name] for name in "ab")
    finally:
        monkeypatch.undo()
        timezones.refresh()
