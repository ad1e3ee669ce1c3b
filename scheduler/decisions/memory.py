"""What a leader remembers from one term to the next, to notice what Redis may have lost (spec: reliability.md §8)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kuber_cron.scheduler.election.term import Term


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process remembers of its last term, to compare Redis with at the start of the next.

    It counts only where nobody else has led in between, who may have dealt with a loss and begun anew.
    """

    epoch: int = 0
    cursors: Mapping[str, str] = field(default_factory=dict)
    through: int = 0

    def at(self, term: Term) -> "Memory":
        """What of it counts in this term: all or nothing."""
        return self if self.epoch in {term.epoch, term.epoch - 1} else Memory()
