"""What becomes of a job that leaves the files, and of one that is edited (spec: reliability.md §5)."""

import pytest
import redis
from tests.support.stepped import KEYS, T0, job, minute

from kuber_cron.common.errors import RedisUnreachableError


def gone(made, at):
    """The files have been without the job for long enough, and it is that minute."""
    made.clock.at = minute(at)
    made.edit(settled_seconds=0.0)
    made.decide(minute(at))
    made.settled_seconds = 180.0
    made.decide(minute(at + 3))


def test_a_removed_job_keeps_its_cursor_until_the_files_have_settled(make_leader):
    made = make_leader(job())
    made.minutes(0, 2)
    cursor = made.cursor()
    made.clock.at = minute(5)
    made.edit()
    for settled in (0.0, 60.0, 179.9):
        made.settled_seconds = settled
        made.decide(minute(5 + settled / 60))
        assert made.cursor() == cursor
    assert made.words() == ["moved first seen", "queued", "queued"]


def test_what_nobody_has_decided_until_the_removal_is_recorded_as_removed(make_leader):
    made = make_leader(job())
    made.minutes(0, 2)
    gone(made, 5)
    skip, drop = made.log()[-2:]
    assert (skip.decision, skip.reason, skip.first, skip.last, skip.count) == (
        "skipped", "removed", minute(3), minute(5), 3,
    )  # fmt: skip
    assert (drop.decision, drop.reason) == ("dropped", "removed")
    assert made.missed() == {"job|removed": 3}
    assert made.cursor() == ""


def test_a_job_with_nothing_open_is_only_dropped(make_leader):
    made = make_leader(job())
    made.minutes(0, 2)
    gone(made, 2.5)
    assert made.words()[3:] == ["dropped removed"]


def test_a_removal_is_decided_once_however_many_leaders_see_it(make_leader):
    made, other = make_leader(job()), make_leader(job(), holder="other")
    made.minutes(0, 2)
    other.minutes(0, 2)
    gone(made, 5)
    gone(other, 5)
    other.decide(minute(9))
    assert made.words()[3:] == ["skipped removed", "dropped removed"]
    assert other.state_lost == 0
    new = make_leader(holder="new")
    new.lead(2)
    new.settled_seconds = 1000.0
    new.decide(minute(10))
    assert made.words()[3:] == ["skipped removed", "dropped removed"]


def test_a_month_of_seconds_is_removed_in_one_step(make_leader):
    made = make_leader(job(schedule="@every 1s"))
    made.decide(T0)
    gone(made, 30 * 1440)
    skip, drop = made.log()[-2:]
    assert (skip.reason, skip.last) == ("removed", minute(30 * 1440))
    assert skip.count >= 10_000
    assert drop.decision == "dropped"


def test_a_removal_that_failed_is_tried_again(make_leader):
    made = make_leader(job())
    made.minutes(0, 2)
    made.client.rename(made.keys.log("job"), "aside")
    made.client.set(made.keys.log("job"), "not a stream")
    gone(made, 5)
    assert made.cursor()
    made.client.rename("aside", made.keys.log("job"))
    made.decide(minute(9))
    assert made.words()[3:] == ["skipped removed", "dropped removed"]


def test_a_job_that_comes_back_in_time_is_caught_up(make_leader):
    made = make_leader(job())
    made.minutes(0, 2)
    made.edit()
    made.decide(minute(4))
    made.edit(job())
    made.decide(minute(5))
    assert made.words() == ["moved first seen", *["queued"] * 5]


def test_a_job_that_comes_back_later_starts_at_now(make_leader):
    made = make_leader(job())
    made.minutes(0, 2)
    gone(made, 2)
    made.edit(job())
    made.decide(minute(9))
    made.decide(minute(10))
    assert made.words()[3:] == ["dropped removed", "moved first seen", "queued"]
    assert made.log()[-1].first == minute(10)


def in_four_states(make_leader, worker, on_remove):
    """Runs 1 to 4: started, waiting for a retry, claimed, queued; and run 4 of another job that is held by it."""
    made = make_leader(job(on_remove=on_remove), job("after", after=["job"]))
    made.minutes(0, 2)
    worker.take()
    worker.end(worker.take(), "retry", delay=3600)
    made.decide(minute(3))
    worker.claim()
    made.decide(minute(4))
    made.edit()
    return made


def test_what_is_remembered_of_a_removed_job_expires_unless_it_comes_back(make_leader, worker):
    made = make_leader(job())
    made.minutes(0, 2)
    worker.work()
    remembered = [KEYS.log("job"), KEYS.stats("job"), KEYS.history("job")]
    gone(made, 5)
    assert all(made.client.ttl(key) > 0 for key in remembered)
    made.edit(job())
    made.decide(minute(9))
    assert [made.client.ttl(key) for key in remembered] == [-1, -1, -1]


def test_on_remove_run_leaves_every_run(make_leader, worker):
    made = in_four_states(make_leader, worker, "run")
    gone(made, 4)
    assert [made.status(n) for n in (1, 2, 3, 4)] == ["started", "scheduled", "queued", "queued"]
    assert made.words()[-1] == "dropped removed"


def test_on_remove_cancel_ends_what_does_not_run_and_what_waits_for_it(make_leader, worker):
    made = in_four_states(make_leader, worker, "cancel")
    gone(made, 4)
    assert [made.status(n) for n in (1, 2, 3, 4)] == ["started", "canceled", "canceled", "canceled"]
    assert [made.status(n, "after") for n in (1, 2, 3, 4)] == ["deferred", "canceled", "canceled", "canceled"]
    assert made.words()[-4:] == [*["ended removed"] * 3, "dropped removed"]
    assert made.queued() == []
    assert worker.start(made.run(3)) == "status is canceled"
    worker.end(made.run(1))
    assert worker.take() == made.run(1, "after")


def test_on_remove_cancel_ends_a_held_run(make_leader, worker):
    made = make_leader(job(concurrency="queue", on_remove="cancel"))
    made.minutes(0, 1)
    worker.take()
    made.decide(minute(2))
    gone(made, 2)
    assert (made.status(1), made.status(2)) == ("started", "canceled")


def test_removed_instants_count_as_missed_and_cancelled_runs_too(make_leader):
    made = make_leader(job(on_remove="cancel"))
    made.minutes(0, 2)
    gone(made, 4)
    assert made.missed() == {"job|removed": 2 + 2}


def test_a_reboot_job_that_is_removed_is_dropped(make_leader):
    made = make_leader(job(schedule="@reboot"))
    made.decide(T0)
    gone(made, 1)
    assert made.words() == ["queued", "dropped removed"]


# --- edits --------------------------------------------------------------------------------------------


def test_an_edit_decides_what_was_open_by_the_old_schedule_and_what_comes_by_the_new(make_leader):
    made = make_leader(job(schedule="*/2 * * * *"))
    made.decide(T0)
    made.decide(minute(2))
    made.clock.at = minute(7)
    made.edit(job(schedule="*/3 * * * *"))
    made.decide(minute(7))
    for number in range(8, 13):
        made.decide(minute(number))
    assert [entry.first for entry in made.log() if entry.decision == "queued"] == [
        minute(n) for n in (2, 4, 6, 9, 12)
    ]
    assert "moved edited" in made.words()


def test_an_edit_to_an_earlier_time_of_today_does_not_fire_today(make_leader):
    made = make_leader(job(schedule="0 6 * * *"))
    made.decide(T0)
    made.decide(minute(360))
    made.edit(job(schedule="0 5 * * *"))
    made.decide(minute(420))
    made.decide(minute(1439))
    assert made.words() == ["moved first seen", "queued", "moved edited"]
    made.decide(minute(1440 + 300))
    assert made.log()[-1].first == minute(1440 + 300)


def test_an_edit_of_anything_but_the_schedule_moves_no_cursor(make_leader):
    made = make_leader(job())
    made.minutes(0, 1)
    made.edit(job(retries=5, queue="other"))
    made.decide(minute(2))
    assert made.words() == ["moved first seen", "queued", "queued"]
    assert made.queued("other") == [made.run(2)]


def test_an_edit_of_the_zone_is_an_edit_of_the_schedule(make_leader):
    made = make_leader(job(schedule="0 6 * * *"))
    made.decide(T0)
    made.edit(job(schedule="0 6 * * *", timezone="Asia/Tokyo"))
    made.decide(minute(1))
    made.decide(minute(21 * 60))
    assert made.words() == ["moved first seen", "moved edited", "queued"]


def test_an_edit_of_a_predecessor_and_its_dependent_at_once_keeps_the_order(make_leader):
    made = make_leader(job("a", "*/2 * * * *"), job("b", "@after", after=["a"]))
    made.decide(T0)
    made.clock.at = minute(5)
    made.edit(job("a", "*/3 * * * *"), job("b", "@after", after=["a"]))
    made.decide(minute(5))
    for number in (6, 9):
        made.decide(minute(number))
        made.decide(minute(number + 0.01))
    for number in (2, 4, 6, 9):
        assert made.status(number, "a") == "queued"
        assert made.client.hkeys(made.keys.gates(made.run(number, "b"))) == [made.run(number, "a").encode()]


def test_a_job_that_comes_back_after_a_removal_without_an_answer_is_new_and_nothing_was_lost(make_leader):
    made = make_leader(job("a"), job("b"))
    made.minutes(0, 1)
    made.edit(job("b"), settled_seconds=1e6)
    call = made.store.call_packed

    def sent_and_never_answered(*arguments):
        call(*arguments)
        if arguments[2]:
            raise redis.TimeoutError("no answer")

    made.store.call_packed = sent_and_never_answered
    with pytest.raises(RedisUnreachableError):
        made.decide(minute(1.5))
    del made.store.call_packed
    assert made.cursor("a") == ""
    made.edit(job("a"), job("b"))
    made.decide(minute(2))
    assert made.state_lost == 0
    assert made.words("a")[-1] == "moved first seen"
