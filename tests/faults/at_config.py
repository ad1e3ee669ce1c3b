"""What is done to the job files."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.kind import READ_AGAIN, Act, Hit, Within
from tests.faults.nemesis import Nemesis
from tests.faults.schedule import Step

# All schedulers have read it before it changes again.
_READ_SECONDS = 3.0


@contextmanager
def broken(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
    """The file holds an error, and half of the jobs."""
    before = _pids(nemesis)
    hit = Hit()
    nemesis.cluster.jobs.break_it()
    yield hit
    nemesis.cluster.jobs.write()
    hit.recovery = _of_those_who_started(nemesis, before)


@contextmanager
def changed(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
    """One job has another period."""
    hit = Hit()
    nemesis.cluster.jobs.edit("edited", 2 if step.pick % 2 else 1)
    yield hit
    nemesis.wait(_READ_SECONDS)


@contextmanager
def shrinking(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
    """Some jobs are gone because it is meant so, and come back."""
    hit = Hit()
    nemesis.cluster.jobs.write(without=["gone", "tick-01", "tick-02"])
    yield hit
    nemesis.cluster.jobs.write()
    nemesis.wait(_READ_SECONDS)


def vanished(*, with_directory: bool) -> Act:
    """A mount is away for a while: an empty directory, or none at all. Nobody means the jobs to be gone."""

    @contextmanager
    def act(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
        before = _pids(nemesis)
        hit = Hit()
        nemesis.cluster.jobs.vanish(with_directory=with_directory)
        yield hit
        nemesis.cluster.jobs.come_back()
        hit.recovery = _of_those_who_started(nemesis, before)

    return act


def _pids(nemesis: Nemesis) -> set[int]:
    return {member.pid for member in nemesis.cluster.of("scheduler")}


def _of_those_who_started(nemesis: Nemesis, before: set[int]) -> Within | None:
    """Who was there before has its last good jobs; a scheduler that starts meanwhile has none to keep."""
    return READ_AGAIN if _pids(nemesis) - before else None
