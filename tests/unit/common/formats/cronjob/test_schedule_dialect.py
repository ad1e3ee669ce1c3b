"""Kubernetes' schedules and ours name the same times.

``tests/vectors/kubernetes_schedules.jsonl`` holds what robfig/cron 3.0.1 itself, the parser of Kubernetes, says of each
schedule: its error, or the five runs after 2026-01-01 00:00 UTC.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.formats.cronjob import schedule_dialect
from kuber_cron.common.jobs.job import Job
from kuber_cron.common.schedule import Schedule, ScheduleError

VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parents[4] / "vectors" / "kubernetes_schedules.jsonl")
    .read_text()
    .splitlines()
]
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
# What Kubernetes refuses and no manifest that ever ran can hold: Sunday as 7, and what is ours alone.
OURS = {"* * * * 7", "0 0 L * *", "0 0 * * 5#2", "H * * * *"}


def runs(text, timezone="UTC", count=5):
    schedule, found, at = Schedule.parse(text, timezone, "backup"), [], NEW_YEAR
    while len(found) < count and (following := schedule.next_after(at)) is not None:
        found.append(at := following)
    return found


def job(schedule):
    return Job(id="backup", schedule=schedule, command="make")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["schedule"])
def test_a_schedule_of_kubernetes_means_the_same_here(vector):
    text = vector["schedule"]
    if "error" in vector:
        if text not in OURS:
            with pytest.raises(ScheduleError):
                Schedule.parse(schedule_dialect.read(text).schedule)
        return
    read = schedule_dialect.read(text)
    expected = [datetime.fromisoformat(at) for at in vector.get("next", [])]
    found = runs(read.schedule, read.timezone or "UTC")
    if text.startswith(
        "@every"
    ):  # theirs count from the last run, ours from the epoch: the rhythm is the same
        assert found[1] - found[0] == expected[1] - expected[0]
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("0 0 */2 * 1", "0 0 1-31/2 * 1"),
        ("0 0 1 * */2", "0 0 1 * 0-6/2"),
        ("0 0 */2 * *", "0 0 */2 * *"),
        ("0 0 5,* * 1", "0 0 * * 1"),
        ("?/15 ? ? * ?", "*/15 * ? * ?"),
        (" 0  0 1 * * ", "0 0 1 * *"),
        ("@every 1.5h", "@every 1h30m"),
        ("@every 90m", "@every 1h30m"),
        ("@every 200ms", "@every 1s"),
    ],
)
def test_what_is_written_in_another_way_is_written_so(text, read):
    assert schedule_dialect.read(text).schedule == read


@pytest.mark.parametrize(
    "schedule", ["@reboot", "@after", "0 0 L * *", "0 0 * * 5#2", "0 0 */2 * 1", "0 0 1 * */2"]
)
def test_what_kubernetes_cannot_say_is_nothing(schedule):
    assert schedule_dialect.written(job(schedule)) is None


ITEMS = {
    2: ["*", "*/2", "*/1", "1", "1-31", "5,10-20/3", "31", "7/9", "H", "10~20", "*,5", "5,*", "?"],
    4: ["*", "*/2", "0", "7", "mon-fri", "sun", "5-7", "0-6", "1,3", "fri-sun", "H(1-5)", "2/2", "?", "*,1"],
}


@given(
    minute=st.sampled_from(["0", "*/20", "5-50/15", "1,2", "H"]),
    hour=st.sampled_from(["*", "0", "*/6", "9-17", "H(0-3)"]),
    day=st.sampled_from(ITEMS[2]),
    month=st.sampled_from(["*", "jan-mar", "*/5", "2"]),
    weekday=st.sampled_from(ITEMS[4]),
)
def test_a_schedule_that_kubernetes_can_say_is_read_back_as_the_same_times(minute, hour, day, month, weekday):
    text = f"{minute} {hour} {day} {month} {weekday}"
    written = schedule_dialect.written(job(text))
    if written is None:
        # Nothing is given up that could be said: both day fields restrict, and both must match.
        assert day.startswith("*") or weekday.startswith("*")
        assert "*" not in {day, weekday}
        return
    assert not set(written) & set("H~LW#")
    assert "7" not in written.split()[4]
    assert runs(schedule_dialect.read(written).schedule) == runs(text)
