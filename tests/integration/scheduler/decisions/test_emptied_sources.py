"""Directories that are empty all of a sudden: the last good jobs stay, no cursor is dropped, and it is said."""

import pytest

from kuber_cron.common.clock import SystemClock
from kuber_cron.scheduler.decisions.catalog import CatalogWatcher

ONE = "# kuber-cron: name=a\n* * * * * true\n"
MANY = "".join(f"# kuber-cron: name=job-{number}\n* * * * * true\n" for number in range(12))


class SteppedClock(SystemClock):
    ahead = 0.0

    def elapsed(self):
        return super().elapsed() + self.ahead


@pytest.fixture
def clock():
    return SteppedClock()


@pytest.fixture
def watch(tmp_path, clock):
    def make(*sources, empty_seconds=3600.0):
        watcher = CatalogWatcher(sources or [tmp_path], clock=clock, empty_seconds=empty_seconds)
        watcher.load()
        return watcher

    return make


def settles(watcher, clock):
    """The files are left alone for as long as removals take."""
    watcher.reload_if_changed()
    clock.ahead += 200.0
    watcher.reload_if_changed()
    clock.ahead += 200.0
    return watcher.settled_seconds() >= 180.0


def problems(watcher):
    return [each.message for each in watcher.current.diagnostics if each.severity == "error"]


@pytest.mark.parametrize("text", [ONE, MANY])
def test_a_directory_that_is_empty_all_of_a_sudden_leaves_the_last_good_jobs(tmp_path, watch, clock, text):
    (tmp_path / "jobs").write_text(text)
    watcher = watch()
    before = list(watcher.current.entries)
    (tmp_path / "jobs").unlink()
    assert not settles(watcher, clock)
    assert list(watcher.current.entries) == before
    assert not watcher.current.valid
    assert problems(watcher) == [
        f"{tmp_path} holds nothing any more: the last good {len(before)} jobs stay for 3600 s"
    ]


def test_a_file_that_was_cut_to_nothing_leaves_the_last_good_jobs(tmp_path, watch, clock):
    path = tmp_path / "crontab"
    path.write_text(ONE)
    watcher = watch(path)
    path.write_text("")
    assert not settles(watcher, clock)
    assert list(watcher.current.entries) == ["a"]


def test_the_return_of_the_files_ends_the_doubt(tmp_path, watch, clock):
    (tmp_path / "jobs").write_text(ONE)
    watcher = watch()
    (tmp_path / "jobs").unlink()
    assert not settles(watcher, clock)
    (tmp_path / "jobs").write_text(ONE + "# kuber-cron: name=b\n* * * * * true\n")
    assert settles(watcher, clock)
    assert (list(watcher.current.entries), watcher.current.valid) == (["a", "b"], True)


def test_after_the_time_of_the_setting_the_empty_directory_is_believed(tmp_path, watch, clock):
    (tmp_path / "jobs").write_text(ONE)
    watcher = watch(empty_seconds=1000.0)
    (tmp_path / "jobs").unlink()
    assert not settles(watcher, clock)
    clock.ahead += 601.0
    assert settles(watcher, clock)
    assert (list(watcher.current.entries), watcher.current.valid) == ([], True)


def test_a_setting_of_nothing_believes_an_empty_directory_at_once(tmp_path, watch, clock):
    (tmp_path / "jobs").write_text(MANY)
    watcher = watch(empty_seconds=0.0)
    (tmp_path / "jobs").unlink()
    assert settles(watcher, clock)
    assert list(watcher.current.entries) == []


@pytest.mark.parametrize("text", [ONE, MANY])
def test_a_marker_says_that_it_is_meant(tmp_path, watch, clock, text):
    (tmp_path / "jobs").write_text(text)
    watcher = watch()
    (tmp_path / "jobs").unlink()
    (tmp_path / ".no-jobs").touch()
    assert settles(watcher, clock)
    assert (list(watcher.current.entries), watcher.current.valid) == ([], True)


def test_a_marker_that_comes_later_is_noticed_within_a_minute(tmp_path, watch, clock):
    (tmp_path / "jobs").write_text(ONE)
    watcher = watch()
    (tmp_path / "jobs").unlink()
    watcher.reload_if_changed()
    (tmp_path / ".no-jobs").touch()
    clock.ahead += 61.0
    watcher.reload_if_changed()
    assert (list(watcher.current.entries), watcher.current.valid) == ([], True)


def test_a_file_that_holds_a_comment_and_no_job_is_believed(tmp_path, watch, clock):
    path = tmp_path / "crontab"
    path.write_text(ONE)
    watcher = watch(path)
    path.write_text("# nothing for now\n")
    assert settles(watcher, clock)
    assert (list(watcher.current.entries), watcher.current.valid) == ([], True)


def test_many_jobs_that_are_none_are_doubted_though_the_file_is_there(tmp_path, watch, clock):
    path = tmp_path / "crontab"
    path.write_text(MANY)
    watcher = watch(path)
    path.write_text("# a template that was given no values\n")
    assert not settles(watcher, clock)
    assert len(watcher.current.entries) == 12
    assert problems(watcher) == [
        "of 12 jobs the files hold none any more: the last good 12 jobs stay for 3600 s"
    ]


def test_one_mount_of_two_that_vanishes_is_doubted_too(tmp_path, watch, clock):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "jobs").write_text(ONE.replace("name=a", f"name={name}"))
    watcher = watch(tmp_path / "one", tmp_path / "two")
    (tmp_path / "two" / "jobs").unlink()
    assert not settles(watcher, clock)
    assert list(watcher.current.entries) == ["one", "two"]


def test_one_file_of_several_may_go(tmp_path, watch, clock):
    (tmp_path / "one").write_text(ONE)
    (tmp_path / "two").write_text(MANY)
    watcher = watch()
    (tmp_path / "two").unlink()
    assert settles(watcher, clock)
    assert list(watcher.current.entries) == ["a"]


def test_who_starts_with_an_empty_directory_forgets_no_job_for_the_time_of_the_setting(
    tmp_path, watch, clock
):
    watcher = watch()
    assert watcher.current.valid  # a new installation has no jobs yet
    assert not settles(watcher, clock)
    clock.ahead += 3600.0
    assert settles(watcher, clock)


def test_who_starts_with_one_mount_of_two_takes_edits_and_forgets_no_job(tmp_path, watch, clock):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "jobs").write_text(ONE)
    watcher = watch(tmp_path / "one", tmp_path / "two")
    (tmp_path / "one" / "jobs").write_text(ONE.replace("name=a", "name=b"))
    assert not settles(watcher, clock)
    assert list(watcher.current.entries) == ["b"]
    (tmp_path / "two" / "jobs").write_text(ONE)
    assert settles(watcher, clock)
    assert list(watcher.current.entries) == ["b", "a"]


def test_a_new_installation_whose_first_jobs_come_later_forgets_jobs_as_ever(tmp_path, watch, clock):
    watcher = watch()
    (tmp_path / "jobs").write_text(ONE)
    assert settles(watcher, clock)
