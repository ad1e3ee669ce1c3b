"""A lease in memory: the smallest ``LeaseStore``, shared by the contenders of one process."""

import threading
from dataclasses import replace

from kuber_cron.scheduler.election.lease_rules import LeaseError, LeaseFailure, LeaseRecord


class MemoryLease:
    """One lease, written by compare-and-set of its version."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._record: LeaseRecord | None = None
        self._writes = 0

    @property
    def kind(self) -> str:
        return "a lease in memory"

    def cluster(self) -> str:
        return "memory"

    def read(self) -> LeaseRecord | None:
        return self._record

    def write(self, record: LeaseRecord) -> LeaseRecord:
        with self._lock:
            stored = self._record.version if self._record is not None else ""
            if record.version != stored:
                reason: LeaseFailure = "conflict" if self._record is not None else "not_found"
                raise LeaseError("another has written", reason=reason)
            self._writes += 1
            self._record = replace(record, version=str(self._writes))
            return self._record
