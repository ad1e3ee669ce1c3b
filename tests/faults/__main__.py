"""``python -m tests.faults --minutes 10 --seed 7``: a fault run, its report, and the last line of interface.md."""

import argparse
import random
import signal
import sys
from pathlib import Path

from tests.faults import checker, report, runner, schedule
from tests.faults.history import History
from tests.faults.kinds import KINDS, kinds
from tests.faults.setup import FAST, REAL


def main() -> int:
    """The exit status: 0 where nothing was lost, doubled or in limbo, and no other rule broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, help="default: a new one, which is printed")
    parser.add_argument("--election", choices=("redis", "kubernetes"), default="redis")
    parser.add_argument("--faults", type=int, help="how many; default: about six a minute")
    parser.add_argument("--fast", action="store_true", help="the minute tier's durations: 3/2/0.5, ttl 4")
    parser.add_argument(
        "--kinds",
        metavar="KIND,KIND",
        default="",
        help="these kinds of faults alone; KIND+KIND is a pair at once",
    )
    parser.add_argument("--light", action="store_true", help="few jobs, for a busy machine")
    parser.add_argument("--list", action="store_true", help="only tell the kinds")
    parser.add_argument("--plan", action="store_true", help="only tell the schedule of the seed")
    parser.add_argument("--report", type=Path, help="write the report here too")
    parser.add_argument(
        "--keep", action="store_true", help="keep everything that a clean run left behind too"
    )
    parser.add_argument("--check", type=Path, metavar="FILE", help="only judge a history.json")
    asked = parser.parse_args()
    if asked.check is not None:
        for violation in checker.check(History.load(asked.check)):
            sys.stdout.write(f"{violation.kind}: {violation.what}\n")
        return 0
    # As Ctrl-C does: the processes of the run end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if asked.list:
        sys.stdout.write("".join(f"{name}\n" for name in kinds(asked.election)))
        return 0
    only = tuple(filter(None, asked.kinds.split(",")))
    for kind in (kind for each in only for kind in each.split("+")):
        if kind not in KINDS:
            parser.error(f"there is no kind {kind!r}: --list tells them")
    seed = random.randrange(10**6) if asked.seed is None else asked.seed
    times = FAST if asked.fast else REAL
    steps = runner.steps_for(seed, asked.minutes, asked.election, times, faults=asked.faults, only=only)
    sys.stdout.write(f"seed {seed}\n{schedule.text(steps)}\n")
    sys.stdout.flush()
    if asked.plan:
        return 0
    result = runner.long_run(
        seed=seed,
        minutes=asked.minutes,
        name=asked.election,
        times=times,
        faults=asked.faults,
        only=only,
        keep=asked.keep,
        light=asked.light,
    )
    if asked.report is not None:
        asked.report.write_text(result.text)
    if result.directory.exists():
        sys.stdout.write(f"everything that the run left behind is in {result.directory}\n\n")
    sys.stdout.write(result.text)
    assert result.text.rstrip().endswith(report.last_line(result.history, result.violations, result.run))
    return 0 if result.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
