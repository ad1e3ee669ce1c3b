"""Which of a job's old log files go."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from kuber_cron.common.runs.log_path import log_path
from kuber_cron.worker.metrics import WorkerMetrics
from kuber_cron.worker.output.capture import Captured
from kuber_cron.worker.output.log_file import LogFile
from kuber_cron.worker.output.log_retention import (
    LogFileEntry,
    LogRetention,
    Pruner,
    Trimmer,
    entries,
    surplus,
)

NOW = 1_000_000.0
UNLIMITED = LogRetention(max_files=None, max_age_seconds=None, max_bytes=None)


def file(number, *, size=10, age=None):
    return LogFileEntry(
        directory=Path(),
        name=f"{number:03}.log",
        size=size,
        written_at=NOW - (number if age is None else age),
    )


files = st.lists(st.tuples(st.integers(0, 100), st.floats(0, 100)), max_size=12).map(
    lambda pairs: [file(number, size=size, age=age) for number, (size, age) in enumerate(pairs)]
)
retentions = st.builds(
    LogRetention,
    max_files=st.none() | st.integers(0, 12),
    max_age_seconds=st.none() | st.floats(0, 100),
    max_bytes=st.none() | st.integers(0, 500),
)


def test_the_oldest_over_the_count_go_oldest_first():
    found = surplus([file(1), file(4), file(2), file(3)], LogRetention(max_files=2), now=NOW)
    assert [entry.path.name for entry in found] == ["004.log", "003.log"]


def test_what_is_too_old_goes():
    old = LogRetention(max_files=None, max_bytes=None, max_age_seconds=60)
    assert surplus([file(1), file(59), file(61)], old, now=NOW) == [file(61)]


def test_what_does_not_fit_goes_and_all_that_is_older():
    quota = LogRetention(max_files=None, max_age_seconds=None, max_bytes=25)
    assert surplus([file(1), file(2, size=100), file(3, size=1)], quota, now=NOW) == [
        file(3, size=1),
        file(2, size=100),
    ]


def test_a_file_in_use_stays():
    assert surplus([file(1), file(9)], LogRetention(max_files=1), now=NOW, in_use={file(9).path}) == []


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
    elapsed_seconds = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def elapsed(self) -> float:
        return self.elapsed_seconds


def named(directory, number, *, size=0, age=0.0):
    path = directory / f"20260101T{number:06}Z-1.log"
    path.write_bytes(b"x" * size)
    written_at = time.time() - age
    os.utime(path, (written_at, written_at))
    return path


def test_a_directory_stays_within_its_quota_and_a_tenth(tmp_path):
    pruner = Pruner(LogRetention(max_files=20), Now())
    for number in range(100):
        path = named(tmp_path, number, age=100 - number)
        pruner.ended(path)
        assert len(entries(tmp_path)) <= 22
    assert path.exists()


def test_large_files_are_noticed_before_there_are_many(tmp_path):
    pruner = Pruner(LogRetention(max_bytes=10_000), Now())
    for number in range(30):
        pruner.ended(named(tmp_path, number, size=2_000, age=100 - number), size=2_000)
        assert sum(entry.size for entry in entries(tmp_path)) <= 10_000


def test_a_job_that_runs_rarely_has_its_old_files_looked_at_all_the_same(tmp_path):
    clock = Now()
    pruner = Pruner(LogRetention(max_age_seconds=60), clock)
    old = named(tmp_path, 1)
    assert pruner.ended(old) == []
    os.utime(old, (0, 0))
    assert pruner.ended(named(tmp_path, 2)) == []
    clock.elapsed_seconds = 3601.0
    assert [entry.path for entry in pruner.ended(named(tmp_path, 3))] == [old]


@pytest.mark.parametrize(
    "name", ["access.log", "notes.txt", "20260101.log", "main-1.log", "20260101T000000Z-1.log.gz"]
)
def test_a_file_that_is_not_named_as_ours_stays(tmp_path, name):
    foreign = tmp_path / name
    foreign.touch()
    os.utime(foreign, (0, 0))
    named(tmp_path, 1)
    assert Pruner(LogRetention(max_files=1), Now()).prune(tmp_path) == []
    assert foreign.exists()


@pytest.mark.parametrize("run", ["a-20260101T000000Z", "a-20260101T000000Z-m0a1b2c3d", "a-m0a1b2c3d"])
def test_every_log_file_that_is_made_is_one_that_can_go(tmp_path, run):
    path = tmp_path / log_path(job="a", run=run, attempt=12)
    LogFile(path, 100).close()
    assert [entry.path for entry in entries(path.parent)] == [path]


def test_a_directory_that_is_gone_is_no_error(tmp_path):
    assert Pruner(LogRetention(), Now()).ended(tmp_path / "none" / "a.log") == []


def trimmer(retention, log_dir, clock, in_use=()):
    metrics = WorkerMetrics(CollectorRegistry(), slots=1, alone=False)
    return Trimmer(retention, log_dir, clock=clock, metrics=metrics, in_use=lambda: in_use), metrics


def test_jobs_that_do_not_run_any_more_lose_their_old_files_but_the_newest_and_those_in_use(tmp_path):
    clock = Now()
    for job in ("gone", "busy"):
        (tmp_path / job).mkdir()
        for number in (1, 2, 3):
            named(tmp_path / job, number, age=90 * 86400 - number)
    written = tmp_path / "busy" / "20260101T000001Z-1.log"
    subject, metrics = trimmer(LogRetention(), tmp_path, clock, in_use={written})
    clock.elapsed_seconds = 61.0
    subject._sweep_at = 0.0
    for _ in range(3):
        subject._go_on_sweeping()
    assert [entry.path.name for entry in entries(tmp_path / "gone")] == ["20260101T000003Z-1.log"]
    assert written.exists()
    assert metrics.log_trimmed._value.get() == 3
    assert subject._wait_seconds() > 80_000


def test_what_is_missing_is_counted_by_who_is_to_blame(tmp_path):
    subject, metrics = trimmer(LogRetention(), tmp_path, Now())
    subject.start()
    subject.ended(Captured(total_bytes=100, dropped_bytes=70, refused_bytes=20))
    subject.ended(Captured())
    subject.finish(10)
    assert metrics.log_dropped.labels("limit")._value.get() == 50
    assert metrics.log_dropped.labels("disk")._value.get() == 20
    assert metrics.log_dropped.labels("reader")._value.get() == 0


def test_an_error_of_ours_ends_nothing(tmp_path):
    subject, metrics = trimmer(LogRetention(), tmp_path, Now(), in_use=None)
    subject._in_use = lambda: 1 / 0
    subject.start()
    subject.ended(Captured(log_path=tmp_path / "a" / "b.log"))
    subject.ended(Captured(total_bytes=1, dropped_bytes=1))
    subject.finish(10)
    assert metrics.errors._value.get() == 1
    assert metrics.log_dropped.labels("limit")._value.get() == 1
