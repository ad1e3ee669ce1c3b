"""Time zones: which names exist, and where a zone's clocks jump.

A zone is cut into spans of one UTC offset each, found by asking zoneinfo every two days and bisecting
wherever two answers differ. That finds every jump as long as no zone jumps twice within two days; the closest
pair in the tz database is four days apart (Freetown, September 1939), and a test holds that against each
release. Spans are cut at the borders of blocks of about a year too, so that a zone costs only the years
that somebody asks about. All is kept until the machine has a new release of the tz database and ``refresh`` sees it.

Instants are whole seconds since the Unix epoch; wall times are the same count read off a local clock.
"""

import re
from bisect import bisect_right
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import NamedTuple
from zoneinfo import TZPATH, ZoneInfo

from kuber_cron.common import suggestions
from kuber_cron.common.schedule.errors import ScheduleError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - carries a zone's own tzinfo before it is used
# Divided, for total_seconds() is a float and rounds the last microsecond of 9999 up into the year 10000.
FIRST_INSTANT = (datetime.min.replace(tzinfo=UTC) - EPOCH) // timedelta(seconds=1)
LAST_INSTANT = (datetime.max.replace(tzinfo=UTC) - EPOCH) // timedelta(seconds=1)

CORRECTION_SECONDS = 3 * 3600
"""Jumps of at least this much forwards, or of more than this backwards, correct the clock (cron.md §1, rule 6)."""

LONGEST_JUMP_SECONDS = 2 * 86_400
"""More than any clock was ever moved by: a day, over the date line."""

_DAY = 86_400
_SAMPLE_SECONDS = 2 * _DAY
_BLOCK_SECONDS = 194 * _SAMPLE_SECONDS  # a little more than a year
# zoneinfo cannot convert instants whose local time leaves datetime's range; no zone is more than a day off.
_FIRST_ASKED = FIRST_INSTANT + 2 * _DAY
_LAST_ASKED = LAST_INSTANT - 2 * _DAY

# Files of a zoneinfo folder that load, and are no IANA names.
_NOT_ZONES = frozenset({"localtime", "posixrules"})
_NOT_FOLDERS = ("right/", "posix/")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,30}(?:/[A-Za-z0-9_+-]{1,30}){0,3}")
_FIXED_OFFSET = re.compile(r"(?:UTC|GMT|Z)? ?([+-])([0-9]{1,2})(?::?00)?", re.IGNORECASE)
_ABBREVIATION = re.compile(r"[A-Z]{3,5}")
_WHAT_A_ZONE_IS = "use an IANA name, such as 'Europe/Berlin' or 'UTC'"
_FIXED_MINUTES = re.compile(r"(?:UTC|GMT|Z)? ?[+-][0-9]{1,2}:?[0-9]{2}", re.IGNORECASE)


class Jump(NamedTuple):
    """An instant at which a zone's clocks are set from one offset to another."""

    at_epoch: int
    """The first instant with the new offset, in seconds since the Unix epoch."""
    before: int
    """Seconds east of UTC until then."""
    after: int
    """Seconds east of UTC from then on."""

    @property
    def at(self) -> datetime:
        """The first instant with the new offset, aware UTC."""
        return EPOCH + timedelta(seconds=self.at_epoch)

    @property
    def is_gap(self) -> bool:
        """True if local times are skipped; else they are repeated."""
        return self.after > self.before

    @property
    def is_correction(self) -> bool:
        """True if it is too long for skipped times to be made up for, or repeated ones left out (rule 6)."""
        size = self.after - self.before
        return size >= CORRECTION_SECONDS or size < -CORRECTION_SECONDS

    @property
    def local_range(self) -> tuple[datetime, datetime]:
        """The skipped or repeated local times, naive, the second excluded."""
        low, high = sorted((self.before, self.after))
        start = self.at.replace(tzinfo=None)
        return start + timedelta(seconds=low), start + timedelta(seconds=high)


class Span(NamedTuple):
    """A stretch of one offset. ``before`` is the offset before it: the same where only a block begins."""

    start: int
    end: int
    before: int
    offset: int
    unrepeated_from: int
    """The first instant whose wall time is not a repetition that fixed jobs leave out (rules 4 and 6)."""


class Zone:
    """An IANA time zone as a row of spans. Safe to share between threads: what is kept never changes."""

    __slots__ = ("_blocks", "_info", "name")

    def __init__(self, name: str, info: tzinfo) -> None:
        self.name = name
        self._info = info
        self._blocks: dict[int, tuple[list[int], list[Span]]] = {}

    def span(self, instant: int) -> Span:
        """Return the span that the instant lies in."""
        number = instant // _BLOCK_SECONDS
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = self._cut(number)
        starts, spans = block
        return spans[bisect_right(starts, instant) - 1]

    def jumps(self, start: datetime, end: datetime) -> list[Jump]:
        """Return the jumps at instants in [start, end), both aware, in order."""
        first, last = seconds_since_epoch(start), seconds_since_epoch(end)
        found = []
        instant = first
        while instant < last:
            span = self.span(instant)
            # A block's first span may begin with a jump that the block before has reported.
            is_new = span.start >= instant
            if is_new and span.before != span.offset:
                found.append(Jump(span.start, span.before, span.offset))
            instant = span.end
        return found

    def _ask(self, instant: int) -> int:
        asked = min(max(instant, _FIRST_ASKED), _LAST_ASKED)
        utc = (_NAIVE_EPOCH + timedelta(seconds=asked)).replace(tzinfo=self._info)
        offset = self._info.fromutc(utc).utcoffset()
        return offset.days * _DAY + offset.seconds if offset is not None else 0

    def _cut(self, number: int) -> tuple[list[int], list[Span]]:
        low, high = number * _BLOCK_SECONDS, (number + 1) * _BLOCK_SECONDS
        # One sample earlier: a jump shortly before the block may still hold fixed jobs back within it.
        jumps = self._find_jumps(low - _SAMPLE_SECONDS, high)
        offset = jumps[0].before if jumps else self._ask(low)
        spans = [Span(low - _SAMPLE_SECONDS, high, offset, offset, low - _SAMPLE_SECONDS)]
        for jump in jumps:
            spans[-1] = spans[-1]._replace(end=jump.at_epoch)
            repeated = 0 if jump.is_gap or jump.is_correction else jump.before - jump.after
            spans.append(Span(jump.at_epoch, high, jump.before, jump.after, jump.at_epoch + repeated))
        return [span.start for span in spans], spans

    def _find_jumps(self, low: int, high: int) -> list[Jump]:
        jumps = []
        before = self._ask(low - 1)
        for sample in range(low, high, _SAMPLE_SECONDS):
            last = sample + _SAMPLE_SECONDS - 1
            after = self._ask(last)
            if after != before:
                jumps.append(Jump(self._bisect(sample - 1, last, before), before, after))
            before = after
        return jumps

    def _bisect(self, old: int, new: int, before: int) -> int:
        """Return the first instant in (old, new] whose offset is not ``before``."""
        while new - old > 1:
            middle = (old + new) // 2
            if self._ask(middle) == before:
                old = middle
            else:
                new = middle
        return new


def seconds_since_epoch(instant: datetime) -> int:
    """Return the whole seconds from the Unix epoch to an aware instant, fractions cut off towards the past.

    Raises:
        ValueError: The instant is naive: it could be any of two dozen.
    """
    if instant.tzinfo is None or instant.utcoffset() is None:
        raise ValueError(f"the instant {instant.isoformat()} is naive: give it a time zone, such as UTC")
    since = instant - EPOCH
    return since.days * _DAY + since.seconds


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """Return the names of the tz database, from the tzdata package: the same on every machine."""
    return tuple(resources.files("tzdata").joinpath("zones").read_text("utf-8").split())


@lru_cache(maxsize=1)
def _folded_names() -> dict[str, str]:
    return {name.casefold(): name for name in names()}


def find(name: str) -> Zone:
    """Return the zone of an IANA name, the same object each time.

    Raises:
        ScheduleError: There is no such zone; about ``timezone``, code KC204.
    """
    zone = _load(name)
    if zone is None:
        raise ScheduleError(
            f"unknown time zone {_shown(name)!r}", about="timezone", code="KC204", hint=lambda: _suggest(name)
        )
    return zone


# Every zone that was found, with the bytes it was made from.
_kept: dict[str, tuple[bytes, Zone]] = {}


def refresh() -> None:
    """Find zones afresh from now on that the machine's tz database now has otherwise (cron.md §1, rule 10).

    Where none has changed, each stays the same object. Schedules that exist keep the zone they were parsed with;
    ``is_current`` tells the two apart. For a reload, before it parses.
    """
    is_same = all(_bytes_or_none(name) == known for name, (known, _) in list(_kept.items()))
    if not is_same:
        _kept.clear()
        ZoneInfo.clear_cache()
    for cache in (_load, names, _folded_names):
        cache.cache_clear()


def is_current(zone: Zone) -> bool:
    """Return True if the zone is still what ``find`` gives for its name."""
    return _kept.get(zone.name, (b"", None))[1] is zone


@lru_cache(maxsize=2048)
def _load(name: str) -> Zone | None:
    if name in _kept:
        return _kept[name][1]
    if not _is_iana(name):
        return None
    try:
        content = _bytes(name)
        zone = Zone(name, ZoneInfo.from_file(BytesIO(content), key=name))
    # Everything that a file may hold comes through: OSError, ValueError, KeyError.
    except (OSError, ValueError, KeyError):
        return None
    return _kept.setdefault(name, (content, zone))[1]


def _bytes(name: str) -> bytes:
    """Return what the tz database holds of a zone, from where zoneinfo reads it."""
    for folder in TZPATH:
        path = Path(folder, name)
        if path.is_file():
            return path.read_bytes()
    return resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()


def _bytes_or_none(name: str) -> bytes | None:
    try:
        return _bytes(name)
    except OSError:
        return None


def _is_iana(name: str) -> bool:
    known = _folded_names().get(name.casefold())
    if known is not None:
        return known == name  # a file system without letter case would find europe/berlin
    # The machine's tz database may be newer than the package.
    if name in _NOT_ZONES or name.startswith(_NOT_FOLDERS) or not _NAME.fullmatch(name):
        return False
    return any(Path(folder, name).is_file() for folder in TZPATH)


def _suggest(name: str) -> str | None:
    offset = _FIXED_OFFSET.fullmatch(name.strip())
    if offset and -12 <= int(offset[1] + offset[2]) <= 14:
        east = int(offset[1] + offset[2])
        # POSIX counts hours west of Greenwich, so the sign turns round.
        return f"did you mean '{f'Etc/GMT{-east:+d}' if east else 'Etc/UTC'}'?"
    if _FIXED_MINUTES.fullmatch(name.strip()):
        return "name the place, such as 'Asia/Kolkata': no zone stands for a fixed offset with minutes"
    tidy = name.strip(" \t\"':").replace(" ", "_")
    places = [known for known in names() if known.rpartition("/")[2].casefold() == tidy.casefold()]
    if not places and _ABBREVIATION.fullmatch(tidy):
        # CEST is not EST, though it looks like it: the like of an abbreviation is hours away.
        return _WHAT_A_ZONE_IS
    word = places[0] if len(places) == 1 else suggestions.closest(tidy, names())
    return f"did you mean '{word}'?" if word else _WHAT_A_ZONE_IS


def _shown(name: str) -> str:
    return name if len(name) <= 64 else name[:63] + "…"
