"""Kubernetes' schedules and ours: the same times, each in its own grammar.

Pure. Kubernetes reads schedules with robfig/cron 3 (``ParseStandard``). It differs from crontab(5) in this:

* ``*/2`` in a day field is a restriction like any other, so with a second one *either* may match; crontab(5), and
  Kuber-Cron, ask for both wherever a day field begins with ``*``.
* A star anywhere in a list counts (``5,*``), ``?`` is ``*`` in every field, ``7`` is no Sunday.
* ``@every`` takes Go's durations, and counts from the last run rather than from the epoch.
"""

import re
from dataclasses import dataclass

from kuber_cron.common.jobs.job import Job
from kuber_cron.common.jobs.time_types import duration_seconds, duration_text
from kuber_cron.common.schedule import Schedule, ScheduleError

NICKNAMES = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
_PLAIN_FIELD = re.compile(r"(?:\*(?:/\d+)?|\d+(?:-\d+)?(?:/\d+)?)(?:,\d+(?:-\d+)?(?:/\d+)?)*", re.ASCII)
_ZONE = re.compile(r"(?:CRON_)?TZ=(\S*)\s*(.*)", re.DOTALL)
_GO_DURATION = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+", re.ASCII)
_GO_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_GO_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DAY, _WEEKDAY = 2, 4
_WIDTHS = {_DAY: 31, _WEEKDAY: 7}
_RANGES = {_DAY: "1-31", _WEEKDAY: "0-6"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslatedSchedule:
    """A schedule of Kubernetes in our grammar.

    Attributes:
        schedule: The same times; not yet checked.
        timezone: The zone that stood before it (``CRON_TZ=…``), or None.
    """

    schedule: str
    timezone: str | None = None


def read(text: str) -> TranslatedSchedule:
    """Return Kubernetes' ``text`` in our grammar; what robfig/cron would refuse is left for our parser to refuse.

    Raises:
        ScheduleError: A nickname that Kubernetes has not, though we have.
    """
    zone = _ZONE.fullmatch(text.strip())
    if zone is not None:
        return TranslatedSchedule(schedule=_read(zone[2]), timezone=zone[1])
    return TranslatedSchedule(schedule=_read(text))


def _read(text: str) -> str:
    words = text.split()
    if len(words) == 2 and words[0] == "@every":
        return f"@every {_go_duration(words[1])}"
    if len(words) == 1 and words[0] in {"@reboot", "@after", "@every_minute"}:
        message = f"bad nickname: Kubernetes has no {words[0]}"
        raise ScheduleError(message, about="nickname", code="KC102")
    if len(words) != 5:
        return " ".join(words)
    fields = [_read_field(word, index) for index, word in enumerate(words)]
    starred = {index for index in _WIDTHS if any(map(_is_star, fields[index].split(",")))}
    for index in _WIDTHS:
        if index in starred:
            if fields[index] not in {"?", "*", "*/1"}:
                fields[index] = "*"
        elif not starred:
            # Either may match; a star at the start would mean both to us.
            fields[index] = re.sub(r"(?:^|(?<=,))\*(?=/)", _RANGES[index], fields[index])
    return " ".join(fields)


def _read_field(word: str, index: int) -> str:
    if word == "?" and index in _WIDTHS:
        return word
    items = [item for item in word.split(",") if item]
    return ",".join(re.sub(r"^\?", "*", item) for item in items)


def _is_star(item: str) -> bool:
    """Return True if an item makes its field unrestricted: a star without a step of more than one."""
    head, _, step = item.partition("/")
    return head.partition("-")[0] in {"*", "?"} and step in {"", "1"}


def _go_duration(text: str) -> str:
    if not _GO_DURATION.fullmatch(text) or text.startswith("-"):
        return text
    seconds = sum(float(number) * _GO_SECONDS[unit] for number, unit in _GO_PART.findall(text))
    # robfig/cron rounds down to whole seconds, and up to one. The small part is what sums of floats lose.
    return duration_text(max(1, int(seconds + 1e-9)))


def written(job: Job) -> str | None:
    """Return the schedule of `job` in Kubernetes' grammar; None where it has none like it."""
    if job.schedule.startswith("@"):
        if job.schedule == "@every_minute":
            return "* * * * *"
        if job.schedule.startswith("@every "):
            # Go's durations have no days.
            return f"@every {duration_seconds(job.schedule.split()[1]):.0f}s"
        return job.schedule if job.schedule in NICKNAMES else None
    texts = job.schedule.split(" ")
    values = list(Schedule.parse(job.schedule, job.timezone, job_id=job.id).fields.values())
    fields: list[str] = []
    for index, text in enumerate(texts):
        if text == "?" or (_PLAIN_FIELD.fullmatch(text) and (index < _WEEKDAY or "7" not in text)):
            fields.append(text)
            continue
        numbers = sorted(value for value in values[index] if isinstance(value, int))
        if len(numbers) < len(values[index]):
            return None
        fields.append(",".join(map(str, numbers)))
    if any(texts[index].startswith(("*", "?")) for index in _WIDTHS):
        # Both must match, which Kubernetes asks for only where one of them is every day.
        full = [index for index, width in _WIDTHS.items() if len(values[index]) == width]
        if not full:
            return None
        for index in full:
            fields[index] = texts[index] if texts[index] == "?" else "*"
    return " ".join(fields)
