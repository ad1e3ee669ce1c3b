"""Settings: which variables are read, and how bad ones are reported."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.cli.reference import settings_page
from kuber_cron.common.config.environment import PREFIX, is_service_link, variable
from kuber_cron.common.config.host import Host
from kuber_cron.common.config.setting_problems import allowed_values
from kuber_cron.common.config.settings import LeaseTiming, Settings
from kuber_cron.common.errors import SettingsError

LAPTOP = Host(cpus=2.0)
POD = Host(pod=True, namespace="jobs", cpus=0.5)


def load(environ=None, machine=LAPTOP, **overrides):
    return Settings.load(
        {f"{PREFIX}{name}": value for name, value in (environ or {}).items()}, machine, **overrides
    )


def problems_of(environ, **overrides):
    with pytest.raises(SettingsError) as raised:
        load(environ, **overrides)
    return raised.value.message.splitlines()


def test_the_names_and_defaults_of_the_interface():
    settings = load()
    assert settings.model_dump() == {
        "redis_url": None,
        "redis_password_file": None,
        "redis_ca_file": None,
        "redis_allow_volatile": False,
        "jobs": ("/app/config",),
        "jobs_format": "user",
        "instance": "kuber-cron",
        "timezone": "UTC",
        "election": "redis",
        "lease_name": "kuber-cron",
        "namespace": "default",
        "lease_seconds": 15,
        "renew_seconds": 10,
        "retry_seconds": 2,
        "failsafe_seconds": 3600,
        "empty_jobs_seconds": 3600,
        "metrics_port": 8000,
        "metrics_host": "",
        "metrics_max_jobs": 2000,
        "signing_key_file": None,
        "insecure": False,
        "worker_slots": 4,
        "worker_queues": ("default",),
        "worker_ttl_seconds": 15,
        "worker_output": "json",
        "log_dir": Path("/var/log/kuber-cron"),
        "log_keep_runs": 100,
        "log_keep_days": 30,
        "log_keep_bytes": 256 * 1024 * 1024,
        "history_runs": 100,
        "history_days": 30,
        "history_bytes": 4 * 1024 * 1024,
        "redact": ("*TOKEN", "*SECRET", "*PASSWORD", "*PASSWD", "*_PWD", "*_KEY"),
        "user": "prefer",
        "notify_url": None,
        "notify_url_file": None,
        "notify_form": "json",
        "notify_key_file": None,
        "grace_seconds": 25,
        "log_format": "auto",
        "log_level": "info",
    }


def test_a_variable_is_read_and_a_flag_wins_over_it():
    assert load({"METRICS_PORT": "9000"}).metrics_port == 9000
    assert load({"METRICS_PORT": "9000"}, metrics_port=9001).metrics_port == 9001
    assert load({"METRICS_PORT": "9000"}, metrics_port=None).metrics_port == 9000


def test_lists_are_split_and_blanks_do_not_count():
    settings = load({"WORKER_QUEUES": " reports , default,", "JOBS": "/etc/a:/etc/b"})
    assert settings.worker_queues == ("reports", "default")
    assert settings.jobs == ("/etc/a", "/etc/b")


@pytest.mark.parametrize(("text", "value"), [("1", True), ("0", False), ("true", True), ("no", False)])
def test_switches(text, value):
    assert load({"INSECURE": text}).insecure is value


@pytest.mark.parametrize(
    ("text", "value"), [("256MiB", 256 * 1024 * 1024), ("10MB", 10_000_000), ("4096", 4096), ("0", 0)]
)
def test_sizes_are_written_as_in_job_files(text, value):
    assert load({"LOG_KEEP_BYTES": text}).log_keep_bytes == value


def test_what_is_no_size_no_name_and_no_rule_is_reported():
    assert len(problems_of({"LOG_KEEP_BYTES": "much", "REDACT": "A B,C", "USER": "root"})) == 3


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_variable_counts_as_unset(text):
    assert load({"METRICS_PORT": text, "REDIS_URL": text}) == load()


@pytest.mark.parametrize("level", ["INFO", "Info", "info"])
def test_words_are_read_in_any_case(level):
    assert load({"LOG_LEVEL": level}).log_level == "info"


def test_the_process_environment_is_read_only_through_load(monkeypatch):
    monkeypatch.setenv("KUBER_CRON_METRICS_PORT", "9000")
    monkeypatch.setenv("METRICS_PORT", "9001")
    assert Settings().metrics_port == 8000


def test_all_bad_ones_are_reported_at_once_with_value_and_what_is_allowed():
    problems = problems_of(
        {
            "METRICS_PORT": "99999",
            "WORKER_QUEUES": "a b,c/d",
            "TIMEZONE": "Mars",
            "LEASE_SECONDS": "5",
            "ELECTION": "dice",
        }
    )
    assert len(problems) == 5
    assert 'KUBER_CRON_METRICS_PORT="99999": allowed is a port, `0` for any free one (logged)' in problems
    assert any(line.startswith('KUBER_CRON_WORKER_QUEUES="a b,c/d": ') for line in problems)
    assert any(line.startswith('KUBER_CRON_TIMEZONE="Mars": ') for line in problems)
    assert any(line.startswith('KUBER_CRON_ELECTION="dice": ') for line in problems)
    assert any(line.startswith("KUBER_CRON_RENEW_SECONDS 10 + margin 1") for line in problems)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEASE_SECONDS", "inf"),
        ("LEASE_SECONDS", "nan"),
        ("RETRY_SECONDS", "0"),
        ("GRACE_SECONDS", "-1"),
        ("WORKER_TTL_SECONDS", "3.9"),
        ("WORKER_SLOTS", "0"),
        ("WORKER_SLOTS", "4.5"),
        ("WORKER_QUEUES", ","),
        ("INSECURE", "perhaps"),
        ("INSTANCE", "rq"),
        ("INSTANCE", "Upper"),
        ("INSTANCE", "a" * 64),
        ("REDIS_URL", "http://host"),
        ("TIMEZONE", "../../etc/passwd"),
        ("NAMESPACE", "no/slash"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_bad_values(name, value):
    (problem,) = problems_of({name: value})
    assert problem.startswith(f'{PREFIX}{name}="{value}": allowed is ')


@pytest.mark.parametrize(
    "url", ["http://user:geheim@host/0", "http://user:ge@heim@host", "http://:ge/heim@host"]
)
def test_no_password_is_shown(url):
    assert "heim" not in "".join(problems_of({"REDIS_URL": url}))
    assert "geheim" not in repr(load({"REDIS_URL": "redis://user:geheim@host/0"}))


def test_a_flag_that_is_no_setting_is_the_callers_mistake():
    assert problems_of({}, wrong=1) == ["wrong: there is no such setting"]


# What the kubelet puts into each container of a namespace with services kuber-cron, kuber-cron-metrics, kuber-cron-redis.
SERVICE_LINKS = {
    f"KUBER_CRON{service}{suffix}": value
    for service, port in (("", 80), ("_METRICS", 8000), ("_REDIS", 6379))
    for suffix, value in {
        "_SERVICE_HOST": "10.0.0.1",
        "_SERVICE_PORT": str(port),
        "_SERVICE_PORT_HTTP": str(port),
        "_PORT": f"tcp://10.0.0.1:{port}",
        f"_PORT_{port}_TCP": f"tcp://10.0.0.1:{port}",
        f"_PORT_{port}_TCP_PROTO": "tcp",
        f"_PORT_{port}_TCP_PORT": str(port),
        f"_PORT_{port}_TCP_ADDR": "10.0.0.1",
    }.items()
}


def test_the_variables_that_kubernetes_makes_of_services_are_never_settings():
    settings = Settings.load(SERVICE_LINKS, LAPTOP)
    assert settings == load()
    assert settings.warnings == ()


@given(st.integers(min_value=0, max_value=65535))
def test_a_port_as_people_write_it_is_no_service_link(port):
    assert not is_service_link("KUBER_CRON_METRICS_PORT", str(port))
    assert load({"METRICS_PORT": str(port)}).metrics_port == port


def test_no_setting_has_a_name_that_is_always_taken_for_a_service_link():
    assert not [name for name in Settings.model_fields if is_service_link(variable(name), "1")]


def test_an_unknown_variable_is_warned_about_with_a_suggestion():
    assert load({"REDIS_UR": "x", "ZZZ": "1"}).warnings == (
        "KUBER_CRON_REDIS_UR is not a setting; did you mean KUBER_CRON_REDIS_URL?",
        "KUBER_CRON_ZZZ is not a setting and is ignored",
    )


def test_what_commands_are_given_is_not_warned_about():
    given_to_commands = ("JOB", "RUN_ID", "SCHEDULED_AT", "ATTEMPT", "EXECUTION")
    assert load(dict.fromkeys(given_to_commands, "x")).warnings == ()


def test_in_a_pod_the_leader_is_elected_by_its_lease():
    settings = load({"INSTANCE": "night"}, machine=POD)
    assert (settings.election, settings.namespace, settings.lease_name) == ("kubernetes", "jobs", "night")
    assert load({"ELECTION": "redis"}, machine=POD).election == "redis"
    assert load({"INSTANCE": "night"}, lease_name="other").lease_name == "other"


@pytest.mark.parametrize(("cpus", "slots"), [(0.5, 4), (4.0, 4), (4.1, 5), (64.0, 64)])
def test_slots_follow_the_cpus_and_are_at_least_4(cpus, slots):
    assert load(machine=Host(cpus=cpus)).worker_slots == slots


@pytest.mark.parametrize("times", [(15, 10, 2), (6, 4, 1), (3, 2, 0.5)])
def test_the_lease_profiles_of_the_specification_are_safe(times):
    lease, renew, retry = times
    assert LeaseTiming(lease=lease, renew=renew, retry=retry).problems() == []


SECONDS = st.floats(min_value=0.01, max_value=1000)


@given(lease=SECONDS, renew=SECONDS, retry=SECONDS)
def test_safe_times_end_a_term_before_another_may_begin_and_survive_a_lost_request(lease, renew, retry):
    times = LeaseTiming(lease=lease, renew=renew, retry=retry)
    safe = (
        renew + max(1, lease / 10) <= lease and renew >= min(3, renew / 3) + 2 * retry and renew > 1.2 * retry
    )
    assert (times.problems() == []) is safe


def test_the_documented_table_is_the_one_of_the_code():
    written = (Path(__file__).parents[4] / "docs" / "settings.md").read_text(encoding="utf-8")
    assert written == settings_page.page(), "run: make docs"


def test_each_setting_says_what_it_is_and_what_it_may_be():
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert allowed_values(field), name
