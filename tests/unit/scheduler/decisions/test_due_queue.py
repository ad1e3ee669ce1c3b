"""The agenda: one appointment for each job, and no more room than that."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.scheduler.decisions.due_queue import DueQueue

T0 = datetime(2026, 3, 1, tzinfo=UTC)


def test_the_newest_appointment_of_each_job_counts():
    agenda = DueQueue()
    for job, seconds in (("a", 5), ("b", 2), ("a", 1), ("b", 9), ("c", 3), ("c", None)):
        agenda.put(job, None if seconds is None else T0 + timedelta(seconds=seconds))
    assert list(agenda.due(T0 + timedelta(seconds=8))) == ["a"]
    assert agenda.next_at() == T0 + timedelta(seconds=9)
    assert agenda.upcoming() == {"b": T0 + timedelta(seconds=9)}


def test_a_job_that_is_put_off_again_and_again_takes_no_more_room():
    agenda = DueQueue()
    agenda.put("other", T0 + timedelta(days=1))
    for second in range(5000):  # troubled: planned for next year, then looked at again soon
        agenda.put("yearly", T0 + timedelta(days=365, seconds=second))
        agenda.put("yearly", T0 + timedelta(seconds=second))
        assert list(agenda.due(T0 + timedelta(seconds=second))) == ["yearly"]
    assert agenda._kept < 200
    assert len(agenda._instants) < 200
    assert agenda.upcoming() == {"other": T0 + timedelta(days=1)}


def test_many_at_one_instant_are_taken_out_a_few_at_a_time_in_the_order_of_their_coming():
    agenda = DueQueue()
    names = [f"job-{number}" for number in range(10)]
    for name in names:
        agenda.put(name, T0)
    agenda.put("job-3", T0 + timedelta(seconds=1))
    agenda.put("job-4", T0)  # again: it is still only one appointment
    assert agenda.due(T0 - timedelta(seconds=1), 4) == []
    assert agenda.due(T0, 4) == ["job-0", "job-1", "job-2", "job-4"]
    assert agenda.due(T0 + timedelta(seconds=1)) == ["job-5", "job-6", "job-7", "job-8", "job-9", "job-3"]
    assert agenda.next_at() is None
    assert agenda.upcoming() == {}


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.one_of(st.none(), st.integers(0, 5)), st.booleans())))
def test_it_is_a_dictionary_that_is_asked_in_order(steps):
    agenda, expected = DueQueue(), dict[str, datetime]()
    for job, second, is_asked in steps:
        at = None if second is None else T0 + timedelta(seconds=second)
        agenda.put(job, at)
        expected.pop(job, None)
        if at is not None:
            expected[job] = at
        assert agenda.next_at() == min(expected.values(), default=None)
        if is_asked:
            until = T0 + timedelta(seconds=2)
            due = agenda.due(until)
            assert sorted(due) == sorted(name for name, then in expected.items() if then <= until)
            assert [expected[name] for name in due] == sorted(expected[name] for name in due)
            expected = {name: then for name, then in expected.items() if then > until}
        assert agenda.upcoming() == expected
