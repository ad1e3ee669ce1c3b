"""The register: the jobs' cards in Redis, kept as the files have them by the leader's housekeeping, a slice a round.

It is told anew in each term and after each change of the files. A job that has left the files keeps its card until its
cursor is dropped, for until then it can come back, and people ask about it.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from kuber_cron.common.cards import Card
from kuber_cron.common.runs import origin_of
from kuber_cron.common.store import Store, text
from kuber_cron.scheduler.catalog import Catalog
from kuber_cron.scheduler.dispatch import refuse
from kuber_cron.scheduler.planner import timing_job
from kuber_cron.scheduler.terms import Term

_SLICE = 1000  # cards in one round, about 2 ms of Redis, so that ten thousand are there within ten seconds
_AGAIN_ROUNDS = 30  # jobs that have left the files but not yet their cursors are looked at again so often


class Register:
    """What this replica has told of the jobs in this term. Owned by the housekeeping's thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._told = (0, 0)  # the epoch, and the version of the catalog
        self._cards: Iterator[tuple[str, Card]] = iter(())
        self._next: list[tuple[str, Card]] = []
        self._gone: list[str] = []
        self._rounds = 0

    def after_a_slice(self, term: Term, catalog: Catalog) -> bool:
        """Whether all cards are as the catalog has its jobs; the next thousand are laid first.

        Raises:
            FencedError, StateLostError: The term is over.
            redis.RedisError: Redis did not answer, or refused; the same slice is next.
        """
        if (term.epoch, catalog.version) != self._told:
            known = self._store.client.hkeys(self._store.keys.own("jobs"))
            self._gone = sorted({text(job) for job in known} - catalog.entries.keys())
            self._cards, self._next, self._rounds = cards_of(catalog), [], 0
            self._told = (term.epoch, catalog.version)
        self._next = self._next or list(islice(self._cards, _SLICE))
        if self._next:
            self._send(term, self._next, ())
            self._next = []
            return False
        if self._gone and self._rounds % _AGAIN_ROUNDS == 0:
            self._gone = self._send(term, (), self._gone)
        self._rounds += 1
        return True

    def _send(self, term: Term, cards: Sequence[tuple[str, Card]], gone: Sequence[str]) -> list[str]:
        """Lay these cards and take those away; which of the latter have to stay for now."""
        told = [part for job, card in cards for part in (job, card.to_text())]
        reply = self._store.call("register", term.epoch, term.lease, len(cards), *told, *gone)
        words = [text(part) for part in reply]
        refuse(words, term)
        return words[1:]


def cards_of(catalog: Catalog) -> Iterator[tuple[str, Card]]:
    """Each job's card."""
    jobs = {name: entry.job for name, entry in catalog.entries.items()}
    for name, entry in catalog.entries.items():
        job = entry.job
        timed = timing_job(job, jobs)
        yield (
            name,
            Card(
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
