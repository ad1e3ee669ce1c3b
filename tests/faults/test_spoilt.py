"""Kuber-Cron itself with one safeguard taken out: the harness has to notice, or it proves nothing of the others."""

import time
from pathlib import Path

import pytest
from tests.faults import checker
from tests.faults.cluster import Cluster
from tests.faults.history import History
from tests.faults.jobs import Spec
from tests.faults.kinds import KINDS
from tests.faults.nemesis import Nemesis
from tests.faults.schedule import Step
from tests.faults.setup import Setup
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.xdist_group("faults")]

JOBS = (*(Spec(f"tick-{number}") for number in range(4)), Spec("long", seconds=2, lasts="1.5"))


def replaced(package: Path, script: str, old: str, new: str) -> None:
    path = package / "common" / "redis_store" / "lua" / f"{script}.lua"
    text = path.read_text()
    assert old in text, f"{script}.lua has changed: spoil it in another way"
    path.write_text(text.replace(old, new))


def without_fence(package: Path) -> None:
    replaced(
        package,
        "lib/fencing",
        "local function refusal_of(epoch, lease)\n",
        "local function refusal_of() do return nil end\n",
    )
    replaced(package, "lib/decide_occurrence", "if stored ~= item.believed then", "if false then")
    replaced(package, "lib/decide_occurrence", "then return recognise(ctx, item) end", "then end")


def without_reaping(package: Path) -> None:
    replaced(package, "reap_lost_attempts", "if now_ms() / 1000 - now > 2 then", "do")


def history_under(tmp_path: Path, kind: str, spoil=lambda _: None, slots: int = 4) -> History:
    setup = Setup(specs=JOBS, schedulers=2, workers=2, slots=slots, spoil=spoil)
    with Cluster(tmp_path / "run", setup) as cluster:
        eventually(cluster.is_up, 60, every=0.2)
        through = time.time() + 3
        eventually(lambda: cluster.recorder.decided_through("tick-0") >= through, 30)
        nemesis = Nemesis(cluster, KINDS)
        for number in range(2):
            nemesis.do(Step(offset=0.0, kind=kind, seconds=2.0, pick=number))
        return cluster.end(cluster.settle(15), faults=nemesis.faults())


def losses(history: History) -> dict[str, int]:
    return checker.counted(checker.check(history))


def test_without_its_fence_a_late_request_decides_twice(tmp_path):
    assert losses(history_under(tmp_path, "late requests", without_fence))["doubled"] >= 4


def test_with_its_fence_a_late_request_decides_nothing(tmp_path):
    assert checker.check(history_under(tmp_path, "late requests")) == []


def test_without_reaping_what_a_killed_worker_ran_is_lost(tmp_path):
    assert losses(history_under(tmp_path, "KILL worker", without_reaping))["lost"] >= 1
