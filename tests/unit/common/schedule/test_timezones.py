"""Zones: the jumps that are found against those that the tz database lists, and which names there are."""

import struct
from datetime import UTC, datetime, timedelta
from importlib import resources
from itertools import pairwise
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.schedule import ScheduleError, timezones

START, END = datetime(1880, 1, 1, tzinfo=UTC), datetime(2037, 1, 1, tzinfo=UTC)


def zone_file(name):
    """The file that zoneinfo reads for the name."""
    found = [Path(folder, name) for folder in TZPATH if Path(folder, name).is_file()]
    return (
        found[0] if found else resources.files("tzdata").joinpath("zoneinfo", *name.split("/"))
    ).read_bytes()


def listed_jumps(name):
    """(instant, offset before, offset after) of each change in the zone's file, read by RFC 9636 alone."""
    data = zone_file(name)

    def header(at):
        return struct.unpack(">4xc15x6l", data[at : at + 44])

    _, isut, isstd, leaps, times, kinds, letters = header(0)
    at = 44 + times * 5 + kinds * 6 + letters + leaps * 8 + isstd + isut
    _, isut, isstd, leaps, times, kinds, letters = header(at)
    at += 44
    instants = struct.unpack(f">{times}q", data[at : at + 8 * times])
    indices = data[at + 8 * times : at + 9 * times]
    offsets = [
        struct.unpack(">lbb", data[at + 9 * times + 6 * n : at + 9 * times + 6 * n + 6])[0]
        for n in range(kinds)
    ]
    jumps = []
    before = offsets[0]
    for instant, index in zip(instants, indices, strict=True):
        if offsets[index] != before:
            jumps.append((instant, before, offsets[index]))
        before = offsets[index]
    return jumps


def test_no_zone_of_the_database_jumps_twice_within_the_time_between_samples():
    """What the search for jumps stands on; a release that breaks it fails here."""
    closest = min(
        later[0] - earlier[0]
        for name in timezones.names()
        for jumps in [listed_jumps(name)]
        for earlier, later in pairwise(jumps)
    )
    assert closest > timezones._SAMPLE_SECONDS


@pytest.mark.parametrize(
    "name",
    [
        *("Europe/Berlin", "Europe/Dublin", "America/New_York", "America/Boa_Vista", "Africa/Casablanca"),
        *("Asia/Gaza", "Asia/Manila", "Australia/Lord_Howe", "Antarctica/Casey", "Africa/Monrovia"),
        *("Pacific/Apia", "Pacific/Kwajalein", "UTC", "Etc/GMT-2"),
    ],
)
def test_the_jumps_of_a_zone_are_those_that_the_database_lists(name):
    first, last = START.timestamp(), END.timestamp()
    listed = [jump for jump in listed_jumps(name) if first <= jump[0] < last]
    assert [tuple(jump) for jump in timezones.find(name).jumps(START, END)] == listed


@given(
    name=st.sampled_from(timezones.names()),
    instant=st.datetimes(
        min_value=datetime(1800, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
        max_value=datetime(2500, 1, 1),  # noqa: DTZ001 - the same
        timezones=st.just(UTC),
    ),
)
def test_the_offset_at_any_instant_is_zoneinfos(name, instant):
    offset = instant.astimezone(ZoneInfo(name)).utcoffset()
    assert timezones.find(name).span(timezones.seconds_since_epoch(instant)).offset == offset.total_seconds()


@given(
    name=st.sampled_from(timezones.names()),
    instant=st.integers(timezones.FIRST_INSTANT, timezones.LAST_INSTANT),
)
def test_spans_meet_and_hold_the_instant_they_are_asked_for(name, instant):
    zone = timezones.find(name)
    span = zone.span(instant)
    assert span.start <= instant < span.end
    following = zone.span(span.end)
    assert following.start <= span.end
    # At the border of a block the same stretch may go on, begun by a jump before it.
    assert following.before == span.offset if following.start == span.end else following.offset == span.offset
    assert zone.span(span.end - 1).offset == span.offset


def test_jumps_are_those_from_the_start_and_before_the_end():
    berlin = timezones.find("Europe/Berlin")
    spring = datetime(2026, 3, 29, 1, tzinfo=UTC)
    second = timedelta(seconds=1)
    assert [jump.at for jump in berlin.jumps(spring, spring + second)] == [spring]
    assert berlin.jumps(spring - second, spring) == []
    assert berlin.jumps(spring + second, spring + 2 * second) == []


def test_a_jump_tells_its_local_times_and_its_kind():
    gap, fold = timezones.find("Europe/Berlin").jumps(
        datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    )
    assert gap.is_gap
    assert not fold.is_gap
    assert not gap.is_correction
    assert [local.isoformat() for local in gap.local_range] == ["2026-03-29T02:00:00", "2026-03-29T03:00:00"]
    assert [local.isoformat() for local in fold.local_range] == ["2026-10-25T02:00:00", "2026-10-25T03:00:00"]
    (dateline,) = timezones.find("Pacific/Apia").jumps(
        datetime(2011, 12, 1, tzinfo=UTC), datetime(2012, 1, 31, tzinfo=UTC)
    )
    assert dateline.is_correction


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berln", "did you mean 'Europe/Berlin'?"),
        ("europe/berlin", "did you mean 'Europe/Berlin'?"),
        ("Berlin", "did you mean 'Europe/Berlin'?"),
        ("America/New York", "did you mean 'America/New_York'?"),
        ("UTC+2", "did you mean 'Etc/GMT-2'?"),
        ("GMT-5", "did you mean 'Etc/GMT+5'?"),
        ("+02:00", "did you mean 'Etc/GMT-2'?"),
        ("UTC+0", "did you mean 'Etc/UTC'?"),
        (
            "UTC+5:30",
            "name the place, such as 'Asia/Kolkata': no zone stands for a fixed offset with minutes",
        ),
        ("CEST", "use an IANA name, such as 'Europe/Berlin' or 'UTC'"),
    ],
)
def test_an_unknown_zone_is_refused_with_what_was_meant(name, hint):
    with pytest.raises(ScheduleError) as caught:
        timezones.find(name)
    error = caught.value
    assert (error.about, error.code, error.hint) == ("timezone", "KC204", hint)
    assert error.message == f"unknown time zone {name!r}"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            " ",
            ".",
            "..",
            "../x",
            "/etc/localtime",
            "Europe",
            "Europe/",
            "a/../UTC",
            "\0",
            "UTC\0",
            "UTC ",
        ),
        *("posixrules", "localtime", "right/UTC", "posix/UTC", "zone.tab", "tzdata.zi", "leapseconds"),
        *("x" * 5000, "\ud800", "Foo/\udcff", "é", "C:/x", "__init__.py", "Europe/__init__.py"),
    ],
)
def test_what_is_no_iana_name_is_no_zone(name):
    with pytest.raises(ScheduleError):
        timezones.find(name)


def test_every_name_of_the_database_is_a_zone():
    assert all(timezones.find(name).name == name for name in timezones.names())


def test_zones_stay_while_the_database_does():
    berlin = timezones.find("Europe/Berlin")
    timezones.refresh()
    assert timezones.find("Europe/Berlin") is berlin
    assert timezones.is_current(berlin)


@pytest.fixture
def database(tmp_path, monkeypatch):
    """A tz database of the machine that goes before the package's."""
    (tmp_path / "Europe").mkdir()
    monkeypatch.setattr(timezones, "TZPATH", (str(tmp_path),))
    yield tmp_path
    monkeypatch.undo()
    timezones.refresh()


def release(database, like):
    content = resources.files("tzdata").joinpath("zoneinfo", *like.split("/")).read_bytes()
    (database / "Europe" / "Berlin").write_bytes(content)


def test_a_new_release_is_read_at_the_next_refresh(database):
    winter = datetime(2026, 1, 15, tzinfo=UTC)
    before, other = timezones.find("Europe/Berlin"), timezones.find("Asia/Tokyo")
    release(database, "Europe/Athens")
    assert timezones.find("Europe/Berlin") is before
    timezones.refresh()
    after = timezones.find("Europe/Berlin")
    assert not timezones.is_current(before)
    assert timezones.is_current(after)
    at = timezones.seconds_since_epoch(winter)
    assert (before.span(at).offset, after.span(at).offset) == (3600, 7200)
    assert timezones.find("Asia/Tokyo").span(at) == other.span(at)


def test_a_new_release_may_name_new_zones_and_lose_others(database):
    with pytest.raises(ScheduleError):
        timezones.find("Europe/Atlantis")
    release(database, "Europe/Athens")
    (database / "Europe" / "Berlin").rename(database / "Europe" / "Atlantis")
    timezones.refresh()
    lost = timezones.find("Europe/Atlantis")
    (database / "Europe" / "Atlantis").unlink()
    timezones.refresh()
    assert not timezones.is_current(lost)
    with pytest.raises(ScheduleError):
        timezones.find("Europe/Atlantis")
