"""Triggers while leaders are killed: real schedulers, real signals. None is lost, none doubled, whatever the moment."""

import random
import signal
import subprocess
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from tests.support.cli_process import COMMAND, environment
from tests.support.operators import Operator
from tests.support.stepped import KEYS
from tests.support.waiting import eventually

from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.control.actions.errors import HalfDecidedError, NotDecidedError

PATIENCE_SECONDS = 30.0  # a takeover takes up to 7 s where the lease is a key in Redis; a busy machine longer


class House:
    """Replicas of the scheduler, each in a process of its own."""

    def __init__(self, directory, url):
        self.client = redis.Redis.from_url(url, protocol=2)
        self._directory = directory
        (directory / "crontab").write_text(
            "# kuber-cron: name=yearly\n0 0 1 1 * true\n# kuber-cron: name=line concurrency=queue\n0 0 * * * true\n"
        )
        self._environment = environment(
            KUBER_CRON_REDIS_URL=url,
            KUBER_CRON_INSECURE="1",
            KUBER_CRON_ELECTION="redis",
            KUBER_CRON_METRICS_PORT="0",
            KUBER_CRON_METRICS_HOST="127.0.0.1",
            KUBER_CRON_REDIS_ALLOW_VOLATILE="1",
        )
        self.processes = {}

    def start(self, name):
        with (self._directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*COMMAND, "scheduler", str(self._directory / "crontab")],
                env={**self._environment, "HOSTNAME": name},
                stderr=log,
            )

    def leader(self):
        """The name of the replica that leads, once one does."""

        def leads():
            lease = (self.client.get(KEYS.lease) or b"").decode()
            name = lease.split("_")[0]
            return name if name in self.processes and self.client.hexists(KEYS.cursors, "yearly") else None

        return eventually(leads, 30)

    def send(self, name, how):
        self.processes[name].send_signal(how)

    def kill(self, name):
        process = self.processes.pop(name)
        process.kill()
        process.wait(60)

    def trigger(self, job="yearly"):
        with redis.Redis.from_url(self.client_url(), protocol=2) as client:
            acts = Operator(Store(client, KEYS), "ada@desk")
            asked = acts.new(action="trigger", job=job, patience_seconds=PATIENCE_SECONDS)
            (one,) = acts.ask(asked, signing_key=None, wait=threading.Event().wait)
            return one

    def client_url(self):
        return self._environment["KUBER_CRON_REDIS_URL"]

    def triggered(self, job="yearly"):
        """How often the log says that each run was made."""
        return Counter(
            fields[b"run"].decode()
            for _, fields in self.client.xrange(KEYS.log(job))
            if fields[b"decision"] == b"triggered"
        )

    def queued(self):
        return Counter(run.decode() for run in self.client.lrange("rq:queue:default", 0, -1))

    def end(self):
        for process in self.processes.values():
            process.kill()
            process.wait(60)
        self.client.close()


@pytest.fixture
def house(redis_client, redis_url, tmp_path):
    made = House(tmp_path, redis_url)
    for name in ("one", "two"):
        made.start(name)
    yield made
    made.end()


def test_a_trigger_asked_of_a_leader_that_is_killed_before_it_answers_is_made_by_the_next_one(house):
    leader = house.leader()
    house.send(leader, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(house.trigger)
        eventually(lambda: house.client.llen(KEYS.requests) == 1)
        house.kill(leader)
        made = asking.result(PATIENCE_SECONDS + 10)
    assert house.queued() == house.triggered() == Counter([made.run])


def test_a_trigger_asked_of_a_leader_that_is_paused_is_made_once_when_it_wakes_beside_the_next_one(house):
    """It wakes with the request in its hands, long after another has answered it: only the fence can tell."""
    leader = house.leader()
    house.send(leader, signal.SIGSTOP)
    try:
        made = house.trigger()
    finally:
        house.send(leader, signal.SIGCONT)
    assert house.leader() != leader
    again = house.trigger()
    assert house.queued() == house.triggered() == Counter([made.run, again.run])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(3))
def test_no_trigger_is_lost_or_doubled_while_leaders_are_killed_in_the_midst_of_many(house, seed):
    done, moments = threading.Event(), random.Random(seed)
    answered, given_up = [], []

    def ask():
        while not done.is_set():
            try:
                answered.append(house.trigger().run)
            except (NotDecidedError, HalfDecidedError) as error:
                given_up.append(error)

    house.leader()
    with ThreadPoolExecutor(8) as pool:
        askers = [pool.submit(ask) for _ in range(8)]
        for number in range(3):
            leader = house.leader()
            before = len(answered)
            eventually(lambda before=before: len(answered) > before + 20, 60)
            threading.Event().wait(moments.uniform(0, 0.05))  # the moment is what is tried
            house.kill(leader)
            house.start(f"{leader}-{number}")
        house.leader()
        eventually(lambda: len(answered) > 100, 60)
        done.set()
        for asker in askers:
            asker.result(PATIENCE_SECONDS + 10)
    assert not given_up
    assert len(answered) == len(set(answered))
    assert set(house.queued().values()) == {1}
    # The log is bounded, the list of runs is not.
    assert set(house.queued()) == set(answered)
