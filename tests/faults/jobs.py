"""The harness' own jobs: their file, the program that they all run, and what the checker has to know of them.

Every job runs ``job.sh``, which appends a line to one file when it starts and one when it ends: short writes
with O_APPEND are atomic. The shell's own words do everything, /proc/uptime included, for 20 of them start each
second. Policies that a release does not have in force are left out by ``select``.
"""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.faults.history import Job, Line, Period, Span

SCRIPT = r"""
file=$1 mode=$2 seconds=$3 does=$4
read -r up _ < /proc/uptime
printf 's %s %s %s %s %s %s -\n' "$KUBER_CRON_JOB" "$KUBER_CRON_RUN_ID" "$KUBER_CRON_ATTEMPT" "$KUBER_CRON_SCHEDULED_AT" $$ "$up" >> "$file"
code=0
case $mode in
  fails) code=3 ;;
  first-fails) [ "$KUBER_CRON_ATTEMPT" -gt 1 ] || code=3 ;;
esac
[ -z "$does" ] || eval "$does" || code=$?
if [ "$mode" = beats ]; then
  while [ "$seconds" -gt 0 ] && ! [ -e "$file.enough" ]; do
    sleep 1
    seconds=$((seconds - 1))
    read -r up _ < /proc/uptime
    printf 'b %s %s %s %s %s %s -\n' "$KUBER_CRON_JOB" "$KUBER_CRON_RUN_ID" "$KUBER_CRON_ATTEMPT" "$KUBER_CRON_SCHEDULED_AT" $$ "$up" >> "$file"
  done
fi
[ "$mode" = beats ] || [ "$seconds" = 0 ] || sleep "$seconds"
read -r up _ < /proc/uptime
printf 'e %s %s %s %s %s %s %s\n' "$KUBER_CRON_JOB" "$KUBER_CRON_RUN_ID" "$KUBER_CRON_ATTEMPT" "$KUBER_CRON_SCHEDULED_AT" $$ "$up" $code >> "$file"
exit $code
"""


@dataclass(frozen=True, slots=True)
class Spec:
    """One job of the harness. ``seconds`` is its period; ``options`` are job-file keys.

    ``does``: what it does between its two lines, in the shell's words; nothing if empty.
    """

    id: str
    seconds: int = 1
    mode: str = "ok"
    lasts: str = "0"
    does: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def schedule(self) -> str:
        """As the job file has it: whole minutes as a crontab would say them."""
        if self.options.get("after"):
            return "@after"
        return f"@every {self.seconds}s" if self.seconds % 60 else f"*/{self.seconds // 60} * * * *"

    def entry(self, program: Sequence[str], file: str) -> dict[str, Any]:
        """As the job file has it. ``program`` runs SCRIPT, which appends to ``file``."""
        command = [*program, file, self.mode, self.lasts, self.does]
        return {"name": self.id, "schedule": self.schedule, "command": command, **self.options}

    def known(self, since: float) -> Job:
        """What the checker is told."""
        group, _, limit = str(self.options.get("group", "")).partition(":")
        once = self.options.get("execution") == "at_most_once"
        return Job(
            id=self.id,
            periods=(Period(at=since, seconds=self.seconds),),
            retries=0 if once else int(self.options.get("retries", 0)),
            max_lost=0 if once else int(self.options.get("max_lost", 3)),
            concurrency=str(self.options.get("concurrency", "allow")),
            group=group,
            group_limit=int(limit or 1),
            after=tuple(self.options.get("after", ())),
            fails=self.mode == "fails",
            lasts=float(self.lasts) if self.mode == "beats" else 0.0,
        )


_AGAIN = {"retries": 2, "retry_delay": "1s", "retry_jitter": 0}

PLAIN = (
    *(Spec(f"tick-{number:02}") for number in range(10)),
    Spec("high", options={"priority": "high"}),
    Spec("low", options={"priority": "low"}),
    Spec("alone", options={"concurrency": "forbid"}),
    Spec("alone-slow", lasts="1.3", options={"concurrency": "forbid"}),
    Spec("again-0", mode="first-fails", options=_AGAIN),
    Spec("again-1", mode="first-fails", options=_AGAIN),
    Spec("once", options={"execution": "at_most_once"}),
    Spec("fails", mode="fails"),
    Spec("edited"),
    Spec("gone"),
    Spec("slow", seconds=5, lasts="3", options={"kill_grace": "1s"}),
    Spec("minute", seconds=60),
    Spec("minutes", seconds=120),
)
"""Twenty of them each second, and some that are rarer."""

POLICIES = {
    "group": (
        Spec("pool-a", lasts="0.2", options={"group": "pool:1"}),
        Spec("pool-b", lasts="0.2", options={"group": "pool:1"}),
    ),
    "replace": (
        Spec("newest", seconds=2, lasts="3", options={"concurrency": "replace", "kill_grace": "1s"}),
    ),
    "queue": (Spec("in-line", seconds=2, lasts="2.5", options={"concurrency": "queue", "max_running": 2}),),
    "after": (
        Spec("chain-1", lasts="0.2"),
        Spec("chain-2", options={"after": ["chain-1"]}),
        Spec("chain-3", options={"after": ["chain-2"]}),
        Spec("chain-fails", mode="fails"),
        Spec("chain-never", options={"after": ["chain-fails"]}),
    ),
}
"""Those that hold runs back, by the policy that they need."""

IN_FORCE: tuple[str, ...] = ("group", "replace", "queue", "after")
"""The policies that the scheduler acts on. This list grows."""


LONG = (
    Spec("long", seconds=15, mode="beats", lasts="60", options={"kill_grace": "1s"}),
    Spec(
        "long-once",
        seconds=20,
        mode="beats",
        lasts="60",
        options={"kill_grace": "1s", "execution": "at_most_once"},
    ),
)
"""Commands that outlast what is done to their workers, and say each second that they live. ``JobFile.hurry`` ends them."""


def select(policies: Iterable[str] = IN_FORCE) -> tuple[Spec, ...]:
    """The jobs of a run."""
    return (*PLAIN, *(spec for policy in policies for spec in POLICIES[policy]))


def everything() -> tuple[Spec, ...]:
    """The jobs of a run on this machine."""
    return (*select(), *LONG)


_LIGHT = {
    "tick-01",
    "tick-02",
    "edited",
    "gone",
    "once",
    "again-0",
    "alone-slow",
    "pool-a",
    "in-line",
    "chain-1",
    "chain-2",
}


def few() -> tuple[Spec, ...]:
    """One of each kind of job, every other second, for a machine that has other things to do."""
    chosen = (spec for spec in select() if spec.id in _LIGHT)
    return (*(replace(spec, seconds=max(2, spec.seconds)) for spec in chosen), *LONG)


class JobFile:
    """The file in the directory that the schedulers read; remembers what it said when."""

    def __init__(self, directory: Path, specs: Sequence[Spec]) -> None:
        self.directory = directory / "jobs"
        self.lines = directory / "commands.txt"
        self._script = directory / "job.sh"
        self._hidden = directory / "jobs.hidden"
        self._out_since: dict[str, float] = {}
        self._specs = {spec.id: spec for spec in specs}
        self.directory.mkdir(parents=True)
        self._script.write_text(SCRIPT)
        self.lines.touch()
        self._known = {spec.id: spec.known(time.time()) for spec in specs}
        self.write()

    def write(self, *, without: Iterable[str] = (), suspended: bool = False) -> None:
        """The file as it should be, swapped in whole. A job that is left out is meant to be gone until the next time."""
        left_out = set(without)
        self._note_absence(left_out)
        jobs = [
            self._entry(spec, suspended=suspended) for spec in self._specs.values() if spec.id not in left_out
        ]
        self._swap(json.dumps({"version": 1, "jobs": jobs}, indent=1))  # JSON is YAML

    def _note_absence(self, left_out: set[str]) -> None:
        now = time.time()
        for id_, began in self._out_since.items():
            known = self._known[id_]
            self._known[id_] = replace(known, out=(*known.out, Span(began=began, ended=now)))
        self._out_since = dict.fromkeys(left_out, now)

    def vanish(self, *, with_directory: bool) -> None:
        """A mount that is away: an empty directory, or none. Nobody means the jobs to be gone. ``come_back`` ends it."""
        self._hidden.mkdir()
        if with_directory:
            self.directory.rename(self._hidden / self.directory.name)
        else:
            for path in self.directory.iterdir():
                path.rename(self._hidden / path.name)

    def come_back(self) -> None:
        """As before ``vanish``."""
        if (self._hidden / self.directory.name).is_dir():
            (self._hidden / self.directory.name).rename(self.directory)
        for path in self._hidden.iterdir():
            path.rename(self.directory / path.name)
        self._hidden.rmdir()

    def hurry(self) -> None:
        """The commands that beat end within a second, whatever they still had to do."""
        self.lines.with_name(f"{self.lines.name}.enough").touch()

    def break_it(self) -> None:
        """A file that holds an error and half of the jobs."""
        self._swap("version: 1\njobs:\n  - name: tick-00\n    schedule: 61 * * * *\n    command: x\n")

    def edit(self, job: str, seconds: int) -> None:
        """Another period from now on."""
        self._specs[job] = replace(self._specs[job], seconds=seconds)
        known = self._known[job]
        self._known[job] = replace(known, periods=(*known.periods, Period(at=time.time(), seconds=seconds)))
        self.write()

    def known(self) -> tuple[Job, ...]:
        """All jobs with all their periods."""
        return tuple(self._known.values())

    def read(self) -> tuple[Line, ...]:
        """What the commands have written."""
        return read_lines(self.lines, boot_offset())

    def written(self) -> int:
        """How many bytes of it there are."""
        return self.lines.stat().st_size

    def _entry(self, spec: Spec, *, suspended: bool) -> dict[str, Any]:
        entry = spec.entry(["sh", str(self._script)], str(self.lines))
        return entry | {"suspend": True} if suspended else entry

    def _swap(self, text: str) -> None:
        new = self.directory / ".new"
        new.write_text(text)
        new.replace(self.directory / "jobs.yaml")


def boot_offset() -> float:
    """What is to be added to /proc/uptime for wall time."""
    return time.time() - float(Path("/proc/uptime").read_text().split()[0])


def read_lines(path: Path, offset: float) -> tuple[Line, ...]:
    """What the commands have written."""
    found = []
    for text in path.read_text().splitlines():
        verb, job, run, attempt, _, pid, up, code = text.split()
        found.append(
            Line(
                job=job,
                run=run,
                attempt=int(attempt),
                pid=int(pid),
                at=float(up) + offset,
                code=None if code == "-" else int(code),
                beats=verb == "b",
            )
        )
    return tuple(found)
