"""Which real servers are refused, which are warned about, and why."""

import dataclasses
import re
from importlib import resources

import pytest
import redis
from tests.support.waiting import eventually

from kuber_cron.common.errors import RedisRefusedError, RedisUnreachableError
from kuber_cron.common.redis_store.connections import open_client
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.redis_store.server_check import (
    ServerFacts,
    check_access,
    check_server,
    read_facts,
    unfitness,
    warnings,
)

FIT = ServerFacts(
    address="host:6379",
    flavour="redis",
    version=(7, 2, 4),
    run_id="r",
    role="master",
    cluster=False,
    eviction_policy="noeviction",
    appends=True,
    snapshots=False,
    replicas=0,
    min_replicas_to_write=0,
    min_replicas_max_lag=10,
    embedded=False,
)


@pytest.fixture
def check(redis_server):
    """Checks a server that was started with these options."""
    clients = []

    def checked(options=None, *, listen="auto", allow_volatile=False):
        client = open_client(redis_server(options=options, listen=listen).url, "general")
        clients.append(client)
        return check_server(client, allow_volatile=allow_volatile)

    yield checked
    for client in clients:
        client.close()


def test_our_own_server_is_fit_and_known(check):
    facts = check()
    assert facts.embedded
    assert facts.version >= (6, 2)
    assert len(facts.run_id) == 40
    assert warnings(facts) == []


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_server_that_may_drop_keys_is_refused(check, policy):
    with pytest.raises(RedisRefusedError, match=policy) as raised:
        check({"maxmemory-policy": policy})
    assert "noeviction" in (raised.value.hint or "")


def test_a_server_that_keeps_nothing_is_refused_unless_that_is_allowed(check):
    with pytest.raises(RedisRefusedError, match="keeps nothing") as raised:
        check({"appendonly": "no"})
    assert "KUBER_CRON_REDIS_ALLOW_VOLATILE" in (raised.value.hint or "")
    facts = check({"appendonly": "no"}, allow_volatile=True)
    assert warnings(facts) == ["it keeps nothing over a restart"]


def test_snapshots_alone_are_warned_about(check):
    assert "snapshots only" in warnings(check({"appendonly": "no", "save": "3600 1"}))[0]


def test_a_cluster_is_refused_for_what_it_is(check):
    with pytest.raises(RedisRefusedError, match="Redis Cluster"):
        check({"cluster-enabled": "yes"}, listen="tcp")


def test_a_replica_is_refused(check):
    with pytest.raises(RedisRefusedError, match="is a replica"):
        check({"replicaof": "127.0.0.1 1"})


def test_a_primary_that_does_not_wait_for_its_replicas_is_warned_about(redis_server):
    primary = redis_server(listen="tcp")
    host, _, port = primary.url.rpartition("@")[2].partition("/")[0].partition(":")
    password = primary.url.partition("://:")[2].partition("@")[0]
    redis_server(
        options={"replicaof": f"{host} {port}", "masterauth": password, "repl-diskless-sync-delay": "0"}
    )
    with open_client(primary.url, "general") as client:
        eventually(lambda: read_facts(client).replicas == 1)
        assert "min-replicas-to-write 1" in warnings(check_server(client))[0]
        client.config_set("min-replicas-to-write", 1)
        assert warnings(check_server(client)) == []


def test_where_config_is_closed_the_unknown_is_warned_about(redis_server):
    server = redis_server(options={"appendonly": "no"})
    with open_client(server.url, "general") as admin:
        admin.acl_setuser(
            "tier", enabled=True, passwords=["+pw"], categories=["+@all"], commands=["-config"], keys=["*"]
        )
    with open_client(f"{server.url}&username=tier&password=pw", "general") as client:
        facts = check_server(client)
    assert facts.snapshots is None
    assert facts.eviction_policy == "noeviction"  # INFO says it
    assert warnings(facts) == ["whether it keeps its data over a restart is unknown"]


def test_info_forbidden_is_refused(redis_server):
    server = redis_server()
    with open_client(server.url, "general") as admin:
        admin.acl_setuser(
            "tier", enabled=True, passwords=["+pw"], categories=["+@all"], commands=["-info"], keys=["*"]
        )
    with (
        open_client(f"{server.url}&username=tier&password=pw", "general") as client,
        pytest.raises(RedisRefusedError, match="does not permit"),
    ):
        check_server(client)


def test_no_server_is_unreachable():
    with open_client("redis://127.0.0.1:1", "deciding") as client, pytest.raises(RedisUnreachableError):
        check_server(client)


def test_what_names_no_version_is_no_redis(redis_client, monkeypatch):
    monkeypatch.setattr(redis.Redis, "info", lambda _client: {"imitation": 1})
    with pytest.raises(RedisUnreachableError, match="not as a Redis does"):
        check_server(redis_client)


def test_a_server_without_lmove_is_too_old():
    assert unfitness(dataclasses.replace(FIT, version=(6, 2, 0)), allow_volatile=False) is None
    reason, _ = unfitness(dataclasses.replace(FIT, version=(6, 0, 16)), allow_volatile=False) or ("", "")
    assert "6.0.16" in reason


def test_an_unknown_eviction_policy_and_unknown_replica_settings_are_warned_about():
    unknown = dataclasses.replace(FIT, eviction_policy=None, replicas=2, min_replicas_to_write=None)
    assert unfitness(unknown, allow_volatile=False) is None
    assert len(warnings(unknown)) == 2


@pytest.fixture
def as_user(redis_server):
    """A store of the prefix rq whose user has these rules."""
    server = redis_server()
    clients = [open_client(server.url, "general")]

    def store(*rules):
        clients[0].acl_setuser(
            "limited", enabled=True, reset=True, passwords=["+secret"], keys=[], commands=[]
        )
        clients[0].execute_command("ACL", "SETUSER", "limited", *rules)
        client = redis.Redis(unix_socket_path=server.url.removeprefix("unix://").partition("?")[0], protocol=2,
                             username="limited", password="secret")  # fmt: skip
        clients.append(client)
        return Store(client, Keys("rq"))

    yield store
    for client in clients:
        client.close()


RULES = ("~rq:*", "&rq:*", "+@all", "-@dangerous", "+info", "+keys")


def test_the_documented_user_may_do_all_that_the_scripts_do(as_user):
    check_access(as_user(*RULES))


@pytest.mark.parametrize(
    ("hole", "named"),
    [
        (("-rpush",), "RPUSH rq:queue:"),
        (("-xadd",), "XADD rq:kuber-cron:log:"),
        (("resetkeys", "~rq:kuber-cron:*"), "rq:queue:"),
        (("resetchannels",), "PUBLISH rq:pubsub:"),
    ],
)
def test_a_hole_in_the_acl_is_refused_by_name_before_anything_depends_on_it(as_user, hole, named):
    with pytest.raises(RedisRefusedError, match=named) as raised:
        check_access(as_user(*RULES, *hole))
    assert "~rq:*" in (raised.value.hint or "")


def test_the_probe_tries_every_command_that_the_scripts_use():
    folder = resources.files("kuber_cron.common.redis_store.lua")
    files = [*folder.iterdir(), *(folder / "lib").iterdir()]
    scripts = {path.name: path.read_text() for path in files if path.name.endswith(".lua")}
    probe = scripts.pop("check_permissions.lua")
    calls = [call for text in scripts.values() for call in re.findall(r"redis\.p?call\(([^,]+),", text)]
    used = {word for call in calls for word in re.findall(r"'([A-Z]{3,})'", call)}
    assert len(used) > 40
    # Without TIME, which has no key, the first script of all fails and says so. Without MEMORY sizes are guessed.
    assert used - {"TIME", "MEMORY"} - set(re.findall(r"try\('([A-Z]+)'", probe)) == set()


def test_the_probe_leaves_no_key_behind(redis_client):
    check_access(Store(redis_client, Keys("rq")))
    assert redis_client.keys("*") == []
