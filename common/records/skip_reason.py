"""Skip reasons: why an occurrence is not queued. The one list of them.

The planner and the deciding scripts choose a reason; metrics, notifications, ``why`` and documents take it as it is. A new
one is a line here and the place that chooses it (and docs/metrics.md, docs/semantics.md). A test holds that the scripts
spell no other. Pure.
"""

from enum import StrEnum
from typing import Self


class SkipReason(StrEnum):
    """A skip reason: its word in Redis, in logs and metrics, and its sentence for people.

    Attributes:
        sentence: As ``why`` puts it where it has no details to add.
        is_wished: Somebody wanted it so: it is neither logged as a warning nor notified of.
    """

    sentence: str
    is_wished: bool

    def __new__(cls, word: str, sentence: str = "", is_wished: bool = False) -> Self:  # noqa: FBT001, FBT002 - members are tuples
        """A member is its word; what else belongs to it are attributes."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.sentence = sentence
        member.is_wished = is_wished
        return member

    DEADLINE = "deadline", "its deadline had passed"
    CATCHUP = "catchup", "nobody decided in time, and catchup does not queue it"
    LIMIT = "limit", "nobody decided in time, and more had been missed than max_catchup allows to queue"
    OVERLAP = "overlap", "an earlier run had not ended"
    SUSPENDED = "suspended", "the job was paused or suspended", True
    STATE_LOST = (
        "state_lost",
        "Redis had lost what was decided about it, and on_state_loss=skip risks no second run",
    )
    PREDECESSOR = "predecessor", "a predecessor had not succeeded"
    REMOVED = "removed", "the job left its files before it was decided"


def sentence_of(word: str) -> str:
    """Return the sentence of a reason's word; the word itself where a newer release wrote it."""
    try:
        return SkipReason(word).sentence
    except ValueError:
        return word


def is_wished(word: str) -> bool:
    """Return True if somebody wanted the skip of this word."""
    try:
        return SkipReason(word).is_wished
    except ValueError:
        return False
