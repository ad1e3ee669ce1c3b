"""What a schedule costs: `python benchmarks/schedule.py`.

Each engine walks the same number of coming runs from the same instant; a row is the mean cost of one run.
croniter is measured as people use it: one object, get_next in a loop. Its aware mode is shown for scale only:
over clock changes its answers are wrong (docs/adr).
"""

import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

from croniter import croniter

from kuber_cron.common import schedule as schedules
from kuber_cron.common.schedule import Schedule

START = datetime(2026, 1, 1, tzinfo=UTC)
RUNS = 2_000
ROUNDS = 5
TARGET_MICROSECONDS = 30
CASES = [
    ("*/5 * * * *", "UTC"),
    ("0 * * * *", "UTC"),
    ("30 2 * * *", "UTC"),
    ("0 9 * * 1-5", "UTC"),
    ("*/5 * * * *", "Europe/Berlin"),
    ("0 * * * *", "Europe/Berlin"),
    ("30 2 * * *", "Europe/Berlin"),
    ("0 9 * * 1-5", "Europe/Berlin"),
    ("0 0 1 * *", "America/New_York"),
    ("0 0 L * *", "Australia/Lord_Howe"),
    ("@every 90s", "UTC"),
]


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
    from cronsim import CronSim

    yield from CronSim(text, START.astimezone(ZoneInfo(zone)))


def microseconds_a_run(
    engine: Callable[[str, str], Iterator[datetime]], text: str, zone: str, rounds: int
) -> float:
    """The median over the rounds, the first of which pays for every cache."""
    costs = []
    for _ in range(rounds):
        begun = time.perf_counter()
        count = sum(1 for _ in islice(engine(text, zone), RUNS))
        costs.append((time.perf_counter() - begun) / count * 1e6)
    return statistics.median(costs)


def first_walk(text: str, zone: str) -> float:
    """One walk with every cache of ours empty, the zone's excepted: what a new process pays for a run."""
    schedules.days._ask_croniter.cache_clear()  # noqa: SLF001 - only the owner knows its caches
    schedules.days.rule.cache_clear()
    schedules._plan.cache_clear()  # noqa: SLF001 - as above
    return microseconds_a_run(ours, text, zone, 1)


def parse_cost(jobs: int) -> tuple[float, float]:
    """Microseconds to parse one of many jobs: all texts different, and all from a few texts."""
    different = [f"{n % 60} {n // 60 % 24} {n // 1440 % 28 + 1} * *" for n in range(jobs)]
    begun = time.perf_counter()
    for text in different:
        Schedule.parse(text, "Europe/Berlin")
    apart = time.perf_counter() - begun
    begun = time.perf_counter()
    for n in range(jobs):
        Schedule.parse(f"*/{n % 10 + 1} * * * *", "Europe/Berlin")
    alike = time.perf_counter() - begun
    return apart / jobs * 1e6, alike / jobs * 1e6


def main() -> None:
    peers: dict[str, Callable[[str, str], Iterator[datetime]]] = {
        "croniter naive": croniter_naive,
        "croniter aware": croniter_aware,
    }
    if importlib.util.find_spec("cronsim"):
        peers["cronsim"] = cronsim
    else:
        print("cronsim is not installed, so it is not measured.\n")
    print(
        "| schedule | zone | ours µs | ours, cold µs | "
        + " | ".join(f"{peer} µs (ratio)" for peer in peers)
        + " |"
    )
    print("| --- | --- | ---: | ---: |" + " ---: |" * len(peers))
    worst = worst_cold = 0.0
    for text, zone in CASES:
        cold = first_walk(text, zone)
        mine = microseconds_a_run(ours, text, zone, ROUNDS)
        worst, worst_cold = max(worst, mine), max(worst_cold, cold)
        row = [f"`{text}`", zone, f"{mine:.1f}", f"{cold:.1f}"]
        for engine in peers.values():
            if text.startswith("@every"):
                row.append("-")
                continue
            theirs = microseconds_a_run(engine, text, zone, 1)
            row.append(f"{theirs:.1f} ({theirs / mine:.0f}x)")
        print("| " + " | ".join(row) + " |")
    apart, alike = parse_cost(10_000)
    print(
        f"\nParsing one of 10,000 jobs: {apart:.1f} µs with 10,000 different texts, {alike:.1f} µs with ten."
    )
    print(
        f"Target: at most {TARGET_MICROSECONDS} µs a run; the worst above are {worst:.1f} µs "
        f"and {worst_cold:.1f} µs cold."
    )


if __name__ == "__main__":
    main()
