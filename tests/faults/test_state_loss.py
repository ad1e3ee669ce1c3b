"""Redis forgets what it acknowledged: that is noticed, repaired by each job's policy, and no instant is passed over.

Directed runs, for here zero is not the number to expect (spec: reliability.md §8): what was decided twice was
decided once by a Redis that no longer knows.
"""

import shutil
import time
from contextlib import contextmanager

import pytest
from tests.faults import checker
from tests.faults.cluster import Cluster
from tests.faults.history import Fault
from tests.faults.jobs import Spec
from tests.faults.redis_server import RedisServer
from tests.faults.setup import Setup
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.xdist_group("state loss")]

JOBS = (
    Spec("tick-0"),
    Spec("tick-1", lasts="0.3"),
    Spec("skips", options={"on_state_loss": "skip"}),
    Spec("once", options={"execution": "at_most_once"}),
    Spec("chain-1"),
    Spec("chain-2", options={"after": ["chain-1"]}),
)
SETUP = Setup(specs=JOBS, schedulers=2, workers=1)
VOLATILE = Setup(
    specs=JOBS, schedulers=2, workers=1, fsync="none", variables={"KUBER_CRON_REDIS_ALLOW_VOLATILE": "1"}
)


def lets_decide(cluster: Cluster, seconds: int) -> None:
    """Wait until every job has decisions of so many more seconds."""
    through = time.time() + seconds
    eventually(
        lambda: min(cluster.recorder.decided_through(spec.id) for spec in JOBS) >= through, seconds + 40, every=0.1
    )  # fmt: skip


@contextmanager
def running(tmp_path, setup=SETUP):
    with Cluster(tmp_path / "run", setup) as cluster:
        eventually(cluster.is_up, 60, every=0.2)
        lets_decide(cluster, 3)
        yield cluster


def ended(cluster: Cluster, began: float, *, loses_state: bool = True):
    lets_decide(cluster, 4)
    fault = Fault(
        kind="state loss", hits="redis", began=began, ended=time.time(), recovery=12.0, overlaps=True
    )
    return cluster.end(cluster.settle(), faults=[fault], loses_state=loses_state)


def skipped_as_lost(history) -> set[str]:
    return {entry.job for entry in history.entries if entry.reason == "state_lost"}


def test_a_snapshot_put_back_is_noticed_and_repaired(tmp_path):
    with running(tmp_path) as cluster:
        server, data = cluster.server, cluster.server.directory / "appendonlydir"
        server.kill()
        shutil.copytree(data, tmp_path / "snapshot")
        server.start()
        lets_decide(cluster, 5)
        began = time.time()
        server.kill()
        shutil.rmtree(data)
        shutil.copytree(tmp_path / "snapshot", data)
        server.start()
        history = ended(cluster, began)
    assert checker.check(history) == []
    assert history.noticed
    assert skipped_as_lost(history) == {"skips", "once"}


def test_everything_deleted_is_noticed_and_goes_on(tmp_path):
    with running(tmp_path) as cluster:
        began = time.time()
        with cluster.server.client() as client:
            client.flushall()
        history = ended(cluster, began)
    assert checker.check(history) == []
    assert history.noticed


def test_a_redis_that_keeps_nothing_is_noticed_when_it_was_killed(tmp_path):
    with running(tmp_path, VOLATILE) as cluster:
        began = time.time()
        cluster.server.kill()
        cluster.server.start()
        history = ended(cluster, began)
    assert checker.check(history) == []
    assert history.noticed


def test_a_replica_that_was_behind_is_noticed_when_it_is_promoted(tmp_path):
    with running(tmp_path) as cluster:
        replica = RedisServer(tmp_path / "replica")
        replica.start()
        with replica.client() as client:
            client.replicaof("127.0.0.1", str(cluster.server.port))
            eventually(lambda: client.info("replication")["master_link_status"] == "up", 20)
            client.replicaof("NO", "ONE")  # from here on it falls behind
        lets_decide(cluster, 5)
        began = time.time()
        cluster.fail_over(replica)
        history = ended(cluster, began)
    assert checker.check(history) == []
    assert history.noticed
    assert skipped_as_lost(history) == {"skips", "once"}


def test_a_redis_that_writes_each_second_loses_nothing_when_only_its_process_is_killed(tmp_path):
    everysec = Setup(specs=JOBS, schedulers=2, workers=1, fsync="everysec")
    with running(tmp_path, everysec) as cluster:
        began = time.time()
        cluster.server.kill()
        cluster.server.start()
        history = ended(cluster, began, loses_state=False)
    assert checker.check(history) == []
    assert history.noticed == 0
