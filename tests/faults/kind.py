"""A kind of fault: what is done and undone, what it takes for itself meanwhile, and what has to hold all the same."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.faults.schedule import Step

if TYPE_CHECKING:
    from tests.faults.cluster import Cluster
    from tests.faults.member import Member
    from tests.faults.nemesis import Nemesis


class NothingToHitError(Exception):
    """Just now there is nobody whom it could be done to."""


@dataclass(frozen=True, slots=True)
class Within:
    """How soon decisions are on time again: so many takeovers, and seconds, after the fault."""

    takeovers: int = 0
    seconds: float = 0.0

    def of(self, takeover: float) -> float:
        """In seconds, where a takeover takes so long."""
        return self.takeovers * takeover + self.seconds


UNTOUCHED = None
SOON = Within(seconds=2.0)
READ_AGAIN = Within(seconds=3.0)
TAKEOVER = Within(takeovers=1)
OUTAGE = Within(takeovers=1, seconds=2.0)


@dataclass(slots=True)
class Hit:
    """What an act has struck, which begins now.

    Attributes:
        recovery: Instead of the kind's, where it depends on what was met.
        returns: Who must be well again before the same things are hit anew.
    """

    recovery: Within | bool | None = False
    returns: Sequence["Member"] = ()
    began: float = field(default_factory=time.time)


Act = Callable[["Nemesis", Step], AbstractContextManager[Hit | None]]
"""Entering it does it, leaving heals. One that gives None has noted its faults itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind.

    Attributes:
        act: Does it and heals it.
        hits: As the history's Fault has it.
        takes: The things that nobody else touches meanwhile.
        lasts: How often the step's seconds it lasts; 0: it is over at once.
        at_most: It never lasts longer than that.
        recovery: By when decisions must be on time; None: deciding must not notice it.
        from_began: That counts from its beginning: others need not wait for its end.
        overlaps: An attempt may be lost by it, and the next one begin before its end, within the checker's bound.
        stops: As the history's Fault has it.
        blocks: The same.
        clock: The same.
        needs: Why it cannot be done here; empty where it can.
        foreign: Who thought of it before the harness did: a number of issue 14, or nothing.
    """

    act: Act
    hits: str
    takes: frozenset[str]
    lasts: float = 1.0
    at_most: float = float("inf")
    recovery: Within | None = UNTOUCHED
    from_began: bool = False
    overlaps: bool = False
    stops: bool = False
    blocks: bool = False
    clock: float = 0.0
    needs: Callable[["Cluster"], str] = lambda _: ""
    foreign: str = ""
