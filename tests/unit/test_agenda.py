"""The agenda: one appointment for each job, and no more room than that."""

from datetime import UTC, datetime, timedelta

from kuber_cron.scheduler.agenda import Agenda

T0 = datetime(2026, 3, 1, tzinfo=UTC)


def test_the_newest_appointment_of_each_job_counts():
    agenda = Agenda()
    for job, seconds in (("a", 5), ("b", 2), ("a", 1), ("b", 9), ("c", 3), ("c", None)):
        agenda.put(job, None if seconds is None else T0 + timedelta(seconds=seconds))
    assert list(agenda.due(T0 + timedelta(seconds=8))) == ["a"]
    assert agenda.next_at() == T0 + timedelta(seconds=9)
    assert agenda.upcoming() == {"b": T0 + timedelta(seconds=9)}


def test_a_job_that_is_put_off_again_and_again_takes_no_more_room():
    agenda = Agenda()
    agenda.put("other", T0 + timedelta(days=1))
    for second in range(5000):  # troubled: planned for next year, then looked at again soon
        agenda.put("yearly", T0 + timedelta(days=365, seconds=second))
        agenda.put("yearly", T0 + timedelta(seconds=second))
        assert list(agenda.due(T0 + timedelta(seconds=second))) == ["yearly"]
    assert len(agenda._heap) < 200
    assert agenda.upcoming() == {"other": T0 + timedelta(days=1)}
