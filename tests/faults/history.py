"""What a fault run leaves behind: plain values, taken from outside the code under test, that the checker judges.

Where each comes from: ``Entry`` from the decision log's streams, tailed while they grow; ``Line`` from the file
that the commands themselves append to; ``Push`` from the server's MONITOR; ``Final`` and ``Sighting`` from one
script that reads every run at one instant; ``Fault`` from the nemesis; ``Job`` from the harness' own job file.
Instants are seconds since the epoch, as floats where they were measured. All processes share one machine and
so one wall clock; commands tell CLOCK_BOOTTIME, which the recorder has converted.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

DECIDING = ("queued", "held", "skipped", "known")
"""The decisions that decide instants; ``moved`` and ``dropped`` move a cursor, ``released`` and ``ended`` tell of a run."""

BY_THE_LEADER = (*DECIDING, "moved", "dropped", "error")
"""What the log's ``by`` names the epoch's holder for; workers and housekeeping write the rest."""

STALLED = "machine stalled"
"""The kind of fault that nobody did: the machine itself stood still for a while."""

UNFINISHED = ("queued", "started", "scheduled", "deferred")


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be.

    Attributes:
        kind: ``lost``, ``doubled`` or ``limbo``, which the last line counts; else the invariant's own name.
        what: The sentence for people.
    """

    kind: str
    what: str


def stamp(at: float) -> str:
    """The instant as run ids have it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")


Loss = Literal["lost", "doubled", "limbo"]
LOSSES: tuple[Loss, ...] = get_args(Loss)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """From ``at`` on the harness' job file gave the job one run each ``seconds``."""

    at: float
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the checker knows of a job of the harness: its instants are multiples of its period, by arithmetic.

    Attributes:
        lasts: The seconds that its command takes, where they count.
        out: When the file did not have it because it was meant so.
    """

    id: str
    periods: tuple[Period, ...]
    retries: int = 0
    max_lost: int = 3
    concurrency: str = "allow"
    group: str = ""
    group_limit: int = 1
    after: tuple[str, ...] = ()
    catchup_seconds: float = 60.0
    fails: bool = False
    lasts: float = 0.0
    out: tuple["Span", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of a job's decision log.

    Attributes:
        at: The stream id's, with ``seq``: Redis' own time. It never falls, though Redis' clock may.
        seen: When the recorder heard of it, by the machine's clock; 0 where it does not know.
    """

    job: str
    at: float
    seq: int
    decision: str
    first: int
    last: int
    count: int = 1
    reason: str = ""
    run: str = ""
    epoch: int
    by: str
    seen: float = 0.0

    @property
    def told_at(self) -> float:
        """When it was written, by the machine's clock."""
        return self.seen or self.at


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line that a command wrote of itself; ``code`` is None where it starts, and where it only says that it lives."""

    job: str
    run: str
    attempt: int
    pid: int
    at: float
    code: int | None = None
    beats: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A run's id was pushed to a queue.

    ``returned``: it had been claimed and came back without an attempt: its worker died or left, or its group
    had no room and has some now.
    """

    run: str
    at: float
    returned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """How Redis has a run that is over."""

    run: str
    job: str
    status: str
    outcome: str
    attempt: int = 0
    retried: int = 0
    lost: int = 0
    interrupted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """An unfinished run and every place that it stood in at one instant."""

    at: float
    run: str
    status: str
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What the nemesis did.

    Attributes:
        recovery: Within so many seconds of its end decisions must be on time again; None: it does not
            touch deciding at all.
        hits: ``leader``, ``worker``, ``redis``, ``api``, ``config``, ``command``, ``standby``, ``machine``, ``files``.
        blocks: While it lasts nobody else can begin to lead, and a leader's recovery waits for its end.
        overlaps: Two attempts of one run may overlap around it: a worker was paused or cut off.
        stops: While it lasts a worker can do nothing at all, so nobody ends what it runs.
        clock: So many seconds Redis' wall clock was ahead while it lasted; behind, where negative.
    """

    kind: str
    hits: str
    began: float
    ended: float
    recovery: float | None = None
    overlaps: bool = False
    blocks: bool = False
    stops: bool = False
    clock: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A run that somebody asked for.

    Attributes:
        mark: What the id of its run ends in.
        verdict: ``queued`` or ``held``; ``refused`` or ``withdrawn``: there is none; ``unheard``: either.
        run: The run's id, where there is one.
    """

    job: str
    at: float
    mark: str
    verdict: str
    run: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time."""

    began: float
    ended: float


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One run of the harness.

    Attributes:
        until: Every instant up to here had to be decided.
        unheard: When MONITOR was not connected: a run that lived then may have been pushed unheard.
        missed: The counters ``job|reason`` that the leader exports.
        exported: The same as the leader's /metrics said before the end; None where nobody answered.
        through: The fence's own count of decided instants; None where it was not read.
        keys: The keys that never expire, at the end.
        processes: Command lines of processes that outlived the cluster.
        descriptors: For each process that lived to the end, open descriptors early and late.
        loses_state: Redis was made to forget: losses must be noticed, and are not counted as lost.
        noticed: How often the schedulers said that Redis has lost writes.
    """

    jobs: tuple[Job, ...]
    entries: tuple[Entry, ...]
    lines: tuple[Line, ...] = ()
    pushes: tuple[Push, ...] = ()
    finals: tuple[Final, ...] = ()
    sightings: tuple[Sighting, ...] = ()
    faults: tuple[Fault, ...] = ()
    asked: tuple[Asked, ...] = ()
    until: float
    ttl: float = 4.0
    unheard: tuple[Span, ...] = ()
    missed: Mapping[str, int] = field(default_factory=dict)
    exported: Mapping[str, int] | None = None
    through: int | None = None
    keys: tuple[str, ...] = ()
    processes: tuple[str, ...] = ()
    descriptors: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    loses_state: bool = False
    noticed: int = 0

    def save(self, path: Path) -> None:
        """Written as JSON, for a look at it later: ``python -m tests.faults --check FILE``."""
        path.write_text(json.dumps(asdict(self), indent=None))

    @classmethod
    def load(cls, path: Path) -> "History":
        """The history that ``save`` wrote."""
        values = json.loads(path.read_text())
        for name, kind in _PARTS.items():
            values[name] = tuple(_made(kind, one) for one in values[name])
        values["keys"], values["processes"] = tuple(values["keys"]), tuple(values["processes"])
        values["descriptors"] = {name: tuple(pair) for name, pair in values["descriptors"].items()}
        return cls(**values)


_PARTS: dict[str, type] = {
    "jobs": Job, "entries": Entry, "lines": Line, "pushes": Push, "finals": Final, "sightings": Sighting,
    "faults": Fault, "asked": Asked, "unheard": Span,
}  # fmt: skip


def _made(kind: type, values: dict[str, Any]) -> Any:
    if kind is Job:
        values["periods"] = tuple(Period(**period) for period in values["periods"])
        values["out"] = tuple(Span(**span) for span in values.get("out", ()))
    # What an older harness did not write down is as it was then.
    return kind(**{f.name: _frozen(values[f.name]) for f in fields(kind) if f.name in values})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
