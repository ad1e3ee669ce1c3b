"""``python -m tests.faults --minutes 10 --seed 7``: a fault run, its report, and the last line of interface.md."""

import argparse
import random
import signal
import sys
from pathlib import Path

from tests.faults import checker, report, runner
from tests.faults.history import History
from tests.faults.setup import FAST, REAL


def main() -> int:
    """The exit status: 0 where nothing was lost, doubled or in limbo, and no other rule broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, help="default: a new one, which is printed")
    parser.add_argument("--election", choices=("redis", "kubernetes"), default="redis")
    parser.add_argument("--faults", type=int, help="how many; default: about six a minute")
    parser.add_argument("--fast", action="store_true", help="the minute tier's durations: 3/2/0.5, ttl 4")
    parser.add_argument("--only", metavar="KIND,KIND", default="", help="these kinds of faults alone")
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
    seed = random.randrange(10**6) if asked.seed is None else asked.seed
    sys.stdout.write(f"seed {seed}\n")
    sys.stdout.flush()
    result = runner.long_run(
        seed=seed,
        minutes=asked.minutes,
        name=asked.election,
        times=FAST if asked.fast else REAL,
        faults=asked.faults,
        only=tuple(filter(None, asked.only.split(","))),
        keep=asked.keep,
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
