"""Dependencies among jobs: who waits for whom, in what order, and how many a group lets run.

Pure. A dependent's occurrence is decided after its predecessors' of the same instant (spec: reliability.md §4,
Chains). Two things make sure of it: it is due no earlier than they are, and within one turn it comes after them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from kuber_cron.common.jobs.job import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """One job's place among the others.

    Attributes:
        rank: 0 without predecessors, else one more than the largest of theirs.
        watched: Another job comes after this one.
        delay: The job's own delay, or the longest of its predecessors' where that is longer.
        group: Its group's name and how many of it may run at once: the smallest that its jobs give.
    """

    rank: int = 0
    watched: bool = False
    delay: timedelta = timedelta(0)
    group: tuple[str, int] | None = None

    @property
    def is_alone(self) -> bool:
        """No other job has anything to do with it."""
        return self.rank == 0 and not self.watched and self.group is None


def of(jobs: Mapping[str, Job], delays: Mapping[str, timedelta]) -> dict[str, Dependencies]:
    """Return every job's relations. The jobs are as the parsers give them: predecessors exist, and form no circle."""
    watched = {name for job in jobs.values() for name in job.after}
    limits: dict[str, int] = {}
    for job in jobs.values():
        if job.group is not None:
            name, limit = group_of(job.group)
            limits[name] = min(limit, limits.get(name, limit))
    ranks: dict[str, int] = {}
    longest = dict(delays)
    for name in _in_order(jobs):
        before = [other for other in jobs[name].after if other in jobs]
        ranks[name] = max((ranks.get(other, 0) + 1 for other in before), default=0)
        longest[name] = max([longest[name], *(longest[other] for other in before)])
    return {
        name: Dependencies(
            rank=ranks[name],
            watched=name in watched,
            delay=longest[name],
            group=None if job.group is None else (group_of(job.group)[0], limits[group_of(job.group)[0]]),
        )
        for name, job in jobs.items()
    }


def group_of(text: str) -> tuple[str, int]:
    """Return ``name`` or ``name:N`` as name and limit; without a number, 1."""
    name, _, limit = text.partition(":")
    return name, int(limit or 1)


def _in_order(jobs: Mapping[str, Job]) -> list[str]:
    """Return the jobs' names, each after its predecessors. With a stack of its own: chains may be 10,000 jobs long."""
    ordered: list[str] = []
    begun: set[str] = set()
    for root in jobs:
        stack = [(root, False)]
        while stack:
            name, is_ready = stack.pop()
            if is_ready:
                ordered.append(name)
            elif name not in begun:
                begun.add(name)
                stack.append((name, True))
                stack.extend((other, False) for other in jobs[name].after if other in jobs)
    return ordered
