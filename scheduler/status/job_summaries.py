"""Job summaries in Redis: kept as the files have the jobs by the leader's maintenance loop, some a round.

All are published anew in each term, and what has changed after each change of the files. A job that has left the files
keeps its summary until its cursor is dropped, because until then it can come back, and people ask about it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from kuber_cron.common.jobs.job import Job, timing_job
from kuber_cron.common.records.job_summary import JobSummary
from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs.payload import origin_of
from kuber_cron.scheduler.decisions.catalog import Catalog
from kuber_cron.scheduler.decisions.planner import CatalogEntry
from kuber_cron.scheduler.decisions.script_replies import accepted
from kuber_cron.scheduler.election.term import Term

_SLICE = (
    1000  # summaries in one round, about 2 ms of Redis, so that ten thousand are there within ten seconds
)
_AGAIN_ROUNDS = 30  # jobs that have left the files but not yet their cursors are tried again so often


class JobSummaries:
    """The summaries that this replica has published in this term. Owned by the maintenance loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._epoch = 0
        self._entries: Mapping[str, CatalogEntry] = {}
        self._left: list[str] = []  # jobs of ``_entries`` whose summaries are still to be published
        self._gone: list[str] = []
        self._rounds = 0

    def publish_some(self, term: Term, catalog: Catalog) -> bool:
        """Publish the next thousand summaries; return True once all are as the catalog has its jobs.

        Raises:
            FencedError, StateLostError: The term is over.
            redis.RedisError: Redis did not answer, or refused; the same ones are next.
        """
        if term.epoch != self._epoch or catalog.entries is not self._entries:
            self._compare(term, catalog)
        if self._left:
            self._send(term, list(summaries_of(catalog, self._left[-_SLICE:])), ())
            del self._left[-_SLICE:]
            return False
        if self._gone and self._rounds % _AGAIN_ROUNDS == 0:
            parts = [self._gone[start : start + _SLICE] for start in range(0, len(self._gone), _SLICE)]
            self._gone = [job for part in parts for job in self._send(term, (), part)]
        self._rounds += 1
        return True

    def _compare(self, term: Term, catalog: Catalog) -> None:
        """Find the summaries to publish and to delete: all in a new term, else those of jobs that are not as they were."""
        if term.epoch != self._epoch:
            known = self._store.client.hkeys(self._store.keys.job_summaries)
            self._entries, self._left = {}, []
            self._gone = [text(job) for job in known]
        before, left = self._entries, set(self._left)
        gone = {*self._gone, *before} - catalog.entries.keys()
        # By which job's times a dependent runs may have changed though the job itself has not.
        self._left = [
            job
            for job, entry in catalog.entries.items()
            if before.get(job) is not entry or entry.job.after or job in left
        ]
        self._left.reverse()
        self._gone, self._rounds = sorted(gone), 0
        self._epoch, self._entries = term.epoch, catalog.entries

    def _send(
        self, term: Term, summaries: Sequence[tuple[str, JobSummary]], gone: Sequence[str]
    ) -> list[str]:
        """Publish these summaries and delete those of ``gone``; return which of the latter have to stay for now."""
        values = [part for job, summary in summaries for part in (job, summary.to_text())]
        reply = self._store.call(
            "publish_job_summaries", term.epoch, term.lease, len(summaries), *values, *gone
        )
        return accepted(reply, term)


def summaries_of(catalog: Catalog, names: Iterable[str]) -> Iterator[tuple[str, JobSummary]]:
    """Yield the summaries of these jobs, each with its name."""

    def named(name: str) -> Job | None:
        entry = catalog.entries.get(name)
        return None if entry is None else entry.job

    for name in names:
        entry = catalog.entries[name]
        job = entry.job
        timed = timing_job(job, named)
        yield (
            name,
            JobSummary(
                schedule=job.schedule,
                timezone=entry.schedule.timezone,
                timed_by="" if timed.id == name else timed.id,
                delay=entry.delay.total_seconds(),
                queue=origin_of(job),
                team=job.team,
                description=job.description,
                suspend=job.suspend,
                concurrency=job.concurrency,
                max_running=job.max_running,
                group=job.group,
                after=tuple(job.after),
                deadline=job.deadline,
                catchup=job.catchup,
                not_before=job.not_before,
                not_after=job.not_after,
                source=f"{job.source}:{job.line}",
            ),
        )
