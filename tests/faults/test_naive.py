"""The harness is worth nothing unless it convicts a scheduler that deserves it: the naive one of ``naive``."""

import signal
import sys
import time
from pathlib import Path

import pytest
from tests.faults import checker
from tests.faults.cluster import Cluster
from tests.faults.history import Fault, History
from tests.faults.jobs import Spec
from tests.faults.setup import Setup
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.xdist_group("state loss")]

NAIVE = (sys.executable, "-m", "tests.faults.naive")
JOBS = tuple(Spec(f"tick-{number}") for number in range(4))
ROOT = Path(__file__).parents[2]


def naive(pause: Path, **more: str) -> Setup:
    path = f"{ROOT}:{ROOT / 'src'}"
    return Setup(
        specs=JOBS,
        schedulers=2,
        workers=1,
        scheduler=NAIVE,
        variables={"NAIVE_PAUSE": str(pause), "PYTHONPATH": path, **more},
    )


def decided(cluster: Cluster) -> int:
    return min(cluster.recorder.decided_through(spec.id) for spec in JOBS)


def lets_decide(cluster: Cluster, seconds: int) -> None:
    """Wait until every job's instants of so many more seconds are decided."""
    from_now = max(decided(cluster), int(time.time())) + seconds
    eventually(lambda: decided(cluster) >= from_now, 30)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def history_with(tmp_path: Path, *, is_paused: bool) -> History:
    pause = tmp_path / "pause"
    with Cluster(tmp_path / "run", naive(pause)) as cluster:
        eventually(cluster.is_up, 60)
        lets_decide(cluster, 3)
        faults = []
        if is_paused:
            leader = cluster.leader()
            assert leader is not None
            began = time.time()
            pause.touch()
            eventually(lambda: is_stopped(leader.pid))
            leader.paused = True
            lets_decide(cluster, 3)  # the other one leads
            leader.signal(signal.SIGCONT)
            faults.append(Fault(kind="STOP leader", hits="leader", began=began, ended=began, recovery=6.0))
            lets_decide(cluster, 2)
        return cluster.end(cluster.settle(8), faults=faults)


def test_the_naive_scheduler_is_accepted_while_nothing_goes_wrong(tmp_path):
    history = history_with(tmp_path, is_paused=False)
    assert checker.occurrences(history) >= 12
    assert checker.check(history) == []


def test_a_naive_leader_that_is_stopped_between_its_look_and_its_writes_is_convicted(tmp_path):
    violations = checker.check(history_with(tmp_path, is_paused=True))
    counts = checker.counted(violations)
    assert counts["doubled"] >= len(JOBS)
    assert {"epoch", "order"} <= {violation.kind for violation in violations}


def test_two_naive_leaders_are_convicted(tmp_path):
    with Cluster(tmp_path / "run", naive(tmp_path / "pause", NAIVE_ALWAYS="1")) as cluster:
        eventually(cluster.is_up, 60)
        lets_decide(cluster, 5)
        history = cluster.end(cluster.settle(8))
    assert checker.counted(checker.check(history))["doubled"] >= 1
