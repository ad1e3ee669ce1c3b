"""Telling: what the leader alone knows and people are to be notified of: runs lost for good, and missed instants.

Missed instants are read from the decision logs, not from answers to our own calls: a run that waited for a
predecessor may be ended by a worker's script. Each entry has the epoch that it was written in, and the leader of that
epoch tells it, within a look or two. What this does *not* guarantee: what was decided in the last seconds of a leader
that died is not told; it is logged and counted like everything else.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter

import structlog
from redis.exceptions import RedisError

from kuber_cron.common.jobs.job import Job
from kuber_cron.common.notifications import events
from kuber_cron.common.notifications.events import Missed, Ping, RunEnded
from kuber_cron.common.notifications.sender import NotificationSender
from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs.run_id import is_manual_run
from kuber_cron.common.time_format import parse_or_none
from kuber_cron.scheduler.decisions.planner import CatalogEntry
from kuber_cron.scheduler.election.term import Term

log = structlog.get_logger(__name__)

_LOOK = 200  # entries of one log in one look: more than a second's worth for any schedule
_BATCH = 100  # logs read in one round trip
_UNTOLD = frozenset({"suspended", "replaced", "stopped"})  # somebody's wish, not a miss
_MISSED = frozenset({"skipped", "ended", "error"})
_QUEUED = frozenset({"queued", "released"})
_FACTS = ("attempt", "at", "started_at", "worker_name", "stop")


class SchedulerNotifications:
    """Tells what one replica finds while it leads. Without a messenger nothing is told."""

    def __init__(self, messenger: NotificationSender | None, store: Store) -> None:
        self._messenger = messenger
        self._store = store
        self._seen: Mapping[tuple[str, str], int] = {}
        self._looked_at: Mapping[tuple[str, str], int] | None = None  # as it was handed over
        self._epochs: set[int] = set()
        self._told: dict[str, str] = {}  # job → the newest entry of its log that has been looked at

    def lost(self, run: str, job: Job, term: Term, now: datetime) -> None:
        """A run has failed for good, its worker being lost."""
        messenger = self._messenger
        if messenger is None or not (job.ping or messenger.wants(job.notify, "failure")):
            return
        try:
            found = self._store.client.hmget(self._store.keys.run(run), *_FACTS)
            attempt, at, started_at, worker, stop = (text(value) for value in found)
        except RedisError:
            attempt = at = started_at = worker = stop = ""
        notice = RunEnded(
            job=job.id,
            team=job.team,
            description=job.description,
            run=run,
            attempt=int(attempt) if attempt.isdigit() else 1,
            outcome="replaced" if stop == "replaced" else "lost",
            scheduled_at=datetime.fromtimestamp(int(at), UTC) if at.isdigit() else None,
            started_at=parse_or_none(started_at),
            ended_at=now,
            worker=worker or None,
            leader=term.holder,
        )
        messenger.tell(job.notify, notice)
        sign = events.sign_of(notice)
        if job.ping and sign is not None:
            messenger.ping(Ping(url=job.ping, job=job.id, run=run, sign=sign))

    def observed(
        self, missed: Mapping[tuple[str, str], int], term: Term, entries: Mapping[str, CatalogEntry]
    ) -> None:
        """So many instants have been missed, by job and reason: those that are new are told.

        Raises:
            redis.RedisError: Redis did not answer; what is new is looked for again the next time.
        """
        messenger = self._messenger
        if messenger is None:
            return
        self._epochs.add(term.epoch)
        if missed is self._looked_at:
            return
        grown = {
            job
            for (job, reason), count in missed.items()
            if reason not in _UNTOLD and self._seen.get((job, reason)) != count
        }
        wanting = [
            entry.job
            for entry in (entries[job] for job in sorted(grown & entries.keys()))
            if messenger.wants(entry.job.notify, "missed")
        ]
        for start in range(0, len(wanting), _BATCH):
            jobs = wanting[start : start + _BATCH]
            for job, found in zip(jobs, self._news(jobs), strict=True):
                for notice in streaks(job, found, self._epochs, leader=term.holder):
                    messenger.tell(job.notify, notice)
        self._seen, self._looked_at = dict(missed), missed

    def _news(self, jobs: Sequence[Job]) -> Iterator[list["Logged"]]:
        """What each job's log has that was not looked at yet, oldest first."""
        with self._store.client.pipeline(transaction=False) as pipe:
            for job in jobs:
                since = f"({self._told[job.id]}" if job.id in self._told else "-"
                pipe.xrevrange(self._store.keys.log(job.id), "+", since, count=_LOOK)
            answers = pipe.execute(raise_on_error=False)
        for job, answer in zip(jobs, answers, strict=True):
            if isinstance(answer, RedisError):
                log.warning("a decision log cannot be read", job=job.id, error=str(answer))
                yield []
                continue
            if answer:
                self._told[job.id] = text(answer[0][0])
            found = (Logged.from_fields(fields) for _, fields in reversed(answer))
            yield [one for one in found if one is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """One entry of a decision log. ``reason`` is empty where its instant was queued, which ends a streak."""

    reason: str
    first: int
    last: int
    count: int
    epoch: int

    @classmethod
    def from_fields(cls, fields: Mapping[bytes, bytes]) -> "Logged | None":
        """The entry as the scripts write it.

        None for one that says neither, as that a run is held, and for one about a run by hand, which is no instant.
        """
        told = {text(name): text(value) for name, value in fields.items()}
        decision = told.get("decision", "")
        if decision not in _MISSED | _QUEUED or is_manual_run(told.get("run", "")):
            return None
        first, last, count, epoch = (
            int(float(told.get(name) or 0)) for name in ("first", "last", "count", "epoch")
        )
        # An error's reason is Redis' own words, which are for the log.
        reason = decision if decision == "error" else told.get("reason", "")
        return cls(
            reason=reason if decision in _MISSED else "", first=first, last=last, count=count, epoch=epoch
        )


def streaks(job: Job, entries: Iterable[Logged], epochs: Collection[int], *, leader: str) -> Iterator[Missed]:
    """Entries that follow one another with one reason are one notice."""
    ours = [entry for entry in entries if entry.epoch in epochs]
    for reason, found in groupby(ours, attrgetter("reason")):
        if reason and reason not in _UNTOLD:
            streak = list(found)
            yield Missed(
                job=job.id,
                team=job.team,
                description=job.description,
                reason=reason,
                first_at=datetime.fromtimestamp(min(one.first for one in streak), UTC),
                last_at=datetime.fromtimestamp(max(one.last for one in streak), UTC),
                count=sum(one.count for one in streak),
                leader=leader,
            )
