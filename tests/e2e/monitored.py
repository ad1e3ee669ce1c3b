"""The shipped Prometheus configuration and rules in a hurry, over jobs that a test may break.

Only durations are shortened: how often Prometheus looks, and for how long something has to be so. What the rules
ask for is what is shipped; that their real durations are right is tested by tests/e2e/rules.
"""

import re
from pathlib import Path

from tests.e2e.stack import ROOT, Stack

# Longer than two scrapes and two evaluations, so that what is between two of them is no alert here either.
FOR_SECONDS = 5
INTERVAL_SECONDS = 2

JOBS = """
# kuber-cron: defaults timeout=1m
# kuber-cron: name=steady team=demo
@every 2s  true
# kuber-cron: name=payments retries=1 retry_delay=1s
@every 3s  if test -e /work/broken; then echo "no payments today" >&2; exit 1; fi
# One more metric each: attempts after the first, instants that are left out, runs that a crash can hit, and an
# attempt so large that its size can be told from the worker's own.
# kuber-cron: name=again retries=1 retry_delay=1s
@every 10s  test "$KUBER_CRON_ATTEMPT" -gt 1
# kuber-cron: name=off suspend=true
@every 5s  true
# kuber-cron: name=long concurrency=forbid
@every 15s  sleep 10
# kuber-cron: name=large
@every 10s  python3 -c 'import time; spent = bytearray(150 << 20); time.sleep(0.1)'
"""


class Monitored:
    """A directory with the files that overrides/alerts.yml mounts."""

    stack: Stack

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "jobs").mkdir(parents=True)
        self.mend_jobs()
        shipped = (ROOT / "examples/compose/monitoring/prometheus.yml").read_text()
        self._write("prometheus.yml", re.sub(r"(_interval: )\d+s", rf"\g<1>{INTERVAL_SECONDS}s", shipped))
        rules = (ROOT / "k8s/components/monitoring/rules.yaml").read_text()
        self._write("rules.yaml", re.sub(r"(?m)^( *for: ).*$", rf"\g<1>{FOR_SECONDS}s", rules))

    def break_jobs(self) -> None:
        """An error in the job file."""
        self._write("jobs/crontab", JOBS + "61 * * * *  true\n")

    def mend_jobs(self) -> None:
        """The job file without an error."""
        self._write("jobs/crontab", JOBS)

    def execute_in_worker(self, words: str) -> str:
        """What a shell in a worker says; all of them share /work."""
        return self.stack.execute(self.stack.containers("worker")[0], "sh", "-c", words)

    def _write(self, name: str, text: str) -> None:
        path = self.directory / name
        new = path.with_name(f".{path.name}.new")
        new.write_text(text)
        new.chmod(0o644)
        new.replace(path)
