"""Health: the reports of ``/livez`` and ``/readyz`` (spec: interface.md, health).

Checks read what their component already knows (when Redis last answered, when the election was last renewed). They
must not ask the network: a probe that waits for Redis tells the kubelet that *we* are broken.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Tier = Literal["scheduler", "worker", "run"]
Check = Callable[[], str]

OK = "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """A report of ``/livez`` or ``/readyz``; ``checks`` maps a name to ``ok`` or a sentence."""

    tier: Tier
    leader: bool | None
    epoch: int | None
    checks: dict[str, str]

    @property
    def healthy(self) -> bool:
        """True if every check is ok."""
        return all(answer == OK for answer in self.checks.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document of interface.md."""
        return {
            "status": OK if self.healthy else "failing",
            "tier": self.tier,
            "leader": self.leader,
            "epoch": self.epoch,
            "checks": self.checks,
        }


def _unknown() -> None:
    return None


class Health:
    """The checks of one process, called from the threads of the HTTP server.

    Args:
        tier: Which part of Kuber-Cron this process is.
        leader: Whether this process leads; None where the question makes no sense.
        epoch: The epoch of its term, or None.
    """

    def __init__(
        self,
        tier: Tier,
        *,
        leader: Callable[[], bool | None] = _unknown,
        epoch: Callable[[], int | None] = _unknown,
    ) -> None:
        self.tier: Tier = tier
        self._leader = leader
        self._epoch = epoch
        self._checks: dict[str, tuple[Check, bool]] = {}
        self._changing = threading.Lock()

    def add(self, name: str, check: Check, *, live: bool = False) -> None:
        """Add a check that readiness needs to return ``ok``, and liveness too if ``live``.

        ``live`` is for faults that only a restart mends, as a loop that stands still. A Redis that is away is
        no reason to restart. A check that raises counts as failing, with what it raised.
        """
        with self._changing:
            self._checks = {**self._checks, name: (check, live)}

    def live(self) -> HealthReport:
        """Return the report of ``/livez``: where it fails, only a restart helps."""
        return self._report(live_only=True)

    def ready(self) -> HealthReport:
        """Return the report of ``/readyz``: whether this process can do its work."""
        return self._report(live_only=False)

    def _report(self, *, live_only: bool) -> HealthReport:
        answers = {name: _ask(check) for name, (check, live) in self._checks.items() if live or not live_only}
        return HealthReport(tier=self.tier, leader=self._leader(), epoch=self._epoch(), checks=answers)


def _ask(check: Check) -> str:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - whatever it is, the probe has to be answered
        return f"the check failed: {type(error).__name__}: {error}"
