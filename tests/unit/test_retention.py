"""Which of a job's old log files go."""

from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.worker.retention import Entry, Pruner, Retention, entries, surplus

NOW = 1_000_000.0
UNLIMITED = Retention(max_files=None, max_age_seconds=None, max_bytes=None)


def file(number, *, size=10, age=None):
    return Entry(path=Path(f"{number:03}.log"), size=size, written_at=NOW - (number if age is None else age))


files = st.lists(st.tuples(st.integers(0, 100), st.floats(0, 100)), max_size=12).map(
    lambda pairs: [file(number, size=size, age=age) for number, (size, age) in enumerate(pairs)]
)
retentions = st.builds(
    Retention,
    max_files=st.none() | st.integers(0, 12),
    max_age_seconds=st.none() | st.floats(0, 100),
    max_bytes=st.none() | st.integers(0, 500),
)


def test_the_oldest_over_the_count_go_oldest_first():
    found = surplus([file(1), file(4), file(2), file(3)], Retention(max_files=2), now=NOW)
    assert [entry.path.name for entry in found] == ["004.log", "003.log"]


def test_what_is_too_old_goes():
    old = Retention(max_files=None, max_bytes=None, max_age_seconds=60)
    assert surplus([file(1), file(59), file(61)], old, now=NOW) == [file(61)]


def test_what_does_not_fit_goes_and_all_that_is_older():
    quota = Retention(max_files=None, max_age_seconds=None, max_bytes=25)
    assert surplus([file(1), file(2, size=100), file(3, size=1)], quota, now=NOW) == [
        file(3, size=1),
        file(2, size=100),
    ]


def test_a_file_in_use_stays():
    assert surplus([file(1), file(9)], Retention(max_files=1), now=NOW, in_use={file(9).path}) == []


@given(found=files)
def test_without_a_quota_nothing_goes(found):
    assert surplus(found, UNLIMITED, now=NOW) == []


@given(found=files, retention=retentions)
def test_the_newest_stays_and_what_stays_is_within_the_quota(found, retention):
    gone = surplus(found, retention, now=NOW)
    kept = [entry for entry in found if entry not in gone]
    assert bool(kept) == bool(found)
    if len(kept) > 1:
        assert retention.max_files is None or len(kept) <= retention.max_files
        assert retention.max_bytes is None or sum(entry.size for entry in kept) <= retention.max_bytes
        assert all(
            retention.max_age_seconds is None or NOW - entry.written_at <= retention.max_age_seconds
            for entry in kept
        )


@given(found=files, retention=retentions)
def test_pruning_twice_is_pruning_once(found, retention):
    gone = surplus(found, retention, now=NOW)
    assert surplus([entry for entry in found if entry not in gone], retention, now=NOW) == []


class Now:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def elapsed(self) -> float:
        return 0.0


def test_a_directory_stays_within_its_quota_and_a_tenth_and_foreign_files_stay(tmp_path):
    pruner = Pruner(Retention(max_files=20), Now())
    (tmp_path / "notes.txt").touch()
    for number in range(100):
        path = tmp_path / f"{number:03}.log"
        path.touch()
        pruner.ended(path)
        assert len(entries(tmp_path)) <= 23
    assert (tmp_path / "099.log").exists()
    assert (tmp_path / "notes.txt").exists()


def test_a_directory_that_is_gone_is_no_error(tmp_path):
    assert Pruner(Retention(), Now()).ended(tmp_path / "none" / "a.log") == 0
