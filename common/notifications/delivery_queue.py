"""The delivery queue: which delivery is to be tried next, and when. Pure: the caller brings the time.

Deliveries to one *receiver* (the webhook; one job's ping URL) are tried in the order in which they were added: a start
does not arrive after its end. A receiver that asks for patience delays its own deliveries. One that cannot be reached at
all delays every receiver on its *host*, so that a hundred jobs on one dead host do not cost a hundred time-outs each
round, and others are served meanwhile.
"""

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """When a delivery is tried: at 0, 2.5, 10, 32, 100 and 302 s, each pause ± a fifth.

    Attributes:
        tries: At most so many.
        first_seconds: The first pause; each further one is ``factor`` times as long.
        jitter: Pauses vary by this share, so that senders that failed together do not come back together.
        life_seconds: Older deliveries are given up once their receiver has failed.
        longest_seconds: A receiver may ask for at most this by Retry-After.
    """

    tries: int = 6
    first_seconds: float = 2.5
    factor: float = 3.0
    jitter: float = 0.2
    life_seconds: float = 300.0
    longest_seconds: float = 120.0

    def pause(self, failures: int, rng: random.Random, retry_after: float | None = None) -> float:
        """Return the seconds to wait after so many failures in a row; ``retry_after``: what the receiver asks for."""
        usual = self.first_seconds * self.factor ** min(failures - 1, self.tries)
        spread = usual * (1 + self.jitter * rng.uniform(-1, 1))
        return spread if retry_after is None else max(spread, min(retry_after, self.longest_seconds))


@dataclass(slots=True, kw_only=True, eq=False)
class Delivery(Generic[T]):
    """One message on its way to one receiver; ``created_at`` is on the clock of the caller, in seconds."""

    content: T
    receiver: str
    host: str
    created_at: float
    tries: int = 0


@dataclass(slots=True)
class _Pause:
    failures: int = 0
    until: float = 0.0


@dataclass(slots=True)
class _Receiver(Generic[T]):
    deliveries: deque[Delivery[T]] = field(default_factory=deque)
    pause: _Pause = field(default_factory=_Pause)


class DeliveryQueue(Generic[T]):
    """Not safe from several threads; the sender holds its lock."""

    def __init__(self, backoff: Backoff, rng: random.Random) -> None:
        self._backoff = backoff
        self._rng = rng
        self._receivers: dict[str, _Receiver[T]] = {}
        self._hosts: dict[str, _Pause] = {}
        self._is_shutting_down = False

    def __iter__(self) -> Iterator[Delivery[T]]:
        return (delivery for receiver in self._receivers.values() for delivery in receiver.deliveries)

    def add(self, delivery: Delivery[T]) -> None:
        """Add the delivery behind the others to its receiver."""
        self._receivers.setdefault(delivery.receiver, _Receiver()).deliveries.append(delivery)

    def shut_down(self) -> None:
        """Let nothing wait any more: each delivery gets one more try, and those to a dead host are given up together."""
        self._is_shutting_down = True

    def clear(self) -> list[Delivery[T]]:
        """Empty the queue; return what was in it."""
        rest = list(self)
        self._receivers.clear()
        return rest

    def next(self, now: float) -> tuple[Delivery[T] | None, float | None]:
        """Return the delivery to try now, or None and when there will be one (None for never)."""
        heads = [(self._ready_at(receiver), receiver.deliveries[0]) for receiver in self._receivers.values()]
        if not heads:
            return None, None
        ready = [delivery for at, delivery in heads if at <= now]
        if ready:
            return min(ready, key=_created_at), None
        return None, min(at for at, _ in heads)

    def _ready_at(self, receiver: _Receiver[T]) -> float:
        host = self._hosts.get(receiver.deliveries[0].host)
        return 0.0 if self._is_shutting_down else max(receiver.pause.until, host.until if host else 0.0)

    def settled(self, delivery: Delivery[T]) -> None:
        """Remove the delivery: the receiver has responded, and it is not tried again."""
        self._hosts.pop(delivery.host, None)
        self._receivers[delivery.receiver].pause = _Pause()
        self._remove(delivery)

    def refused(
        self, delivery: Delivery[T], now: float, retry_after: float | None = None
    ) -> list[Delivery[T]]:
        """Back off from the receiver, which cannot take the delivery now; return the deliveries that are given up."""
        self._hosts.pop(delivery.host, None)
        return self._failed([delivery], delivery, self._receivers[delivery.receiver].pause, now, retry_after)

    def unreachable(self, delivery: Delivery[T], now: float) -> list[Delivery[T]]:
        """Back off from the host, which did not respond; return the deliveries to it that are given up."""
        waiting = [other for other in self if other.host == delivery.host]
        return self._failed(waiting, delivery, self._hosts.setdefault(delivery.host, _Pause()), now, None)

    def _failed(
        self,
        waiting: list[Delivery[T]],
        delivery: Delivery[T],
        pause: _Pause,
        now: float,
        retry_after: float | None,
    ) -> list[Delivery[T]]:
        delivery.tries += 1
        pause.failures += 1
        pause.until = now + self._backoff.pause(pause.failures, self._rng, retry_after)
        given_up = [one for one in waiting if self._is_hopeless(one, now)]
        for one in given_up:
            self._remove(one)
        if not any(other.host == delivery.host for other in self):
            self._hosts.pop(delivery.host, None)  # a host without deliveries is forgotten
        return given_up

    def _is_hopeless(self, delivery: Delivery[T], now: float) -> bool:
        is_too_old = now - delivery.created_at >= self._backoff.life_seconds
        return self._is_shutting_down or delivery.tries >= self._backoff.tries or is_too_old

    def _remove(self, delivery: Delivery[T]) -> None:
        receiver = self._receivers[delivery.receiver]
        receiver.deliveries.remove(delivery)
        if not receiver.deliveries:
            del self._receivers[delivery.receiver]


def _created_at(delivery: Delivery[T]) -> float:
    return delivery.created_at
