"""The ports of a lease election: the store of the lease and the fence, and the calls of them as values.

Another backend is one module with a class that implements ``LeaseStore``, and its line in the composition root. The
contract: tests/integration/scheduler/election/test_election_contract.py.
"""

from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeVar

from kuber_cron.common.errors import RedisUnreachableError
from kuber_cron.scheduler.election.fence import FenceReply
from kuber_cron.scheduler.election.lease_rules import LeaseError, LeaseRecord

T = TypeVar("T")
Calls = Generator[Callable[[], Any], Any, T]


class LeaseStore(Protocol):
    """The record of one lease (``kubernetes_lease.KubernetesLease``). Every failure is a ``LeaseError``."""

    @property
    def kind(self) -> str:
        """The kind of lease, in words for people: ``a Kubernetes Lease``."""

    def cluster(self) -> str:
        """Return a name that all who contest this lease share and nobody else has; Redis serves one such cluster."""

    def read(self) -> LeaseRecord | None:
        """Return the record, None where there is no lease."""

    def write(self, record: LeaseRecord) -> LeaseRecord:
        """Replace the version that the record names, or create the lease where it names none.

        Returns:
            The record as stored, with its new version.
        """


class FenceStore(Protocol):
    """The fence in Redis (``fence.Fence``). Every failure is a ``RedisUnreachableError``."""

    @property
    def answered_at(self) -> float:
        """Return when Redis last answered, on the interval clock."""

    def check(self, epoch: int) -> FenceReply:
        """Return what the fence holds; where that is ``epoch`` of ours, show others that we are alive."""

    def claim(self, epoch: int) -> FenceReply:
        """Fence every term older than ``epoch``."""

    def publish_release(self) -> None:
        """Notify the standbys that the lease is free."""


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
