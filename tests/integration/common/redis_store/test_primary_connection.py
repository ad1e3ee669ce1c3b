"""An address that moves: every connection to a demoted server ends with the answer that says so."""

import threading

import pytest
import redis
from tests.support.moving_address import moving_address
from tests.support.waiting import eventually

from kuber_cron.common.errors import RedisRefusedError
from kuber_cron.common.redis_store.connections import open_client
from kuber_cron.common.redis_store.errors import translated
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.common.redis_store.primary_connection import (
    PrimaryConnection,
    PrimarySentinelConnection,
    PrimarySentinelSSLConnection,
    PrimarySSLConnection,
    PrimaryUnixConnection,
    is_not_primary,
)
from kuber_cron.common.redis_store.scripts import Store, pack

SECONDS = 10.0


@pytest.fixture
def address(tmp_path):
    with moving_address(tmp_path) as made:
        yield made


def succeeds(call):
    """Whether it does, where redis' errors are no success."""

    def attempt():
        try:
            call()
        except redis.RedisError:
            return False
        return True

    return attempt


@pytest.mark.parametrize("purpose", ["deciding", "claiming", "general", "reading", "rq"])
def test_a_write_after_a_failover_reaches_the_new_primary(address, purpose):
    with open_client(address.url, purpose) as client, address.replica.client() as new:
        client.set("before", "1")
        address.fail_over()
        eventually(succeeds(lambda: client.set("after", "1")), within=SECONDS)
        assert new.get("after") == "1"


def test_what_may_be_sent_twice_does_not_even_fail(address):
    with open_client(address.url, "general") as client:
        client.set("before", "1")
        address.fail_over()
        client.set("after", "1")


def test_a_script_that_may_not_write_ends_its_connection(address):
    with open_client(address.url, "deciding") as client:
        write = client.register_script("return redis.call('SET', KEYS[1], 'from a script')")
        write(keys=["key"])
        address.fail_over()
        eventually(succeeds(lambda: write(keys=["key"])), within=SECONDS)


def test_the_packed_batch_that_may_not_write_ends_its_connection(address):
    with open_client(address.url, "deciding") as client:
        store = Store(client, Keys.of("kuber-cron"))

        def claim(epoch):
            rest = [pack((epoch, "cluster", 1000))]
            return store.call_packed("claim_fence", ("claim", "me"), rest, 3)[0]

        assert claim(1) == b"CLAIMED"
        address.fail_over()
        eventually(succeeds(lambda: claim(2)), within=SECONDS)


def test_a_pipeline_reads_all_its_replies_before_its_connection_ends(address):
    with open_client(address.url, "deciding") as client:
        client.set("before", "1")
        address.fail_over()
        with client.pipeline(transaction=False) as pipeline:
            replies = pipeline.set("a", "1").get("before").execute(raise_on_error=False)
            assert [type(replies[0]), replies[1]] == [redis.ReadOnlyError, b"1"]
            assert pipeline.set("a", "1").get("before").execute() == [True, b"1"]


def test_who_waits_for_a_run_on_the_demoted_server_waits_on_the_new_primary_next(address):
    with open_client(address.url, "claiming", block_seconds=60) as client, address.replica.client() as new:
        errors = []

        def claim():
            try:
                client.blmove("queue", "claims", 60)
            except redis.RedisError as error:
                errors.append(error)

        with address.primary.client() as old:
            waiting = threading.Thread(target=claim)
            waiting.start()
            eventually(lambda: old.info("clients")["blocked_clients"] == 1)
            address.fail_over()
        waiting.join(SECONDS)
        assert [is_not_primary(error) for error in errors] == [True]
        new.rpush("queue", "run")
        assert client.blmove("queue", "claims", 60) == b"run"


def test_a_listener_is_heard_of_by_what_another_connection_has_met(address):
    with (
        open_client(address.url, "deciding") as writer,
        open_client(address.url, "general") as client,
        address.replica.client() as new,
        client.pubsub(ignore_subscribe_messages=True) as listener,
    ):
        listener.subscribe("channel")
        listener.get_message(timeout=1)
        writer.set("before", "1")
        address.fail_over(demoted_follows=False)
        with pytest.raises(redis.ReadOnlyError):
            writer.set("after", "1")
        eventually(
            lambda: listener.get_message(timeout=0.1) or new.pubsub_numsub("channel") == [("channel", 1)]
        )
        new.publish("channel", "said")
        assert eventually(lambda: listener.get_message(timeout=0.1))["data"] == b"said"


def test_an_idle_reader_is_made_anew_by_what_a_writer_has_met(address):
    with open_client(address.url, "reading") as reader, open_client(address.url, "deciding") as writer:
        reader.set("key", "old")
        writer.set("key", "old")
        address.fail_over(demoted_follows=False)
        with pytest.raises(redis.ReadOnlyError):
            writer.set("key", "new")
        writer.set("key", "new")
        assert reader.get("key") == b"new"


def test_a_new_connection_is_kept_though_an_older_one_meets_the_demoted_server_later(address):
    with open_client(address.url, "deciding") as client, open_client(address.url, "deciding") as other:
        late = other.connection_pool.get_connection()
        client.set("before", "1")
        address.fail_over()
        eventually(succeeds(lambda: client.set("after", "1")), within=SECONDS)
        kept = client.client_id()
        late.send_command("SET", "after", "2")
        with pytest.raises(redis.ReadOnlyError):
            late.read_response()
        other.connection_pool.release(late)
        assert client.client_id() == kept


@pytest.mark.parametrize("purpose", ["deciding", "claiming", "general", "rq"])
def test_a_replica_is_refused_when_connecting(address, purpose):
    with (
        open_client(address.replica.url, purpose) as client,
        pytest.raises(RedisRefusedError, match="is a replica") as raised,
        translated(client),
    ):
        client.get("key")
    assert "primary" in (raised.value.hint or "")


def test_a_reader_may_read_a_replica(address):
    with open_client(address.replica.url, "reading") as client:
        assert client.get("key") is None


def test_a_primary_without_its_replicas_is_left(address):
    with open_client(address.url, "deciding") as client, address.primary.client() as direct:
        client.set("before", "1")
        met = client.client_id()
        direct.config_set("min-replicas-to-write", 2)
        with pytest.raises(redis.ResponseError, match="NOREPLICAS"):
            client.set("key", "1")
        assert client.client_id() != met


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://localhost:1/0", PrimaryConnection),
        ("rediss://localhost:1/0", PrimarySSLConnection),
        ("unix:///nowhere.sock?db=0", PrimaryUnixConnection),
        ("redis+sentinel://localhost:1/mymaster", PrimarySentinelConnection),
        ("rediss+sentinel://localhost:1/mymaster", PrimarySentinelSSLConnection),
    ],
)
def test_each_kind_of_address_gets_such_connections(url, kind):
    with open_client(url, "deciding") as client:
        assert client.connection_pool.connection_class is kind


def test_over_a_socket_of_this_machine_a_demotion_ends_the_connection(redis_server):
    server = redis_server()
    with open_client(server.url, "reading") as client:
        client.set("before", "1")
        met = client.client_id()
        client.replicaof("127.0.0.1", 1)
        with pytest.raises(redis.ReadOnlyError):
            client.set("key", "1")
        assert client.client_id() != met


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (redis.ReadOnlyError("You can't write against a read only replica."), True),
        (redis.ResponseError("Error running script (call to f_1): @user_script:1: -READONLY You can't write"), True),
        (redis.ResponseError("UNBLOCKED force unblock from blocking operation, instance state changed"), True),
        (redis.exceptions.MasterDownError("Link with MASTER is down"), True),
        (redis.ResponseError("NOREPLICAS Not enough good replicas to write."), True),
        (redis.exceptions.OutOfMemoryError("command not allowed"), False),
        (redis.ResponseError("MISCONF Redis is configured to save RDB snapshots"), False),
        (redis.ResponseError("BUSY Redis is busy running a script"), False),
        (redis.ConnectionError("READONLY"), False),
    ],
)  # fmt: skip
def test_an_answer_is_judged_by_its_code_wherever_it_stands(error, expected):
    assert is_not_primary(error) is expected
