"""The outbox: letters that wait to be sent, what is to be tried next, and when. Pure: the caller brings the time.

Letters of one *lane* (the webhook; one job's ping URL) are tried in the order in which they were put in: a start
does not arrive after its end. An answer that asks for patience holds up its own lane; a receiver that cannot be
reached at all holds up every lane of its *host*, so that a hundred jobs on one dead host do not cost a hundred
time-outs each round, and others are served meanwhile.
"""

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often and when a letter is tried: at 0, 2.5, 10, 32, 100 and 302 s, each pause ± a fifth.

    Attributes:
        tries: At most so many.
        first_seconds: The first pause; each further one is ``factor`` times as long.
        jitter: Pauses vary by this share, so that senders that failed together do not come back together.
        life_seconds: Older letters are not tried any more once their receiver has failed.
        longest_seconds: What a receiver may ask for by Retry-After.
    """

    tries: int = 6
    first_seconds: float = 2.5
    factor: float = 3.0
    jitter: float = 0.2
    life_seconds: float = 300.0
    longest_seconds: float = 120.0

    def pause(self, failures: int, rng: random.Random, asked: float | None = None) -> float:
        """Seconds to wait after so many failures in a row; ``asked`` is the receiver's own wish."""
        usual = self.first_seconds * self.factor ** min(failures - 1, self.tries)
        spread = usual * (1 + self.jitter * rng.uniform(-1, 1))
        return spread if asked is None else max(spread, min(asked, self.longest_seconds))


@dataclass(slots=True, kw_only=True, eq=False)
class Delivery(Generic[T]):
    """One thing to be sent, ``content`` being the sender's own business."""

    content: T
    lane: str
    host: str
    told_at: float
    tries: int = 0


@dataclass(slots=True)
class _Hold:
    failures: int = 0
    until: float = 0.0


@dataclass(slots=True)
class _Lane(Generic[T]):
    letters: deque[Delivery[T]] = field(default_factory=deque)
    hold: _Hold = field(default_factory=_Hold)


class DeliveryQueue(Generic[T]):
    """Not safe from several threads; the sender holds its lock."""

    def __init__(self, retries: Retries, rng: random.Random) -> None:
        self._retries = retries
        self._rng = rng
        self._lanes: dict[str, _Lane[T]] = {}
        self._hosts: dict[str, _Hold] = {}
        self._is_last_call = False

    def __iter__(self) -> Iterator[Delivery[T]]:
        return (letter for lane in self._lanes.values() for letter in lane.letters)

    def put(self, letter: Delivery[T]) -> None:
        """The letter waits, behind its lane's others."""
        self._lanes.setdefault(letter.lane, _Lane()).letters.append(letter)

    def last_call(self) -> None:
        """From now on nothing waits: each letter gets one more try, and a dead host's letters are given up with it."""
        self._is_last_call = True

    def clear(self) -> list[Delivery[T]]:
        """Nothing waits any more; what did."""
        rest = list(self)
        self._lanes.clear()
        return rest

    def next(self, now: float) -> tuple[Delivery[T] | None, float | None]:
        """The letter to try now, or None and when there will be one (None for never)."""
        heads = [(self._ready_at(lane), lane.letters[0]) for lane in self._lanes.values()]
        if not heads:
            return None, None
        ready = [letter for at, letter in heads if at <= now]
        if ready:
            return min(ready, key=_told_at), None
        return None, min(at for at, _ in heads)

    def _ready_at(self, lane: _Lane[T]) -> float:
        host = self._hosts.get(lane.letters[0].host)
        return 0.0 if self._is_last_call else max(lane.hold.until, host.until if host else 0.0)

    def settled(self, letter: Delivery[T]) -> None:
        """The receiver has answered, and this letter is not tried again."""
        self._hosts.pop(letter.host, None)
        self._lanes[letter.lane].hold = _Hold()
        self._take_out(letter)

    def refused(self, letter: Delivery[T], now: float, asked: float | None = None) -> list[Delivery[T]]:
        """The receiver has answered that it cannot just now. The letters that are given up for it."""
        self._hosts.pop(letter.host, None)
        return self._failed([letter], letter, self._lanes[letter.lane].hold, now, asked)

    def unreachable(self, letter: Delivery[T], now: float) -> list[Delivery[T]]:
        """Nobody has answered. The letters that are given up for it, others to the same host among them."""
        waiting = [other for other in self if other.host == letter.host]
        return self._failed(waiting, letter, self._hosts.setdefault(letter.host, _Hold()), now, None)

    def _failed(
        self, waiting: list[Delivery[T]], letter: Delivery[T], hold: _Hold, now: float, asked: float | None
    ) -> list[Delivery[T]]:
        letter.tries += 1
        hold.failures += 1
        hold.until = now + self._retries.pause(hold.failures, self._rng, asked)
        hopeless = [one for one in waiting if self._is_hopeless(one, now)]
        for one in hopeless:
            self._take_out(one)
        if not any(other.host == letter.host for other in self):
            self._hosts.pop(letter.host, None)  # a host that nobody writes to is forgotten
        return hopeless

    def _is_hopeless(self, letter: Delivery[T], now: float) -> bool:
        too_old = now - letter.told_at >= self._retries.life_seconds
        return self._is_last_call or letter.tries >= self._retries.tries or too_old

    def _take_out(self, letter: Delivery[T]) -> None:
        lane = self._lanes[letter.lane]
        lane.letters.remove(letter)
        if not lane.letters:
            del self._lanes[letter.lane]


def _told_at(letter: Delivery[T]) -> float:
    return letter.told_at
