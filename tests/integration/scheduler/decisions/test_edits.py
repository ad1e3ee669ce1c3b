"""Edits of whatever moves a job's occurrences: each takes effect from then on, and fires nothing retroactively."""

from dataclasses import replace

import pytest
from tests.support.stepped import KEYS, job, minute


@pytest.fixture(params=["same leader", "another leader"])
def edit(request, make_leader):
    """The files change at an instant, under the leader or while nobody leads."""

    def change(made, at, *jobs):
        if request.param == "same leader":
            made.edit(*jobs)
            made.decide(at)
            return made
        other = make_leader(*jobs, holder="other")
        other.lead(made.term.epoch + 1)
        other.decide(at)
        return other

    return change


def queued(made, name="job"):
    return [each.first for each in made.log(name) if each.decision == "queued"]


def test_a_start_of_life_that_is_taken_away_fires_nothing_of_before(make_leader, edit):
    made = make_leader(job(not_before=minute(600)))
    made.minutes(0, 49)
    made = edit(made, minute(49.5), job())
    made.minutes(50, 51)
    assert made.words() == ["moved first seen", "moved edited", "queued", "queued"]
    assert queued(made) == [minute(50), minute(51)]


def test_an_end_of_life_that_is_put_off_fires_nothing_of_before(make_leader, edit):
    made = make_leader(job(not_after=minute(2)))
    made.minutes(0, 49)
    made = edit(made, minute(49.5), job(not_after=minute(50)))
    made.minutes(50, 52)
    assert queued(made) == [minute(1), minute(2), minute(50)]
    assert "moved edited" in made.words()


def test_an_end_of_life_that_is_set_back_leaves_nothing_undecided(make_leader, edit):
    made = make_leader(job())
    made.minutes(0, 3)
    made = edit(made, minute(5.5), job(not_after=minute(1)))
    made.minutes(6, 9)
    assert queued(made) == [minute(number) for number in range(1, 6)]


def test_jitter_that_is_taken_away_makes_nothing_late(make_leader, edit):
    jittered = job(schedule="@hourly", jitter=3000.0, catchup="none")
    made = make_leader(jittered)
    delay = made.catalog.entries["job"].delay.total_seconds() / 60
    assert 2 < delay < 50
    made.decide(minute(0))
    made.decide(minute(60 + delay - 1))
    assert queued(made) == []  # not due yet
    made = edit(made, minute(60 + delay - 0.5), replace(jittered, jitter=0.0))
    made.decide(minute(120))
    assert queued(made) == [minute(60), minute(120)]
    assert made.missed() == {}


def test_jitter_that_is_added_decides_nothing_twice(make_leader, edit):
    plain = job(schedule="@hourly", catchup="all")
    made = make_leader(plain)
    made.decide(minute(0))
    made.decide(minute(60))
    made = edit(made, minute(60.5), replace(plain, jitter=3000.0))
    made.decide(minute(119))
    assert queued(made) == [minute(60)]
    made.decide(minute(179))
    assert queued(made) == [minute(60), minute(120)]


def test_a_dependent_that_gets_another_predecessor_with_the_same_text_is_edited(make_leader, edit):
    spread = "H H * * *"
    first, second = job("first", spread), job("second", spread)
    made = make_leader(first, second, job("z", "@after", after=["first"]))
    times = {name: made.catalog.entries[name].schedule.next_after(minute(0)) for name in ("first", "second")}
    early, late = sorted(times, key=times.get)
    made.edit(first, second, job("z", "@after", after=[early]))
    made.decide(minute(0.5))
    before_late = (times[late] - minute(0)).total_seconds() / 60 - 1
    made.decide(minute(before_late))
    assert [each.first for each in made.log("z") if each.decision in {"held", "queued"}] == [times[early]]
    # Its instant of today is past, and the other's is still to come; the next one is tomorrow's.
    made = edit(made, minute(before_late + 0.5), first, second, job("z", "@after", after=[late]))
    made.decide(minute(before_late + 2))
    assert [each.first for each in made.log("z") if each.decision in {"held", "queued"}] == [
        times[early],
        times[late],
    ]


@pytest.mark.parametrize(
    "policy", [{}, {"jitter": 30.0}, {"not_before": minute(0)}, {"not_after": minute(900)}]
)
def test_a_cursor_of_the_version_before_is_completed_silently(make_leader, policy):
    made = make_leader(job(**policy))
    made.minutes(0, 3)
    made.client.delete(KEYS.timings)  # the version before has made it
    new = make_leader(job(**policy), holder="new")
    new.lead(2)
    new.decide(minute(3.9))
    assert len(new.words()) == 4
    assert new.client.hexists(KEYS.timings, "job")
    new.minutes(4, 5)
    assert [word for word in new.words() if word != "queued"] == ["moved first seen"]


def test_an_edit_by_the_version_before_is_not_taken_for_another(make_leader):
    made = make_leader(job(jitter=30.0))
    made.minutes(0, 3)
    timing = made.client.hget(KEYS.timings, "job")
    # It moves the cursor to another schedule, and leaves the timing as it is.
    made.client.hset(KEYS.cursors, "job", f"{int(minute(5).timestamp())}|UTC|*/2 * * * *")
    new = make_leader(job(schedule="*/2 * * * *"), holder="new")
    new.lead(2)
    new.decide(minute(8))
    assert queued(new)[-2:] == [minute(6), minute(8)]
    assert "moved edited" not in new.words()
    assert new.client.hget(KEYS.timings, "job") != timing


def test_a_removed_job_leaves_no_timing_and_only_instants_of_its_life_are_removed(make_leader):
    made = make_leader(job(not_after=minute(4)), removal_seconds=0)
    made.minutes(0, 3)
    made.clock.at = minute(9)
    made.edit(settled_seconds=1)
    made.decide(minute(9))
    assert made.words()[-2:] == ["skipped removed", "dropped removed"]
    assert made.log()[-2].last == minute(4)
    assert not made.client.exists(KEYS.timings)
