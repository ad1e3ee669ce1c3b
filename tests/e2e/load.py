"""The jobs of tests/faults on the Compose stack, what was done to it, and the verdict on both.

The recorder and the checker are those of ``make faults``: the decision log against multiples of each job's
period, the server's MONITOR, and the file that the commands themselves append to. The stack is judged again and
again, always by all that has been recorded so far.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import redis
from tests.e2e.stack import PublishedRedis
from tests.faults import checker
from tests.faults.history import Fault, History, Job, Line, Violation
from tests.faults.jobs import JobFile, select
from tests.faults.recorder import Recorder
from tests.faults.setup import Times
from tests.support.waiting import eventually

# What docker-compose.yml has: the election in Redis, and a worker's ttl.
TTL_SECONDS = 15.0
TAKEOVER_SECONDS = Times().takeover("redis")
# After Redis was away a leader rests before it judges workers, and the way to it has to be found again.
REDIS_BACK_SECONDS = TAKEOVER_SECONDS + 4.0
# A scheduler that is told to end hands over within this (spec: reliability.md §9).
HANDOVER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the history came to since the last verdict."""

    violations: tuple[Violation, ...]
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What Redis has counted itself, and which of its keys never expire."""

    missed: dict[str, int]
    through: int
    keys: tuple[str, ...]


class Jobs(Protocol):
    """The job file, wherever it is: the JobFile of tests/faults, or something like it."""

    def known(self) -> Sequence[Job]:
        """The jobs as the checker wants them."""
        ...

    def write(self, *, suspended: bool = False) -> None:
        """Let all of them go on, or none."""
        ...

    def read(self) -> tuple[Line, ...]:
        """What their commands have written."""
        ...

    def written(self) -> int:
        """How many bytes of it there are."""
        ...


class Logs(Protocol):
    """Where the schedulers' log lines are to be had."""

    def logs(self, tier: str) -> Sequence[Mapping[str, Any]]:
        """Those of a tier, as objects."""
        ...


def _file_in(directory: Path) -> JobFile:
    """A job file that containers read and write: they run as the image's own user."""
    directory.parent.chmod(0o755)
    jobs = JobFile(directory, select())
    jobs.lines.chmod(0o666)
    return jobs


class Load:
    """Jobs that run since ``start``; ``fault`` notes what is done, ``judged`` says what came of it."""

    def __init__(
        self, directory: Path, *, jobs: Jobs | None = None, takeover: float = TAKEOVER_SECONDS
    ) -> None:
        self.directory = directory / "load"
        self.jobs = _file_in(self.directory) if jobs is None else jobs
        self._takeover = takeover
        self._faults: list[Fault] = []
        self._known: set[Violation] = set()
        self._judged = 0

    def start(self, stack: Logs, server: PublishedRedis) -> None:
        """The recorder listens from now on."""
        self._server = server
        self.stack = stack
        self.recorder = Recorder(server, [job.id for job in self.jobs.known()], self._takeover)
        self.recorder.start()

    def stop(self) -> None:
        """Nothing listens any more."""
        self.recorder.stop()

    @contextmanager
    def fault(
        self, kind: str, hits: str, *, recovery: float | None = None, overlaps: bool = False
    ) -> Iterator[None]:
        """Note what the block does."""
        began = time.time()
        yield
        self._faults.append(
            Fault(kind=kind, hits=hits, began=began, ended=time.time(), recovery=recovery, overlaps=overlaps)
        )

    def goes_on(self, seconds: float = 3.0) -> None:
        """Jobs are decided and run for so long again: the newest instant moves on and commands write lines."""
        job = self.jobs.known()[0].id
        decided, written = self.recorder.decided_through(job), self.jobs.written()
        wanted = time.time() + seconds

        def is_going_on() -> bool:
            newest = self.recorder.decided_through(job)
            return newest >= max(wanted, decided + 1) and self.jobs.written() > written

        eventually(is_going_on, seconds + 60, every=0.1)

    def latest_since(self, began: float) -> float:
        """How long after its instant the latest of the runs was queued that have been decided since."""
        late = (
            e.at - e.first
            for e in self.recorder.entries
            if e.at >= began and e.run and e.decision == "queued"
        )
        return max(late, default=0.0)

    def client(self) -> redis.Redis:
        """A client of the stack's Redis; the caller closes it."""
        return self._server.client()

    def pending(self) -> int:
        """How many runs are unfinished."""
        with self.client() as client:
            return len(self.recorder.sample(client))

    def judged(self, name: str) -> Verdict:
        """Every run has ended and everything so far is judged; the jobs go on afterwards."""
        history = self._history(self.drained())
        self.jobs.write()
        return self._verdict(name, history)

    def drained(self) -> float:
        """Nothing is queued any more and every run has ended; until when all instants had to be decided."""
        self.jobs.write()
        until = float(int(time.time()))
        eventually(lambda: self._is_decided(until), 2 * self._takeover + 10, every=0.1)
        self.jobs.write(suspended=True)
        seen = len(self.recorder.entries)
        eventually(lambda: any(e.reason == "suspended" for e in self.recorder.entries[seen:]), 30, every=0.1)
        eventually(lambda: not self.pending(), 3 * (TTL_SECONDS + 2) + 30, every=0.3)
        return until

    def final(self, name: str, until: float, counted: Counted) -> Verdict:
        """As ``judged``, once every scheduler has ended: then the counters can be held against the log."""
        history = replace(
            self._history(until), missed=counted.missed, through=counted.through, keys=counted.keys
        )
        return self._verdict(name, history)

    def _is_decided(self, until: float) -> bool:
        return all(
            max(self.recorder.decided_through(job.id), job.periods[0].at) + job.periods[0].seconds > until
            for job in self.jobs.known()
        )

    def _history(self, until: float) -> History:
        recorder = self.recorder
        noticed = sum("redis has lost" in line.get("event", "") for line in self.stack.logs("scheduler"))
        return History(
            jobs=tuple(self.jobs.known()),
            entries=tuple(recorder.entries),
            lines=self.jobs.read(),
            pushes=tuple(recorder.pushes),
            finals=tuple(recorder.finals.values()),
            sightings=recorder.sightings(),
            faults=(*self._faults, *recorder.stalls),
            until=until,
            ttl=TTL_SECONDS,
            unheard=tuple(recorder.unheard),
            loses_state=noticed > 0,
            noticed=noticed,
        )

    def _verdict(self, name: str, history: History) -> Verdict:
        history.save(self.directory / "history.json")
        found = [
            one for one in checker.check(history) if one.kind != "metrics" or history.through is not None
        ]
        fresh = tuple(one for one in dict.fromkeys(found) if one not in self._known)
        self._known.update(found)
        part = replace(history, entries=history.entries[self._judged :])
        self._judged = len(history.entries)
        late = [(seconds, excused) for _, seconds, excused in checker.late_entries(part)]
        quiet, around = (
            max((seconds for seconds, excused in late if excused is wanted), default=0.0)
            for wanted in (False, True)
        )
        counts = checker.counted(fresh)
        losses = f"{counts['lost']} lost, {counts['doubled']} doubled, {counts['limbo']} in limbo"
        if history.loses_state:
            losses += ", Redis lost acknowledged writes"
        return Verdict(
            fresh,
            f"{name}: {checker.occurrences(part)} occurrences, {losses}; "
            f"the latest decision {quiet:.2f} s late, {around:.2f} s around the fault",
        )
