"""What a schedule costs, and whether what it says is right: `python benchmarks/schedule.py`.

Three tables. First, each engine walks the same number of coming runs from the same instant; a figure is the mean cost of
one, the median of rounds in which all engines take turns. Each is used as people use it, one object and its next in a
loop; cold is the first walk of ours, with empty caches. croniter naive knows no zones and stands there for scale.

Second, what those that know zones say for two years: each instant is compared with a walk through every minute of them
that does what cron does (spec: cron.md §1, rules 2 to 5, as Debian's cron), and shares nothing with any engine.

Third, 100,000 schedules, more than half of the texts different: the scheduler's own loader with a crontab line and a line
of directives each, and the construction of as many objects of each library. Each in a process of its own, imports not
counted, in turns; the best of the rounds.
"""

import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from croniter import croniter
from cronsim import CronSim
from measuring import write_jobs

from kuber_cron.common.clock import SystemClock
from kuber_cron.common.observability import logging_setup
from kuber_cron.common.schedule import Schedule
from kuber_cron.common.schedule import schedule as schedules
from kuber_cron.scheduler.decisions.catalog import CatalogWatcher

START = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2028, 1, 1, tzinfo=UTC)
RUNS = 2_000
ROUNDS = 5
TARGET_MICROSECONDS = 30
MANY = 100_000
LOADS = 3
TARGET_SECONDS = 10
ZONE = "Europe/Berlin"
MINUTE = timedelta(minutes=1)


class Case(NamedTuple):
    """A schedule, and in Python what its text says of a local time."""

    text: str
    zone: str
    matches: Callable[[datetime], bool]

    @property
    def is_fixed(self) -> bool:
        """Whether it names times of day, so that it runs once for each of them."""
        minute, hour = self.text.split()[:2]
        return not (minute.startswith("*") or hour.startswith("*"))


CASES = [
    Case("*/5 * * * *", "UTC", lambda at: at.minute % 5 == 0),
    Case("0 * * * *", "UTC", lambda at: at.minute == 0),
    Case("30 2 * * *", "UTC", lambda at: (at.hour, at.minute) == (2, 30)),
    Case("0 9 * * 1-5", "UTC", lambda at: (at.hour, at.minute) == (9, 0) and at.weekday() < 5),
    Case("*/5 * * * *", ZONE, lambda at: at.minute % 5 == 0),
    Case("0 * * * *", ZONE, lambda at: at.minute == 0),
    Case("30 2 * * *", ZONE, lambda at: (at.hour, at.minute) == (2, 30)),
    Case("*/10 2 * * *", ZONE, lambda at: at.minute % 10 == 0 and at.hour == 2),
    Case("15,45 1-3 * * *", ZONE, lambda at: at.minute in {15, 45} and 1 <= at.hour <= 3),
    Case("0 9 * * 1-5", ZONE, lambda at: (at.hour, at.minute) == (9, 0) and at.weekday() < 5),
    Case("0 0 1 * *", "America/New_York", lambda at: (at.day, at.hour, at.minute) == (1, 0, 0)),
    Case("*/20 1 * * 0", "America/New_York",
         lambda at: at.minute % 20 == 0 and at.hour == 1 and at.weekday() == 6),
    Case("0 0 L * *", "Australia/Lord_Howe",
         lambda at: (at.hour, at.minute) == (0, 0) and (at + timedelta(days=1)).day == 1),
]  # fmt: skip


# -- the engines -------------------------------------------------------------------------------------------


def ours(text: str, zone: str) -> Iterator[datetime]:
    schedule = Schedule.parse(text, zone)
    at: datetime | None = START
    while at is not None and (at := schedule.next_after(at)):
        yield at


def croniter_naive(text: str, _: str) -> Iterator[datetime]:
    runs = croniter(text, START.replace(tzinfo=None))
    while True:
        yield runs.get_next(datetime)


def croniter_aware(text: str, zone: str) -> Iterator[datetime]:
    runs = croniter(text, START.astimezone(ZoneInfo(zone)))
    while True:
        yield runs.get_next(datetime)


def cronsim(text: str, zone: str) -> Iterator[datetime]:
    yield from CronSim(text, START.astimezone(ZoneInfo(zone)))


Engine = Callable[[str, str], Iterator[datetime]]
PEERS: dict[str, Engine] = {
    "croniter naive": croniter_naive,
    "croniter aware": croniter_aware,
    "cronsim": cronsim,
}
KNOW_ZONES: dict[str, Engine] = {"ours": ours, "croniter aware": croniter_aware, "cronsim": cronsim}


# -- what a run costs --------------------------------------------------------------------------------------


def walk(engine: Engine, text: str, zone: str) -> float:
    """Microseconds a run."""
    begun = time.perf_counter()
    count = sum(1 for _ in islice(engine(text, zone), RUNS))
    return (time.perf_counter() - begun) / count * 1e6


def forget() -> None:
    """Every cache of ours is empty, the zone's excepted: what a new process begins with."""
    schedules.day_matching._ask_croniter.cache_clear()  # noqa: SLF001 - only the owner knows its caches
    schedules.day_matching.rule.cache_clear()
    schedules._meaning.cache_clear()  # noqa: SLF001 - as above


def costs() -> None:
    print("| schedule | zone | ours µs | ours, cold µs | " + " | ".join(f"{peer} µs (ratio)" for peer in PEERS)
          + " |\n| --- | --- | ---: | ---: |" + " ---: |" * len(PEERS))  # fmt: skip
    worst = worst_cold = 0.0
    for text, zone in [(case.text, case.zone) for case in CASES] + [("@every 90s", "UTC")]:
        forget()
        rounds: dict[str, list[float]] = {name: [] for name in ["ours", *PEERS]}
        for _ in range(ROUNDS):
            rounds["ours"].append(walk(ours, text, zone))
            for name, engine in PEERS.items():
                if not text.startswith("@"):
                    rounds[name].append(walk(engine, text, zone))
        mine, cold = statistics.median(rounds["ours"]), rounds["ours"][0]
        worst, worst_cold = max(worst, mine), max(worst_cold, cold)
        row = [f"`{text}`", zone, f"{mine:.1f}", f"{cold:.1f}"]
        for theirs in (rounds[name] for name in PEERS):
            found = statistics.median(theirs) if theirs else 0
            row.append(f"{found:.1f} ({found / mine:.1f}x)" if found else "-")
        print("| " + " | ".join(row) + " |", flush=True)
    print(f"\nThe worst: {worst:.1f} µs a run of {TARGET_MICROSECONDS}, {worst_cold:.1f} µs cold.")


# -- whether it is right -----------------------------------------------------------------------------------


def by_the_rules(case: Case) -> list[datetime]:
    """The instants in (START, END): every minute is lived through, as a cron does.

    Jumps of three hours and more, which are corrections of the clock, do not occur in these zones and years.
    """
    zone, found = ZoneInfo(case.zone), []
    latest = START.astimezone(zone).replace(tzinfo=None)
    for second in range(int(START.timestamp()) + 60, int(END.timestamp()), 60):
        local = datetime.fromtimestamp(second, zone).replace(tzinfo=None, fold=0)
        if not case.is_fixed:
            is_due = case.matches(local)
        elif local > latest:
            # One minute, or in the first minute after a gap all that it has skipped too, for one run.
            passed = (local - latest) // MINUTE
            is_due = any(case.matches(latest + MINUTE * step) for step in range(1, passed + 1))
            latest = local
        else:
            is_due = False  # the second pass of a repeated interval
        if is_due:
            found.append(datetime.fromtimestamp(second, UTC))
    return found


def said(engine: Engine, case: Case) -> list[datetime]:
    found = []
    for at in engine(case.text, case.zone):
        if at >= END:
            break
        found.append(at.astimezone(UTC))
    return found


def judged(found: list[datetime], right: list[datetime]) -> str:
    missed, invented = Counter(right) - Counter(found), Counter(found) - Counter(right)
    if not missed and not invented:
        return "0"
    return f"{missed.total() + invented.total()} ({missed.total()} missed, {invented.total()} too many)"


def rightness() -> None:
    print(f"\n| schedule | zone | instants in {START.year} and {END.year - 1} | "
          + " | ".join(f"{name}, wrong" for name in KNOW_ZONES)
          + " |\n| --- | --- | ---: |" + " ---: |" * len(KNOW_ZONES))  # fmt: skip
    for case in CASES:
        if case.zone == "UTC":
            continue
        right = by_the_rules(case)
        row = [judged(said(engine, case), right) for engine in KNOW_ZONES.values()]
        print(f"| `{case.text}` | {case.zone} | {len(right):,} | {' | '.join(row)} |", flush=True)


# -- a hundred thousand ------------------------------------------------------------------------------------


def texts() -> list[str]:
    """As they come from many teams: their own minutes of days, weeks, months and years, and some that many have alike."""
    dice = random.Random(8)

    def text() -> str:
        minute, hour, weekday = dice.randrange(60), dice.randrange(24), dice.randrange(7)
        day, month = dice.randrange(1, 29), dice.randrange(1, 13)
        forms = {
            f"{minute} {hour} * * *": 10,
            f"{minute} {hour} * * {weekday}": 20,
            f"{minute} {hour} {day} * *": 30,
            f"{minute} {hour} {day} {month} *": 25,
            f"{minute} {hour % 5 + 5}-{hour % 7 + 14} * * 1-5": 5,
            f"{minute % 30},{minute % 30 + 30} {hour % 12},{hour % 12 + 12} * * *": 5,
            f"*/{(1, 2, 5, 10, 15, 20, 30)[weekday]} * * * *": 5,
        }
        return dice.choices(list(forms), list(forms.values()))[0]

    return [text() for _ in range(MANY)]


AWARE = START.astimezone(ZoneInfo(ZONE))
LOADED = "ours: crontab lines with directives, by the scheduler's loader"


def with_first_of_ours(text: str) -> object:
    schedule = Schedule.parse(text, ZONE)
    return schedule, schedule.next_after(START)


def with_first_of_croniter(text: str) -> object:
    runs = croniter(text, AWARE)
    return runs, runs.get_next(datetime)


def with_first_of_cronsim(text: str) -> object:
    runs = CronSim(text, AWARE)
    return runs, next(runs)


# What is made of each text, and kept, as who schedules it has to; the loader has files.
WAYS: dict[str, Callable[[str], object]] = {
    "ours: parse": lambda text: Schedule.parse(text, ZONE),
    "croniter(…)": lambda text: croniter(text, AWARE),
    "CronSim(…)": lambda text: CronSim(text, AWARE),
    "ours: parse, and the first run": with_first_of_ours,
    "croniter(…), get_next()": with_first_of_croniter,
    "CronSim(…), next()": with_first_of_cronsim,
}


def load(folder: str) -> float:
    # The scheduler writes its warnings (a time within the next gap) to a file or a pipe: they are part of it.
    with Path(os.devnull).open("w") as nowhere:
        logging_setup.configure("json", "warning", nowhere)
        begun = time.perf_counter()
        loaded = CatalogWatcher([folder], clock=SystemClock(), timezone=ZONE).load()
        spent = time.perf_counter() - begun
    if len(loaded.entries) != MANY:
        raise SystemExit(f"{len(loaded.entries):,} jobs of {MANY:,} were loaded")
    return spent


def make(way: str) -> float:
    made, each = texts(), WAYS[way]
    begun = time.perf_counter()
    kept = [each(text) for text in made]
    spent = time.perf_counter() - begun
    del kept
    return spent


def in_a_process(measure: Callable[[str], float], subject: str) -> float:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, subject).result()


def hundred_thousand() -> None:
    made = texts()
    lines = [
        f"# kuber-cron: name=job-{number} retries=2 timeout=10m\n{text} /opt/run-{number} -v\n"
        for number, text in enumerate(made)
    ]
    best = dict.fromkeys([LOADED, *WAYS], float("inf"))
    with tempfile.TemporaryDirectory() as folder:
        write_jobs(Path(folder), lines)
        for _ in range(LOADS):
            best[LOADED] = min(best[LOADED], in_a_process(load, folder))
            for way in WAYS:
                best[way] = min(best[way], in_a_process(make, way))
    print(f"\n| {MANY:,} schedules, {len(set(made)):,} different texts | seconds | to ours |")
    print("| --- | ---: | ---: |")
    mine = 0.0
    for way, seconds in best.items():
        is_ours = way.startswith("ours")
        mine = seconds if is_ours else mine
        print(f"| {way} | {seconds:.2f} | {'' if is_ours else f'{seconds / mine:.1f}x'} |")
    print(f"\nLoaded in {best[LOADED]:.1f} s of {TARGET_SECONDS}.")


def main() -> None:
    costs()
    rightness()
    hundred_thousand()


if __name__ == "__main__":
    main()
