"""The catalog follows its files by content, and a broken file never replaces the last good jobs."""

import pytest
from tests.support.waiting import eventually

from kuber_cron.common.clock import SystemClock
from kuber_cron.common.formats import loader
from kuber_cron.scheduler.decisions.catalog import CatalogWatcher

GOOD = "# kuber-cron: name=a\n* * * * * true\n"


@pytest.fixture
def watched(tmp_path):
    path = tmp_path / "crontab"
    path.write_text(GOOD)
    changes = []
    watcher = CatalogWatcher([tmp_path], clock=SystemClock(), on_change=lambda: changes.append(1))
    watcher.load()
    watcher.start()
    yield path, watcher, changes
    watcher.stop()


def test_an_edit_is_taken_over_by_its_content(watched):
    path, watcher, changes = watched
    path.write_text(GOOD + "# kuber-cron: name=b\n* * * * * true\n")
    eventually(lambda: list(watcher.current.entries) == ["a", "b"])
    eventually(lambda: changes)


def test_a_broken_file_leaves_the_last_good_jobs_and_says_so(watched):
    path, watcher, changes = watched
    path.write_text("# kuber-cron: name=b\n61 * * * * true\n")
    eventually(lambda: not watcher.current.valid)
    assert list(watcher.current.entries) == ["a"]
    assert changes == []
    path.write_text(GOOD)
    eventually(lambda: watcher.current.valid)


def test_a_file_that_vanishes_leaves_the_last_good_jobs(tmp_path):
    path = tmp_path / "crontab"
    path.write_text(GOOD)
    watcher = CatalogWatcher([path], clock=SystemClock())
    watcher.load()
    watcher.start()
    path.unlink()
    try:
        eventually(lambda: not watcher.current.valid)
        assert list(watcher.current.entries) == ["a"]
    finally:
        watcher.stop()


def test_the_good_jobs_of_a_file_that_is_broken_from_the_start_run(tmp_path):
    path = tmp_path / "crontab"
    path.write_text("61 * * * * true\n" + GOOD)
    watcher = CatalogWatcher([path], clock=SystemClock())
    assert list(watcher.load().entries) == ["a"]
    assert not watcher.current.valid


def test_the_swap_of_a_config_map_is_a_change(tmp_path):
    for version, text in (("..1", GOOD), ("..2", GOOD + "@daily true\n")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "crontab").write_text(text)
    data = tmp_path / "..data"
    data.symlink_to("..1")
    (tmp_path / "crontab").symlink_to("..data/crontab")
    before = loader.fingerprint([tmp_path])
    assert loader.load([tmp_path]).files == [str(tmp_path / "crontab")]
    data.unlink()
    data.symlink_to("..2")
    assert loader.fingerprint([tmp_path]) != before


def test_a_load_that_failed_is_tried_again_though_the_files_are_as_they_were(tmp_path, monkeypatch):
    class Clock(SystemClock):
        ahead = 0.0

        def elapsed(self):
            return super().elapsed() + self.ahead

    clock, changes = Clock(), []
    path = tmp_path / "crontab"
    path.write_text(GOOD)
    watcher = CatalogWatcher([path], clock=clock, on_change=lambda: changes.append(1))
    watcher.load()
    path.write_text(GOOD + "@daily true\n")
    with monkeypatch.context() as patch:
        patch.setattr(loader, "load", lambda *_, **__: 1 / 0)
        watcher.reload_if_changed()
    assert (len(watcher.current.entries), watcher.current.valid) == (1, False)
    watcher.reload_if_changed()
    assert not watcher.current.valid
    clock.ahead = 61.0
    watcher.reload_if_changed()
    assert (len(watcher.current.entries), watcher.current.valid) == (2, True)
    assert changes == [1]


def test_a_missing_path_is_named_with_the_remedy(tmp_path):
    with pytest.raises(loader.SourceError, match="does not exist") as caught:
        loader.load([tmp_path / "nothing"])
    assert caught.value.hint


def test_what_is_remembered_of_files_is_what_they_hold(tmp_path):
    def told(**settings):
        loaded = loader.load([tmp_path], **settings)
        return loaded.jobs, loaded.diagnostics, loader.fingerprint([tmp_path], settings.get("cache"))

    memory, prints = loader.FileCache(), set()
    (tmp_path / "a").write_text(GOOD)
    steps = [
        lambda: (tmp_path / "b").write_text("# kuber-cron: name=b after=a\n@after true\n"),
        lambda: (tmp_path / "b").write_text("@daily true\n"),
        lambda: (tmp_path / "b").write_text("@never true\n"),
        lambda: (tmp_path / "c").write_text("# kuber-cron: name=c after=gone\n@after true\n"),
        (tmp_path / "b").unlink,
        lambda: (tmp_path / "a").rename(tmp_path / "d"),
        lambda: (tmp_path / "c").write_text("# kuber-cron: name=c\n@hourly true\n"),
    ]
    for step in steps:
        step()
        for _ in range(5):  # long enough that contents are believed by their times
            jobs, diagnostics, found = told(cache=memory)
            assert (jobs, diagnostics) == told()[:2]
        prints.add(found)
    assert len(prints) == len(steps)


def test_unchanged_files_are_not_read_again_and_a_change_of_the_same_length_is_seen(tmp_path, monkeypatch):
    path, memory, read = tmp_path / "crontab", loader.FileCache(), []
    path.write_text(GOOD)
    content = loader._content
    monkeypatch.setattr(loader, "_content", lambda each: read.append(each) or content(each))
    prints = {loader.fingerprint([path], memory) for _ in range(10)}
    assert (len(prints), len(read)) == (1, 3)
    path.write_text(GOOD.replace("true", "else"))
    assert loader.fingerprint([path], memory) not in prints
    assert len(read) == 4
