"""A right that is withdrawn while the product runs: a script is refused whole, because half of one is not undone."""

import re
from importlib import resources

import pytest
import redis
from redis.exceptions import NoPermissionError
from tests.support.clients import clients
from tests.support.stepped import SteppedWorker
from tests.support.workers import job, push, status

from kuber_cron.common.redis_store import scripts
from kuber_cron.common.redis_store.scripts import script_text

FULL = ("~rq:*", "&rq:*", "+@all")
NOT_OF_KEYS = {"PUBLISH"}


@pytest.fixture
def limited(redis_client, redis_url):
    """A client whose user's rights the test takes away."""
    redis_client.acl_setuser("limited", enabled=True, nopass=True)
    redis_client.execute_command("ACL", "SETUSER", "limited", *FULL)
    with clients(redis_url.replace("unix://", "unix://limited:x@")) as opens:
        yield opens()
    redis_client.acl_deluser("limited")


def withdraw(client: redis.Redis, *rules: str) -> None:
    client.execute_command("ACL", "SETUSER", "limited", *FULL, *rules)


def all_of(client: redis.Redis) -> dict[bytes, bytes]:
    return {key: client.dump(key) for key in client.keys("*")}


def writes_of(script: str) -> list[str]:
    return sorted({command for command, _ in scripts.rights_of(script_text(script))})


@pytest.mark.parametrize("command", writes_of("end_attempt"))
def test_an_end_that_may_not_be_written_whole_leaves_the_attempt_as_it_was(redis_client, limited, command):
    run = push(redis_client, job("job", "true"))
    worker = SteppedWorker(limited)
    assert worker.take() == run
    withdraw(redis_client, f"-{command.lower()}")
    before = all_of(redis_client)
    with pytest.raises(NoPermissionError, match=command):
        worker.end(run)
    assert all_of(redis_client) == before
    withdraw(redis_client)
    assert worker.end(run) == "DONE"
    assert redis_client.zcard("rq:wip:default") == 0


@pytest.mark.parametrize("command", writes_of("start_attempt"))
def test_a_start_that_may_not_be_written_whole_leaves_the_claim(redis_client, limited, command):
    run = push(redis_client, job("job", "true"))
    worker = SteppedWorker(limited)
    assert worker.claim() == run
    withdraw(redis_client, f"-{command.lower()}")
    before = all_of(redis_client)
    with pytest.raises(NoPermissionError, match=command):
        worker.start(run)
    assert all_of(redis_client) == before
    withdraw(redis_client)
    assert worker.start(run)
    assert status(redis_client, run) == "started"


def test_the_right_to_the_log_alone_is_asked_for_too(redis_client, limited):
    run = push(redis_client, job("job", "true"))
    worker = SteppedWorker(limited)
    assert worker.take() == run
    withdraw(redis_client, "resetkeys", "~rq:[^k]*", "~rq:kuber-cron:[^l]*")
    before = all_of(redis_client)
    with pytest.raises(NoPermissionError, match="XADD rq:kuber-cron:log:"):
        worker.end(run)
    assert all_of(redis_client) == before


def test_every_command_of_the_scripts_that_writes_is_known_as_one(redis_client):
    folder = resources.files("kuber_cron.common.redis_store.lua")
    files = [path for path in (*folder.iterdir(), *(folder / "lib").iterdir()) if path.name.endswith(".lua")]
    calls = [call for path in files for call in re.findall(r"redis\.p?call\(([^,]+),", path.read_text())]
    used = {word for call in calls for word in re.findall(r"'([A-Z]{3,})'", call)}
    flags = {name.upper(): set(told["flags"]) for name, told in redis_client.command().items()}
    assert {name for name in used if "write" in flags[name]} | NOT_OF_KEYS == scripts.WRITES.keys()


def test_a_right_is_asked_for_with_as_many_arguments_as_the_server_demands(redis_client):
    """Redis 8 answers with an error where there are fewer, or more than it takes."""
    demanded = {name.upper(): told["arity"] for name, told in redis_client.command().items()}
    for name, count in scripts.WRITES.items():
        arity = demanded[name]
        assert count + 1 == arity if arity > 0 else count + 1 >= -arity, name
