"""Shapes: the part of runs' hashes that many of them have alike, packed once and sent once a batch.

Two thirds of a run's hash are the same for most jobs: RQ's empty fields, the limits, the queue. Sent and read with each
run they were a sixth of what a decision costs Redis.
"""

from dataclasses import dataclass

from kuber_cron.common.redis_store.scripts import Value, pack

# So many are remembered; where jobs differ more than that, some are packed again.
_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class SharedFields:
    """Fields and values as the deciding script takes them, under a name that no other shape has in this process."""

    name: int
    packed: bytes
    count: int


class SharedFieldsTable:
    """Gives equal fields the same shape."""

    def __init__(self) -> None:
        self._known: dict[tuple[Value, ...], SharedFields] = {}
        self._last = 0

    def of(self, fields: tuple[Value, ...]) -> SharedFields:
        """The shape of these fields, names and values in turn."""
        known = self._known.get(fields)
        if known is None:
            if len(self._known) >= _LIMIT:
                self._known.clear()
            self._last += 1
            known = SharedFields(self._last, pack((self._last, len(fields), *fields)), len(fields) + 2)
            self._known[fields] = known
        return known
