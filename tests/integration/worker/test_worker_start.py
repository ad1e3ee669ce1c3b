"""A worker that begins while Redis is no help: it says so in the words of every other command."""

import pytest
from tests.support.workers import worker

from kuber_cron.common.errors import RedisRefusedError, RedisUnreachableError


def test_a_redis_that_went_away_is_named_with_a_remedy(tmp_path):
    with (
        pytest.raises(RedisUnreachableError, match="unreachable") as raised,
        worker(f"unix://{tmp_path}/nobody.sock", tmp_path),
    ):
        pass
    assert "--redis-url" in raised.value.hint


def test_a_redis_that_refuses_the_registration_is_named_with_a_remedy(redis_client, redis_url, tmp_path):
    may = ["+@all", "-hset"]
    redis_client.acl_setuser("starts", enabled=True, nopass=True, keys=["*"], channels=["*"], commands=may)
    try:
        with (
            pytest.raises(RedisRefusedError) as raised,
            worker(redis_url.replace("unix://", "unix://starts:x@"), tmp_path),
        ):
            pass
    finally:
        redis_client.acl_deluser("starts")
    assert "ACL" in raised.value.hint
