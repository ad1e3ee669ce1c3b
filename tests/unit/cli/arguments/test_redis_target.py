import socket
from pathlib import Path

import pytest

from kuber_cron.cli.arguments import redis_target
from kuber_cron.common.errors import SettingsError

URL = "redis://elsewhere:6379/0"


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """A directory in which no `kuber-cron run` has been."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def local(nowhere):
    """A socket where `kuber-cron run` has its own Redis listen."""
    redis_target.SOCKET.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(redis_target.SOCKET))
        yield


def test_the_flag_wins_over_the_variable_and_that_over_the_redis_of_this_directory(local):
    variables = {"KUBER_CRON_REDIS_URL": URL}
    assert redis_target.place("redis://flag:1/0", variables).url == "redis://flag:1/0"
    assert redis_target.place(None, variables).url == URL
    found = redis_target.place(None, {"KUBER_CRON_REDIS_PASSWORD_FILE": "/run/password"})
    assert found.url.endswith("/.kuber-cron/redis/redis.sock?db=0")
    assert (found.is_local, found.password_file) == (True, None), (
        "it has no password, whatever another one has"
    )


def test_the_log_files_are_looked_for_where_the_workers_of_that_redis_write_them(local):
    assert redis_target.place(None, {}).log_dir == Path(".kuber-cron/logs")
    assert redis_target.place(URL, {}).log_dir == Path("/var/log/kuber-cron")
    assert redis_target.place(None, {"KUBER_CRON_LOG_DIR": "/logs"}).log_dir == Path("/logs")


def test_without_an_address_the_way_to_give_one_is_told():
    with pytest.raises(SettingsError, match="KUBER_CRON_REDIS_URL is not set") as raised:
        redis_target.place(None, {"KUBER_CRON_REDIS_URL": "  "})
    assert "--redis-url" in raised.value.hint


def test_settings_of_other_matters_are_not_looked_at():
    variables = {"KUBER_CRON_LEASE_SECONDS": "minus one", "KUBER_CRON_INSTANCE": "team-a"}
    found = redis_target.place(URL, variables)
    assert (found.instance, found.password_file, found.ca_file) == ("team-a", None, None)


@pytest.mark.parametrize("instance", ["rq", "Team A", "-a", "a" * 64])
def test_an_instance_that_is_none_is_refused_by_its_name(instance):
    with pytest.raises(SettingsError, match=f'KUBER_CRON_INSTANCE="{instance}"'):
        redis_target.place(URL, {"KUBER_CRON_INSTANCE": instance})
