from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.planning import FEW, T0, covered, named

from kuber_cron.common.runs.cursor import Cursor
from kuber_cron.scheduler.decisions.removals import Removals, plan_removal


@given(FEW, st.integers(0, 20_000), st.integers(0, 20_000))
def test_a_removal_accounts_for_every_open_instant_and_then_drops_the_cursor(schedule, until, more):
    stored = Cursor(T0, "UTC", schedule).to_text()
    removed_at = T0 + timedelta(seconds=until)
    *skips, drop = plan_removal("job", stored, removed_at, removed_at + timedelta(seconds=more))
    assert covered(skips, schedule) == named(schedule, T0, removed_at)
    assert len(skips) <= 1
    assert (drop.kind, drop.cursor) == ("drop", "")
    assert drop.believed == (skips[0].cursor if skips else stored)
    assert (drop.first, drop.last) == (removed_at, removed_at + timedelta(seconds=more))


@pytest.mark.parametrize(
    "stored", ["", "nonsense", "1772323200|Mars/Olympus|* * * * *", "1772323200|boot|@reboot"]
)
def test_a_cursor_that_says_nothing_is_only_dropped(stored):
    (drop,) = plan_removal("job", stored, T0, T0)
    assert (drop.kind, drop.believed) == ("drop", stored)


def decided(removals, settled_seconds):
    return [
        (decision.kind, decision.job)
        for decision in removals.decisions(
            lambda _: "", loaded_at=T0, settled_seconds=settled_seconds, now=T0 + timedelta(hours=1)
        )
    ]


def test_jobs_are_removed_once_when_the_files_have_settled():
    removals = Removals(60.0)
    removals.replace({"b", "a"})
    assert decided(removals, 59.9) == []
    assert removals.is_pending
    assert decided(removals, 60.0) == [("drop", "a"), ("drop", "b")]
    assert decided(removals, 60.0) == []


def test_a_drop_is_unanswered_until_its_answer_comes_or_the_term_ends():
    removals = Removals(0.0)
    removals.replace({"a", "b"})
    decided(removals, 0.0)
    removals.answered("a")
    assert removals.unanswered == {"b"}
    removals.forget()
    assert removals.unanswered == set()


def test_a_removal_that_was_not_applied_is_decided_again():
    removals = Removals(0.0)
    removals.retry("a")
    assert decided(removals, 0.0) == [("drop", "a")]
