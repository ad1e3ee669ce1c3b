"""The records of schedulers, workers, queues and the server, as each publishes itself in Redis. Pure.

Nobody decides anything by it: who leads is the fence's matter, and whether a worker is alive that of its heartbeats.
"""

import json
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Literal

from kuber_cron.common.records.parsing import Fields, instant, number
from kuber_cron.common.time_format import iso, parse

SEEN_SECONDS = 30.0
"""A scheduler publishes its entry every few seconds; one whose entry is older is gone, or cut off from Redis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """Who leads, as the fence has it.

    Attributes:
        holder: The identity of whoever led last.
        epoch: The term's number; 0 where nobody has ever led.
        seen_at: When it last wrote to Redis; null for never.
        is_alive: Whether there is a leader now.
        election: ``kubernetes`` or ``redis``.
    """

    holder: str = ""
    epoch: int = 0
    seen_at: datetime | None = None
    is_alive: bool = False
    election: Literal["kubernetes", "redis"] = "redis"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerInfo:
    """One replica of the scheduler, by its own word.

    Attributes:
        holder: Its identity in elections and in the logs of decisions: host, and what is random.
        version: Its release of Kuber-Cron.
        started_at: When it began.
        seen_at: When it published this, by Redis' time.
        epoch: The epoch of the term that it leads in; null for a standby.
        jobs: How many jobs it has loaded.
        is_valid: Whether its job files are without errors now; while they are not, the last good jobs run.
        problem: The first error in its job files, or null.
        elected_by: Where it contests leadership, in words; null from a release that does not say.
        late_seconds: The largest lateness of a decision in its last minute or two, null where there was none.
    """

    holder: str
    version: str = ""
    started_at: datetime | None = None
    seen_at: datetime
    epoch: int | None = None
    jobs: int = 0
    is_valid: bool = True
    problem: str | None = None
    elected_by: str | None = None
    late_seconds: float | None = None

    def is_alive(self, now: datetime) -> bool:
        """Return True if the scheduler published its entry lately."""
        return (now - self.seen_at).total_seconds() < SEEN_SECONDS

    def to_text(self) -> str:
        """Return the entry as Redis holds it: JSON."""
        values = asdict(self)
        for name in ("started_at", "seen_at"):
            values[name] = None if values[name] is None else iso(values[name])
        return json.dumps(values, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> "SchedulerInfo | None":
        """Return the entry of this text, without fields of newer releases; None where it is unreadable."""
        try:
            values: dict[str, Any] = {
                name: value for name, value in json.loads(text).items() if name in _NAMES
            }
            for name in ("started_at", "seen_at"):
                values[name] = parse(values[name]) if values.get(name) else None
            return cls(**values) if values["seen_at"] is not None else None
        except (ValueError, TypeError, AttributeError):
            return None


_NAMES = frozenset(each.name for each in fields(SchedulerInfo))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """One worker.

    Attributes:
        worker: Its name.
        version: Its release of Kuber-Cron; null where it has not published one, as RQ's own workers.
        host: Its machine or pod.
        pid: Its process there.
        state: ``busy``, ``idle``, ``draining`` (it starts nothing new) or ``lost`` (its heartbeats have ceased).
        queues: What it takes from, in its order of preference.
        slots: How many commands it may run at once; null where it has not published them.
        running: How many run.
        claimed: How many runs it has claimed and not yet started.
        succeeded: How many attempts have succeeded here.
        failed: How many have not.
        started_at: When it began.
        seen_at: Its last heartbeat.
        problem: Why it starts nothing though it lives, in its own words, or null.
    """

    worker: str
    version: str | None = None
    host: str | None = None
    pid: int | None = None
    state: Literal["busy", "idle", "draining", "lost"] = "idle"
    queues: tuple[str, ...] = ()
    slots: int | None = None
    running: int = 0
    claimed: int = 0
    succeeded: int = 0
    failed: int = 0
    started_at: datetime | None = None
    seen_at: datetime | None = None
    problem: str | None = None

    @classmethod
    def from_fields(
        cls, name: str, found: Fields, *, is_alive: bool, running: int, claimed: int
    ) -> "WorkerInfo":
        """Return the worker of these fields of RQ's hash."""
        is_draining = found.get("draining") == "1"
        busy: Literal["busy", "idle"] = "busy" if running else "idle"
        return cls(
            worker=name,
            version=found.get("kuber_cron_version"),
            host=found.get("hostname"),
            pid=number(found["pid"]) if "pid" in found else None,
            state="lost" if not is_alive else "draining" if is_draining else busy,
            queues=tuple(queue for queue in found.get("queues", "").split(",") if queue),
            slots=number(found["slots"]) if "slots" in found else None,
            running=running,
            claimed=claimed,
            succeeded=number(found.get("successful_job_count")),
            failed=number(found.get("failed_job_count")),
            started_at=instant(found.get("birth")),
            seen_at=instant(found.get("last_heartbeat")),
            problem=found.get("problem") or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueInfo:
    """One queue. Low priority has a list of its own beside each queue, ``<queue>-low``.

    Attributes:
        queue: Its name.
        queued: How many runs wait for a worker.
        oldest_queued_at: When the first of them was queued; null where none waits.
        running: How many run.
        waiting: How many wait between two attempts.
        held: How many are held: for a group, a predecessor or an earlier run.
        workers: How many workers serve it.
        kept: How many ended runs of it are kept.
        kept_failed: How many of those have failed, been stopped or replaced while they ran.
    """

    queue: str
    queued: int = 0
    oldest_queued_at: datetime | None = None
    running: int = 0
    waiting: int = 0
    held: int = 0
    workers: int = 0
    kept: int = 0
    kept_failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """Redis.

    Attributes:
        address: Where it is.
        version: Its release; null where INFO is closed.
        memory_bytes: What it uses.
        memory_max_bytes: What it may use; 0 for no limit of its own.
        lost_at: When a leader last found that it had lost acknowledged writes; null for never.
    """

    address: str
    version: str | None = None
    memory_bytes: int | None = None
    memory_max_bytes: int | None = None
    lost_at: datetime | None = None
