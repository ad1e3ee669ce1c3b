"""Whose turn it is: the order in which a worker looks at its queues (spec: reliability.md §6, Claim).

Pure. The queues are served in the order given, each one's ``-low`` list after all of them; but every list is looked
at first in its share of the turns, so that a flood in one never starves another for ever. The shares are those of a
smooth weighted round robin: over any full cycle each list comes first exactly as often as its weight says.
"""

from collections.abc import Sequence

# Of this many turns the low lists together get about one; among the queues each weighs one more than its follower.
_LOW_SHARE = 10


class QueueRotation:
    """The order of each turn, one after the other. Not safe for several threads."""

    def __init__(self, queues: Sequence[str]) -> None:
        """``queues`` in the order of preference, without their low lists."""
        lows = [f"{queue}-low" for queue in queues]
        self.queues = [*queues, *lows]
        count = len(queues)
        total = count * (count + 1) // 2
        weights = [(count - place) * _LOW_SHARE for place in range(count)]
        self._weights = weights + [max(1, total // count)] * count
        self._credit = [0] * len(self.queues)

    def next(self) -> list[str]:
        """Every list once: the one whose turn it is, then the others by preference."""
        self._credit = [have + weight for have, weight in zip(self._credit, self._weights, strict=True)]
        first = max(range(len(self.queues)), key=lambda place: (self._credit[place], -place))
        self._credit[first] -= sum(self._weights)
        return [self.queues[first], *(queue for place, queue in enumerate(self.queues) if place != first)]
