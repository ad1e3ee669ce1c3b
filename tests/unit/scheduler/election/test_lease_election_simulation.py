"""Ten thousand histories of electors: no epoch twice, no two leaders within their leases, one in the end."""

from collections import Counter
from collections.abc import Iterator

import pytest
from tests.support import simulated_elections
from tests.support.simulated_elections import DISASTERS, History, SimulatedRedis

from kuber_cron.common.config.lease_timing import LeaseTiming
from kuber_cron.scheduler.election import lease_rules


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    kept = simulated_elections.silence()
    yield
    simulated_elections.restore(kept)


def play(seeds: range) -> "Counter[str]":
    seen: Counter[str] = Counter()
    for seed in seeds:
        seen += History(seed).run()
    return seen


def test_histories_of_delays_losses_crashes_and_pauses_have_one_leader_at_a_time():
    seen = play(range(300))
    assert seen["terms"] > 300
    assert seen["decisions"] > 1000


@pytest.mark.slow
def test_ten_thousand_histories():
    seen = play(range(300, 10_000))
    assert min(seen[kind] for kind in simulated_elections.KINDS) > 1000
    assert min(seen[kind] for kind in DISASTERS) > 500


def naive_validity(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader that goes by the lease's whole duration, from when the answer came."""
    monkeypatch.setattr(LeaseTiming, "valid", property(lambda timing: timing.lease + timing.request))


def naive_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new term that goes on with the number of the old one, as client-go's does for the same holder."""
    monkeypatch.setattr(lease_rules, "next_epoch", max)


def naive_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that does not ask for the epoch: "check the lease, then enqueue"."""
    monkeypatch.setattr(
        SimulatedRedis, "decide", lambda redis, term: redis.accepted.append((term.epoch, term.holder))
    )


@pytest.mark.parametrize("mistake", [naive_validity, naive_epochs, naive_fence])
def test_the_histories_find_what_a_naive_elector_does_wrong(mistake, monkeypatch):
    mistake(monkeypatch)
    with pytest.raises(AssertionError, match="seed"):
        play(range(1000))
