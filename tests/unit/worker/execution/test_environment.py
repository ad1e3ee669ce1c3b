"""Which variables a command sees, and in which directory it runs."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.worker.execution.environment import environment, working_directory

names = st.from_regex(r"[A-Z_]{1,12}", fullmatch=True) | st.sampled_from(
    ["KUBER_CRON_REDIS_URL", "KUBER_CRON_SIGNING_KEY_FILE", "KUBER_CRON_ATTEMPT", "PATH", "HOME", "SHELL"]
)
variables = st.dictionaries(names, st.text(max_size=8), max_size=8)
OURS = {"KUBER_CRON_JOB", "KUBER_CRON_RUN_ID", "KUBER_CRON_ATTEMPT", "KUBER_CRON_EXECUTION"}


def build(base=None, own=None, **more):
    return environment(base or {}, own or {}, job="backup", run_id="backup-1", execution_id="e1", **more)


def test_the_run_is_told_about_itself():
    env = build(attempt=2, scheduled_at=datetime(2026, 3, 29, 1, tzinfo=UTC))
    assert env["KUBER_CRON_JOB"] == "backup"
    assert env["KUBER_CRON_RUN_ID"] == "backup-1"
    assert env["KUBER_CRON_ATTEMPT"] == "2"
    assert env["KUBER_CRON_EXECUTION"] == "e1"
    assert env["KUBER_CRON_SCHEDULED_AT"] == "2026-03-29T01:00:00Z"


def test_an_instant_in_another_zone_is_told_in_utc():
    from zoneinfo import ZoneInfo

    env = build(scheduled_at=datetime(2026, 3, 29, 3, tzinfo=ZoneInfo("Europe/Berlin")))
    assert env["KUBER_CRON_SCHEDULED_AT"] == "2026-03-29T01:00:00Z"


def test_the_zone_of_the_crontab_stays():
    assert build(own={"CRON_TZ": "Europe/Berlin"})["CRON_TZ"] == "Europe/Berlin"


def test_there_is_a_path_even_where_the_worker_has_none():
    assert build()["PATH"] == "/usr/bin:/bin"
    assert build({"PATH": "/opt"})["PATH"] == "/opt"


def test_shell_is_the_one_that_runs_it_unless_the_job_says_otherwise():
    base = {"SHELL": "/bin/zsh"}
    assert build(base, shell="/bin/sh")["SHELL"] == "/bin/sh"  # noqa: S604 - starts nothing
    assert build(base, {"SHELL": "/bin/bash"}, shell="/bin/sh")["SHELL"] == "/bin/bash"  # noqa: S604 - as above


@given(base=variables, own=variables)
def test_no_setting_or_secret_of_ours_reaches_a_command(base, own):
    env = build(base, {})
    assert {name for name in env if name.startswith("KUBER_CRON_")} == OURS


@given(base=variables, own=variables)
def test_the_jobs_variables_beat_the_workers_and_ours_beat_both(base, own):
    env = build(base, own)
    assert {name: value for name, value in env.items() if name in own and name not in OURS} == {
        name: value for name, value in own.items() if name not in OURS
    }
    assert env["KUBER_CRON_EXECUTION"] == "e1"


def test_the_directory_is_the_jobs_then_home_as_written_then_the_workers():
    assert working_directory("/a", {"HOME": "/b"}) == "/a"
    assert working_directory(None, {"HOME": "/b"}) == "/b"
    assert working_directory(None, {}) is None
    assert working_directory(None, {"HOME": ""}) is None
