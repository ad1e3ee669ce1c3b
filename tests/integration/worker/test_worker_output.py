"""What a worker keeps of its commands' output and use of the machine, on a real Redis."""

import json
import os
import pwd
import sys
from base64 import b64decode

import pytest
from tests.support.waiting import eventually
from tests.support.workers import ended, job, push, worker

from kuber_cron.worker.execution import spawn
from kuber_cron.worker.output.log_retention import LogRetention, entries

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")


def sample(made, name, **labels):
    return made.registry.get_sample_value(name, labels) or 0


def outcome(client, run):
    """What RQ's result entry holds, which RQ itself tells of successes only."""
    ended(client, run)
    ((_, fields),) = client.xrevrange(f"rq:results:{run}", count=1)
    return json.loads(b64decode(fields[b"return_value"]))


def test_each_jobs_log_files_stay_within_its_quota(redis_client, redis_url, tmp_path):
    rare = push(redis_client, job("rare", "echo once"))
    with worker(redis_url, tmp_path, slots=1, retention=LogRetention(max_files=3)) as made:
        for _ in range(8):
            last = push(redis_client, job("frequent", "echo hello"))
        newest = outcome(redis_client, last)["log"]
        eventually(lambda: len(entries(tmp_path / "frequent")) == 3)
        assert newest in {str(entry.path) for entry in entries(tmp_path / "frequent")}
        assert os.path.exists(outcome(redis_client, rare)["log"])  # noqa: PTH110 - a path as text
        eventually(lambda: sample(made, "cron_log_trimmed_files_total") == 5)


def test_what_a_log_file_lacks_is_counted_and_the_run_succeeds(redis_client, redis_url, tmp_path):
    with worker(redis_url, tmp_path) as made:
        run = push(redis_client, job(command="head -c 30000 /dev/zero", log_limit=10_000))
        value = outcome(redis_client, run)
        assert (value["outcome"], value["output_bytes"], value["dropped_bytes"]) == (
            "success",
            30_000,
            20_000,
        )
        eventually(lambda: sample(made, "cron_log_dropped_bytes_total", reason="limit") == 20_000)
        assert sample(made, "cron_log_dropped_bytes_total", reason="disk") == 0


def test_a_log_directory_that_cannot_be_written_costs_the_log_and_no_run(redis_client, redis_url, tmp_path):
    (tmp_path / "file").touch()
    with worker(redis_url, tmp_path / "file") as made:
        value = outcome(redis_client, push(redis_client, job(command="echo hello")))
        assert (value["outcome"], value["head"], value["log"]) == ("success", "hello\n", None)
        assert "Not a directory" in value["warnings"][0]
        eventually(lambda: sample(made, "cron_log_dropped_bytes_total", reason="disk") == 6)


def test_an_attempt_has_the_limits_that_its_job_names(redis_client, redis_url, tmp_path):
    limited = job(
        command="umask; ulimit -v; ulimit -t; nice", umask="027", memory=2**30, cpu_time=90.0, nice=3
    )
    with worker(redis_url, tmp_path):
        words = outcome(redis_client, push(redis_client, limited))["head"].split()
    assert words[:3] == ["0027", str(2**20), "90"]


def test_what_an_attempt_used_is_recorded_and_exported(redis_client, redis_url, tmp_path):
    busy = "x = b'x' * 600_000_000\nimport time\nwhile time.process_time() < 0.3: pass"
    with worker(redis_url, tmp_path) as made:
        value = outcome(redis_client, push(redis_client, job("busy", [sys.executable, "-c", busy])))
        assert value["max_rss_bytes"] > 600_000_000
        assert value["cpu_seconds"] >= 0.3
        eventually(lambda: sample(made, "cron_job_cpu_seconds_total", job="busy") >= 0.3)
        assert sample(made, "cron_job_max_rss_bytes", job="busy") == value["max_rss_bytes"]


@root_only
def test_a_job_runs_as_the_user_that_it_names(redis_client, redis_url, tmp_path):
    with worker(redis_url, tmp_path, user_required=True):
        run = push(redis_client, job(command="id -u", user="nobody", cwd="/"))
        assert outcome(redis_client, run)["head"].strip() == str(pwd.getpwnam("nobody").pw_uid)


@pytest.mark.parametrize(("required", "expected"), [(True, ("failed", 126)), (False, ("success", 0))])
def test_where_the_user_is_a_must_a_job_whose_user_cannot_be_had_fails(
    redis_client, redis_url, tmp_path, required, expected
):
    with pytest.MonkeyPatch.context() as patch, worker(redis_url, tmp_path, user_required=required):
        patch.setattr(spawn.os, "geteuid", lambda: 12345)
        value = outcome(redis_client, push(redis_client, job(command="true", user="daemon")))
    assert (value["outcome"], value["exit_code"]) == expected
    assert "only root can become user 'daemon'" in value["head"] + " ".join(value["warnings"])
