"""Notifications of what the leader alone knows: runs lost for good, and missed instants.

Missed instants are read from the decision logs, not from answers to our own calls: a run that waited for a
predecessor may be ended by a worker's script. Each entry has the epoch that it was written in, and the leader of that
epoch notifies of it, within ten seconds or so. What this does *not* guarantee: of what was decided in the last seconds
of a leader that died nobody is notified; it is logged and counted like everything else.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby

import structlog
from redis.exceptions import RedisError

from kuber_cron.common.jobs.job import Job
from kuber_cron.common.notifications.events import Missed, RunEnded
from kuber_cron.common.notifications.healthchecks import Ping, signal_of
from kuber_cron.common.notifications.sender import NotificationSender
from kuber_cron.common.records import skip_reason
from kuber_cron.common.records.decision_log import LogEntry
from kuber_cron.common.records.parsing import all_fields, text
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.time_format import parse_or_none
from kuber_cron.scheduler.decisions.planner import CatalogEntry
from kuber_cron.scheduler.election.term import Term

log = structlog.get_logger(__name__)

_ENTRIES = 200  # of one log at a time: more than a second's worth for any schedule
_BATCH = 100  # logs read in one round trip
_WISHED = frozenset({"replaced", "stopped"})  # outcomes that somebody wanted
_MISSED = frozenset({"skipped", "ended", "error"})
_QUEUED = frozenset({"queued", "released"})
_FACTS = ("attempt", "at", "started_at", "worker_name", "stop")


class SchedulerNotifications:
    """Notifies of what one replica finds while it leads; of nothing without a sender."""

    def __init__(self, sender: NotificationSender | None, store: Store) -> None:
        self._sender = sender
        self._store = store
        self._seen: Mapping[tuple[str, str], int] = {}
        self._compared: Mapping[tuple[str, str], int] | None = None  # as it was handed over
        self._epochs: set[int] = set()
        self._read_to: dict[str, str] = {}  # job → the newest entry of its log that has been read

    def notify_lost(self, run: str, job: Job, term: Term, now: datetime) -> None:
        """Notify of a run that has failed for good because its worker was lost."""
        sender = self._sender
        if sender is None or not (job.ping or sender.is_wanted(job.notify, "failure")):
            return
        try:
            found = self._store.client.hmget(self._store.keys.run(run), *_FACTS)
            attempt, at, started_at, worker, stop = (text(value) for value in found)
        except RedisError:
            attempt = at = started_at = worker = stop = ""
        event = RunEnded(
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
        sender.notify(job.notify, event)
        signal = signal_of(event)
        if job.ping and signal is not None:
            sender.ping(Ping(url=job.ping, job=job.id, run=run, signal=signal))

    def notify_missed(
        self, missed: Mapping[tuple[str, str], int], term: Term, entries: Mapping[str, CatalogEntry]
    ) -> None:
        """Notify of the instants that are newly missed, given all counts by job and reason.

        Raises:
            redis.RedisError: Redis did not answer; what is new is found again the next time.
        """
        sender = self._sender
        if sender is None:
            return
        self._epochs.add(term.epoch)
        if missed is self._compared:
            return
        grown = {
            job
            for (job, reason), count in missed.items()
            if not _is_wished(reason) and self._seen.get((job, reason)) != count
        }
        wanting = [
            entry.job
            for entry in (entries[job] for job in sorted(grown & entries.keys()))
            if sender.is_wanted(entry.job.notify, "missed")
        ]
        for start in range(0, len(wanting), _BATCH):
            jobs = wanting[start : start + _BATCH]
            for job, entries_of_job in zip(jobs, self._new_entries(jobs), strict=True):
                for event in streaks(job, entries_of_job, self._epochs, leader=term.holder):
                    sender.notify(job.notify, event)
        self._seen, self._compared = dict(missed), missed

    def _new_entries(self, jobs: Sequence[Job]) -> Iterator[list[LogEntry]]:
        """Yield the entries of each job's log that were not read yet, oldest first."""
        with self._store.client.pipeline(transaction=False) as pipe:
            for job in jobs:
                since = f"({self._read_to[job.id]}" if job.id in self._read_to else "-"
                pipe.xrevrange(self._store.keys.log(job.id), "+", since, count=_ENTRIES)
            answers = pipe.execute(raise_on_error=False)
        for job, answer in zip(jobs, answers, strict=True):
            if isinstance(answer, RedisError):
                log.warning("reading a decision log failed", job=job.id, error=str(answer))
                yield []
                continue
            if answer:
                self._read_to[job.id] = text(answer[0][0])
            found = (
                LogEntry.from_fields(text(entry), all_fields(fields)) for entry, fields in reversed(answer)
            )
            yield [one for one in found if one is not None]


def streaks(
    job: Job, entries: Iterable[LogEntry], epochs: Collection[int], *, leader: str
) -> Iterator[Missed]:
    """Yield one event for entries of these epochs that follow one another with one reason."""
    ours = (entry for entry in entries if entry.epoch in epochs and _concerns_instants(entry))
    for reason, found in groupby(ours, _missed_reason):
        if reason and not _is_wished(reason):
            streak = list(found)
            yield Missed(
                job=job.id,
                team=job.team,
                description=job.description,
                reason=reason,
                first_at=min(one.first_at for one in streak),
                last_at=max(one.last_at for one in streak),
                count=sum(one.count for one in streak),
                leader=leader,
            )


def _concerns_instants(entry: LogEntry) -> bool:
    """Return True if the entry is of a missed or a queued instant; not if it is of a manual run, or of one held."""
    return entry.decision in _MISSED | _QUEUED and not entry.is_manual


def _missed_reason(entry: LogEntry) -> str:
    """Return why the instant was missed, empty where it was queued, which ends a streak."""
    # An error's reason is Redis' own words, which are for the log.
    return entry.decision if entry.decision == "error" else entry.reason if entry.decision in _MISSED else ""


def _is_wished(reason: str) -> bool:
    return reason in _WISHED or skip_reason.is_wished(reason)
