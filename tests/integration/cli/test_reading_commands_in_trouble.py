"""The commands that look, where something is amiss: Redis away, rights missing, nobody leading, releases that differ."""

import json
import re
import signal
import socket
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from tests.support.cli_process import environment, kuber_cron
from tests.support.installation import installation
from tests.support.stepped import KEYS, SteppedLeader, SteppedWorker, job
from tests.support.terminals import seen, terminals
from tests.support.waiting import eventually

from kuber_cron.common.records import processes

READING = (
    ["status"],
    ["jobs"],
    ["runs"],
    ["runs", "job"],
    ["show", "job"],
    ["logs", "job"],
    ["why", "job"],
    ["queues"],
    ["workers"],
    ["quarantine", "list"],
)


@pytest.fixture
def decided(redis_client):
    """A Redis with a job that has run twice, and a run that waits."""
    leader = SteppedLeader(redis_client, job(concurrency="allow"))
    leader.minutes(0, 2)
    worker = SteppedWorker(redis_client)
    worker.work()
    leader.minutes(3, 3)
    return leader


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_redis_that_is_away_is_named_with_the_way_to_another(words):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]  # nobody listens there
        done = kuber_cron(*words, KUBER_CRON_REDIS_URL=f"redis://127.0.0.1:{port}/0")
    error, hint = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert error.startswith(f"error: Redis at 127.0.0.1:{port} is unreachable")
    assert "--redis-url or KUBER_CRON_REDIS_URL" in hint


def test_without_any_address_the_hint_says_how_to_give_one(tmp_path):
    done = kuber_cron("status", "--format", "json", cwd=tmp_path)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (1, "bad-settings")
    assert "--redis-url" in error["hint"]


def test_the_traceback_is_shown_where_it_is_asked_for(tmp_path):
    done = kuber_cron("status", "--debug", "--redis-url", "redis://127.0.0.1:1/0", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "error: Redis at 127.0.0.1:1 is unreachable" in done.stderr
    assert (
        "Traceback" not in kuber_cron("status", "--redis-url", "redis://127.0.0.1:1/0", cwd=tmp_path).stderr
    )


def test_a_wrong_password_is_told_with_the_remedy_and_never_shown(redis_server):
    server = redis_server(listen="tcp", appendfsync="no")
    port = urlsplit(server.url).port
    for url in (f"redis://:wrong-password@127.0.0.1:{port}/0", f"redis://127.0.0.1:{port}/0"):
        done = kuber_cron("status", "--redis-url", url, "--format", "json")
        error = json.loads(done.stdout)["error"]
        assert (done.returncode, error["code"]) == (1, "redis-refused")
        assert "does not accept the credentials" in error["message"]
        assert "KUBER_CRON_REDIS_PASSWORD_FILE" in error["hint"]
        assert "wrong-password" not in done.stdout


def as_user(redis_client, url, *rules):
    """The same server for a user with these rights."""
    redis_client.execute_command("ACL", "SETUSER", "viewer", "reset", "on", ">secret-of-viewer", *rules)
    return f"{url}&username=viewer&password=secret-of-viewer"


def test_a_user_who_may_only_read_is_enough_for_every_command_that_looks(redis_client, redis_url, decided):
    url = as_user(redis_client, redis_url, "~rq:*", "+@read", "+@connection", "+time", "+info")
    for words in READING:
        done = kuber_cron(*words, "--redis-url", url, "--format", "json")
        assert done.returncode == 0, (words, done.stdout)


def test_status_leaves_out_what_a_closed_info_would_tell(redis_client, redis_url, decided):
    url = as_user(redis_client, redis_url, "~rq:*", "+@read", "+@connection", "+time", "-info")
    done = kuber_cron("status", "--redis-url", url, "--format", "json")
    assert json.loads(done.stdout)["redis"]["memory_bytes"] is None


def test_a_command_that_is_not_permitted_is_named(redis_client, redis_url, decided):
    url = as_user(redis_client, redis_url, "~rq:*", "+@read", "+@connection", "+time", "-xrange")
    done = kuber_cron("why", "job", "--redis-url", url, "--format", "json")
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (1, "redis-refused")
    assert "xrange" in error["message"]
    assert "ACL" in error["hint"]


def test_that_nobody_leads_is_said_by_status_and_by_why(redis_client, redis_url, decided):
    redis_client.hset(KEYS.fence, mapping={"cluster": "kuber-cron", "seen": 1_772_000_000_000})
    done = kuber_cron("status", "--redis-url", redis_url)
    assert re.search(r"^leader +none \(the last: leader\)$", done.stdout, re.MULTILINE)
    assert "! no scheduler leads now" in done.stdout
    done = kuber_cron("why", "job", "--redis-url", redis_url)
    assert "it has not been decided yet" in done.stdout
    assert "no scheduler leads now, the last sign of one (leader)" in done.stdout


def test_releases_that_differ_are_told(redis_client, redis_url, decided):
    now = datetime.fromtimestamp(redis_client.time()[0], UTC)
    entry = processes.SchedulerInfo(holder="one", version="0.9.9", seen_at=now)
    redis_client.hset(KEYS.schedulers, "one", entry.to_text())
    for words in (["status"], ["workers"]):
        troubles = json.loads(kuber_cron(*words, "--redis-url", redis_url, "--format", "json").stdout)[
            "troubles"
        ]
        assert any("releases differ: schedulers 0.9.9, this command 0.1.0" in each for each in troubles)


def test_a_worker_whose_heartbeats_have_ceased_is_lost(redis_client, redis_url):
    name = "vm-1"
    redis_client.sadd("rq:workers", f"rq:worker:{name}")
    redis_client.hset(f"rq:worker:{name}", mapping={"queues": "default", "hostname": "vm", "pid": 7})
    (worker,) = json.loads(kuber_cron("workers", "--redis-url", redis_url, "--format", "json").stdout)[
        "workers"
    ]
    assert (worker["state"], worker["slots"], worker["pid"]) == ("lost", None, 7)
    redis_client.set(KEYS.alive(name), "1")
    (worker,) = json.loads(kuber_cron("workers", "--redis-url", redis_url, "--format", "json").stdout)[
        "workers"
    ]
    assert worker["state"] == "idle"


def test_another_instance_is_looked_at_by_its_name(redis_client, redis_url, decided):
    done = kuber_cron("jobs", "--redis-url", redis_url, KUBER_CRON_INSTANCE="team-a")
    assert done.stderr == "no jobs\n"
    bad = kuber_cron("jobs", "--redis-url", redis_url, KUBER_CRON_INSTANCE="Team A")
    assert (bad.returncode, 'KUBER_CRON_INSTANCE="Team A"' in bad.stderr) == (1, True)


# --- following, and watching ----------------------------------------------------------------------------

FLAKY = """
# kuber-cron: name=flaky retries=1 retry_delay=1s
0 0 1 1 *  echo "attempt $KUBER_CRON_ATTEMPT"; sleep 2; echo bye; test "$KUBER_CRON_ATTEMPT" = 2
"""


def test_following_goes_on_over_retries_to_the_runs_end(tmp_path, redis_url):
    with installation(tmp_path, redis_url, FLAKY) as house:
        run = house.ask("trigger", "flaky")["runs"][0]["run"]
        house.eventually("started", run)
        done = house.say("logs", "flaky", "-f")
    assert done.returncode == 0
    assert done.stdout == "attempt 1\nbye\nattempt 2\nbye\n"
    assert "attempt 1: failed, there will be another" in done.stderr
    assert f"{run}: success" in done.stderr


@pytest.fixture
def terminal():
    """Starts a command on a terminal of 12 lines of 70 cells; gives its process and our end of the terminal."""
    with terminals(12, 70) as start:
        yield lambda *words, **extra: start(*words, env=environment(**extra) | {"TERM": "xterm"})


def test_watching_draws_over_itself_and_ends_by_ctrl_c(redis_client, redis_url, decided, terminal):
    process, ours = terminal("runs", "--watch", "--redis-url", redis_url)
    sent = seen(ours, "job-20260301T000100Z", "Ctrl-C ends")
    assert "\x1b[?1049h" in sent
    assert "\x1b[2J" not in sent, "wiping the screen flickers"
    SteppedWorker(redis_client, "other").work()
    seen(ours, "\x1b[H", "job-20260301T000300Z  \x1b[32msuccess")
    process.send_signal(signal.SIGINT)
    sent = seen(ours, "\x1b[?1049l")
    assert "\x1b[?25h" in sent
    assert process.wait(60) == 130


def test_watching_outlives_a_redis_that_goes_away_and_says_so(redis_server, terminal):
    server = redis_server(appendfsync="no")
    process, ours = terminal("status", "--watch", "--redis-url", server.url)
    seen(ours, "leader")
    server.stop()
    seen(ours, "\x1b[31mRedis at ", "leader")
    process.send_signal(signal.SIGINT)
    seen(ours, "\x1b[?1049l")
    assert process.wait(60) == 130


def test_colour_is_for_terminals_and_not_where_no_color_is_set(redis_url, decided, terminal):
    red = "\x1b[32msuccess"
    process, ours = terminal("runs", "--redis-url", redis_url)
    assert red in seen(ours, "success", "queued")
    assert process.wait(60) == 0
    process, ours = terminal("runs", "--redis-url", redis_url, NO_COLOR="1")
    assert "\x1b[" not in seen(ours, "success", "queued")
    assert "\x1b[" not in kuber_cron("runs", "--redis-url", redis_url).stdout
    eventually(lambda: process.poll() is not None)


def test_a_narrow_terminal_leaves_out_what_one_can_do_without(redis_client, redis_url, decided, terminal):
    name = "a-worker-with-a-long-name-0123456789"
    redis_client.sadd("rq:workers", f"rq:worker:{name}")
    _, ours = terminal("workers", "--redis-url", redis_url, NO_COLOR="1")
    sent = seen(ours, name)
    assert max(len(line) for line in sent.splitlines()) <= 70
    assert "SUCCEEDED" not in sent
    assert "SUCCEEDED" in kuber_cron("workers", "--redis-url", redis_url).stdout


def test_a_key_that_another_tool_has_spoilt_costs_its_own_job_alone(redis_client, redis_url):
    leader = SteppedLeader(redis_client, job("good"), job("bad"))
    leader.minutes(0, 1)
    SteppedWorker(redis_client).work()
    redis_client.set(KEYS.stats("bad"), "spoilt")
    redis_client.hset(KEYS.cursors, "worse", "no cursor")
    redis_client.hset(KEYS.job_summaries, "worse", "no card")
    done = kuber_cron("jobs", "--redis-url", redis_url, "--format", "json")
    found = {each["job"]: each for each in json.loads(done.stdout)["jobs"]}
    assert found["good"]["last_outcome"] == "success"
    assert (found["bad"]["last_outcome"], found["worse"]["next_at"]) == (None, None)
    assert found["bad"]["next_at"]
    assert kuber_cron("status", "--redis-url", redis_url).returncode == 0
    assert kuber_cron("why", "worse", "--redis-url", redis_url).returncode == 0


def test_the_redis_of_a_run_in_this_directory_is_found_without_any_address(tmp_path, redis_server):
    redis_server(tmp_path / ".kuber-cron" / "redis", appendfsync="no")
    done = kuber_cron("status", cwd=tmp_path)
    assert done.returncode == 0
    assert str(tmp_path / ".kuber-cron" / "redis" / "redis.sock") in done.stdout
