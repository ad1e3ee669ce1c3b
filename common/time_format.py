"""Lengths of time as people say them. Pure: seconds in, words out."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def span(seconds: float) -> str:
    """Return a length in at most two units: ``0 s``, ``59 s``, ``1 m 05 s``, ``2 h 00 m``, ``3 d 04 h``.

    Parts of a second are dropped, as a clock's face does; a negative length (a clock that stepped back) is 0.
    """
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} m {whole % _MINUTE:02d} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} m"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR:02d} h"


def duration(seconds: float) -> str:
    """Return how long something took: below ten seconds with one decimal, ``0.3 s``, else like `span`."""
    return f"{max(0.0, seconds):.1f} s" if seconds < 9.95 else span(seconds)


def away(seconds: float) -> str:
    """Return the distance of an instant from now in one rounded unit: ``in 3 h``, ``now``, ``5 min ago``."""
    size = abs(seconds)
    if size < 1:
        return "now"
    for limit, unit, name in ((99.5, 1, "s"), (99.5 * _MINUTE, _MINUTE, "min"), (48 * _HOUR, _HOUR, "h")):
        if size < limit:
            words = f"{round(size / unit)} {name}"
            break
    else:
        words = f"{round(size / _DAY)} d"
    return f"in {words}" if seconds > 0 else f"{words} ago"
