"""What a turn of the elector may ask of the outside, and who asks it: the calls as values, and ``run``."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from kuber_cron.common.config.settings import LeaseTimes
from kuber_cron.common.errors import RedisUnreachableError
from kuber_cron.scheduler.election.fence import FenceReply
from kuber_cron.scheduler.election.lease_rules import LeaseError, LeaseRecord, validity_seconds

T = TypeVar("T")
Calls = Generator[Callable[[], Any], Any, T]


class LeaseStore(Protocol):
    """One Lease on an API server (``kube.KubeLease``). Every failure is a ``LeaseError``."""

    def read(self) -> LeaseRecord | None:
        """The record, None where there is no Lease."""

    def write(self, record: LeaseRecord) -> LeaseRecord:
        """Write it over the version that it names, or make the Lease; the record as stored."""


class FenceStore(Protocol):
    """The fence in Redis (``fence.Fence``). Every failure is a ``RedisUnreachableError``."""

    @property
    def answered_at(self) -> float:
        """When Redis last answered."""

    def look(self, epoch: int) -> FenceReply:
        """What the fence holds."""

    def claim(self, epoch: int) -> FenceReply:
        """Fence every older term."""

    def announce(self) -> None:
        """Tell the standbys that the Lease is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The durations that a turn needs, in seconds. See ``LeaseTimes``."""

    lease: float
    valid: float
    retry: float
    request: float
    failsafe: float

    @classmethod
    def of(cls, times: LeaseTimes, failsafe_seconds: float) -> "Times":
        """By the settings."""
        return cls(
            lease=times.lease,
            valid=validity_seconds(times.lease, times.renew, times.margin),
            retry=times.retry,
            request=times.request,
            failsafe=failsafe_seconds,
        )


def run(calls: Calls[T]) -> T:
    """Make the calls that a generator yields, one by one, and return what it returns."""
    try:
        call = next(calls)
        while True:
            try:
                result = call()
            except (LeaseError, RedisUnreachableError) as error:
                call = calls.throw(error)
            else:
                call = calls.send(result)
    except StopIteration as ended:
        returned: T = ended.value
        return returned
