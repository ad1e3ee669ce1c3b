"""The rotation of a worker's queues: the order in which each claim asks them (spec: reliability.md §6, Claim).

Pure. The queues are asked in the order given, each one's ``-low`` list after all of them; but every list comes first in
its share of the claims, so that a flood in one never starves another for ever. The shares are those of a smooth
weighted round robin: over any full cycle each list comes first exactly as often as its weight says.
"""

from collections.abc import Sequence

# Of this many claims the low lists together come first in about one; each queue weighs one more than its follower.
_LOW_SHARE = 10


class QueueRotation:
    """The order of each claim, one after the other. Not safe for several threads."""

    def __init__(self, queues: Sequence[str]) -> None:
        """``queues`` in the order of preference, without their low lists."""
        lows = [f"{queue}-low" for queue in queues]
        self.queues = [*queues, *lows]
        count = len(queues)
        total = count * (count + 1) // 2
        weights = [(count - index) * _LOW_SHARE for index in range(count)]
        self._weights = weights + [max(1, total // count)] * count
        self._credit = [0] * len(self.queues)

    def next(self) -> list[str]:
        """Return every list once: first the one that the rotation has come to, then the others by preference."""
        self._credit = [have + weight for have, weight in zip(self._credit, self._weights, strict=True)]
        first = max(range(len(self.queues)), key=lambda index: (self._credit[index], -index))
        self._credit[first] -= sum(self._weights)
        return [self.queues[first], *(queue for index, queue in enumerate(self.queues) if index != first)]
