"""A process whose every call fails while a fresh connection succeeds is stuck; an outage of Redis makes nobody so."""

import pytest
import redis
from tests.support.moving_address import moving_address

from kuber_cron.common.redis_store.connections import open_client
from kuber_cron.common.redis_store.fresh_connection import FAILING_SECONDS, SUCCESSES, FreshConnectionCheck
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.common.redis_store.primary_connection import is_unanswered

KEYS = Keys.of("kuber-cron")


class Process:
    """One whose connection is kept whatever it answers, as by redis-py's own pool."""

    def __init__(self, url):
        self._client = redis.Redis.from_url(url, protocol=2, max_connections=1)
        self._client.set("key", "before")
        self.seconds = 0.0

    def works(self):
        """A minute passes, in which it tries to write."""
        try:
            self._client.set("key", "1")
        except redis.RedisError as error:
            self.seconds = self.seconds + FAILING_SECONDS if is_unanswered(error) else 0.0
        else:
            self.seconds = 0.0

    def failing_seconds(self):
        return self.seconds

    def close(self):
        self._client.close()


@pytest.fixture
def address(tmp_path):
    with moving_address(tmp_path) as made:
        yield made


@pytest.fixture
def process(address):
    made = Process(address.url)
    yield made
    made.close()


@pytest.fixture
def check(address, process):
    return FreshConnectionCheck(lambda: open_client(address.url, "deciding"), KEYS, process.failing_seconds)


def minutes(process, check, count):
    for _ in range(count):
        process.works()
        check.probe()
    return check.check()


def test_a_process_that_keeps_to_a_demoted_server_is_stuck_after_a_few_comparisons(address, process, check):
    assert minutes(process, check, 5) == "ok"
    address.fail_over()
    assert minutes(process, check, SUCCESSES - 1) == "ok"
    assert minutes(process, check, 1) == (
        f"every call of this process has failed for {SUCCESSES * FAILING_SECONDS:.0f} s, and Redis answers fresh connections"
    )


def test_a_process_that_is_answered_again_is_not_stuck(address, process, check):
    address.fail_over()
    assert minutes(process, check, SUCCESSES) != "ok"
    address.fail_over()
    assert minutes(process, check, 1) == "ok"


def test_an_outage_makes_nobody_stuck(address, process, check):
    address.primary.kill()
    assert minutes(process, check, 2 * SUCCESSES) == "ok"
    assert process.seconds >= FAILING_SECONDS


def test_an_address_that_has_not_moved_yet_makes_nobody_stuck(address, process, check):
    with address.primary.client() as direct:
        direct.replicaof("127.0.0.1", 1)
    assert minutes(process, check, 2 * SUCCESSES) == "ok"
    assert process.seconds >= FAILING_SECONDS


@pytest.mark.parametrize("setting", [{"maxmemory": 1}, {"min-replicas-to-write": 2}])
def test_a_server_that_takes_nobodys_writes_makes_nobody_stuck(address, process, check, setting):
    with address.primary.client() as direct:
        for name, value in setting.items():
            direct.config_set(name, value)
    process.seconds = FAILING_SECONDS
    check.probe()
    process.works()
    process.seconds = FAILING_SECONDS
    for _ in range(2 * SUCCESSES):
        check.probe()
    assert check.check() == "ok"
