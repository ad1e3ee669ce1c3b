"""The commands that look, on a real installation: what runs, what failed, what waits, and why."""

import json
import re
from datetime import UTC, datetime

import pytest
from tests.support.installation import installation
from tests.support.stepped import KEYS
from tests.support.waiting import eventually

from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis

JOBS = """
CRON_TZ=Europe/Berlin
# kuber-cron: name=yearly
0 0 1 1 *  echo dumped; echo 'no space' >&2; exit 2
# kuber-cron: name=again retries=1 retry_delay=1s
0 0 1 1 *  echo "attempt $KUBER_CRON_ATTEMPT"; test "$KUBER_CRON_ATTEMPT" = 2
# kuber-cron: name=chatty
0 0 1 1 *  seq 1 20000
# kuber-cron: name=long concurrency=forbid
@every 1s  echo begun; sleep 3600
# kuber-cron: name=after after=long
@after  true
# kuber-cron: name=resting suspend=true
@every 1s  true
# kuber-cron: name=elsewhere queue=batch description="what nobody serves"
@every 1s  true
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """One installation for all tests here, which only look; its commands have run before."""
    directory = tmp_path_factory.mktemp("house")
    with (
        EmbeddedRedis(tmp_path_factory.mktemp("redis"), appendfsync="no") as server,
        installation(directory, server.url, JOBS) as made,
    ):
        made.failed = made.ask("trigger", "yearly")["runs"][0]["run"]
        made.chatty = made.ask("trigger", "chatty")["runs"][0]["run"]
        made.retried = made.ask("trigger", "again", "--wait")["runs"][0]["run"]
        made.eventually("failed", made.failed)
        made.eventually("finished", made.chatty)
        made.running = made.first_run("long")
        made.eventually("started", made.running)
        made.held = made.first_run("after")
        eventually(lambda: made.client.hlen(KEYS.job_summaries) == 7, 30)
        execution = made.client.hget(KEYS.run(made.running), "execution").decode()
        eventually(lambda: made.client.exists(KEYS.output(execution)), 30)
        eventually(lambda: made.client.hget(KEYS.missed, "long|overlap"), 30)
        yield made


def test_status_says_who_leads_who_works_and_what_is_amiss(house):
    seen = house.ask("status")
    assert seen["leader"]["is_alive"]
    assert seen["leader"]["election"] == "redis"
    (scheduler,) = seen["schedulers"]
    assert scheduler["holder"] == seen["leader"]["holder"]
    assert (scheduler["epoch"], scheduler["jobs"], scheduler["is_valid"]) == (1, 7, True)
    (worker,) = seen["workers"]
    assert worker["state"] == "busy"
    assert worker["version"] == scheduler["version"] == seen["client_version"]
    assert seen["jobs"] == {"total": 7, "failing": 1, "paused": 0, "suspended": 1}
    assert seen["runs"]["running"] >= 1
    assert seen["runs"]["held"] >= 1
    assert [run["run"] for run in seen["failures"]] == [house.failed]
    assert any("no worker serves queue batch" in trouble for trouble in seen["troubles"])
    text = house.say("status").stdout
    assert re.search(r"^leader +scheduler_[0-9a-f]{8}, epoch 1, elected by Redis$", text, re.MULTILINE)
    assert re.search(r"^! no worker serves queue batch, where \d+ wait$", text, re.MULTILINE)


def test_jobs_say_when_each_runs_next_and_how_it_went(house):
    jobs = {job["job"]: job for job in house.ask("jobs")["jobs"]}
    assert jobs["yearly"]["next_at"].endswith("-12-31T23:00:00Z")
    assert jobs["yearly"]["timezone"] == "Europe/Berlin"
    assert (jobs["yearly"]["is_failing"], jobs["yearly"]["failed_run"]) == (True, house.failed)
    assert jobs["again"]["last_outcome"] == "success"
    assert jobs["resting"]["is_suspended"]
    assert (jobs["elsewhere"]["queue"], jobs["elsewhere"]["description"]) == ("batch", "what nobody serves")
    assert jobs["after"]["schedule"] == "@after"
    assert [job["job"] for job in house.ask("jobs", "--failing")["jobs"]] == ["yearly"]
    assert [job["job"] for job in house.ask("jobs", "--paused")["jobs"]] == ["resting"]
    assert [job["job"] for job in house.ask("jobs", "ye*", "again")["jobs"]] == ["again", "yearly"]
    table = house.say("jobs", "resting", "yearly").stdout.splitlines()
    assert table[0].split() == ["JOB", "SCHEDULE", "ZONE", "NEXT", "LAST", "ENDED", "TOOK"]
    assert "suspended" in table[1]
    assert "failed" in table[2]


def test_runs_of_each_kind_are_told_apart(house):
    assert house.running in [run["run"] for run in house.ask("runs", "--running")["runs"]]
    assert [run["run"] for run in house.ask("runs", "--failed")["runs"]] == [house.failed]
    assert house.held in [run["run"] for run in house.ask("runs", "--held")["runs"]]
    queued = house.ask("runs", "--queued", "-n", "1")
    assert (queued["runs"][0]["job"], queued["has_more"]) == ("elsewhere", True)
    assert {run["run"] for run in house.ask("runs", "--ended")["runs"]} == {
        house.failed,
        house.retried,
        house.chatty,
    }
    assert house.ask("runs", "--failed", "--since", "2099-01-01")["runs"] == []
    assert [run["run"] for run in house.ask("runs", "--failed", "--since", "1h")["runs"]] == [house.failed]
    assert [run["run"] for run in house.runs("long")] == [house.running]


def test_show_has_each_attempt_with_when_it_was_queued_and_the_end_of_its_output(house):
    seen = house.ask("show", house.retried)
    assert [each["outcome"] for each in seen["attempts"]] == ["failed", "success"]
    assert [each["attempt"] for each in seen["attempts"]] == [1, 2]
    first, second = seen["attempts"]
    assert first["exit_code"] == 1
    assert first["queued_at"] <= first["started_at"] <= first["ended_at"] <= second["queued_at"]
    assert second["head"] == "attempt 2\n"
    assert (seen["run"]["retries"], seen["retries_allowed"]) == (1, 1)
    assert seen["run"]["requested_by"]
    assert seen["command"].startswith("echo ")
    assert [entry["decision"] for entry in seen["decisions"]] == ["triggered"]
    text = house.say("show", house.failed).stdout
    assert re.search(r"^ +1  failed \(exit 2\)", text, re.MULTILINE)
    assert "  no space\n" in text


def test_show_takes_a_beginning_of_a_run_or_a_jobs_name(house):
    assert house.ask("show", house.failed[:-4])["run"]["run"] == house.failed
    assert house.ask("show", "long")["run"]["run"] == house.running
    assert house.ask("show", "long")["attempts"][-1]["head"] == "begun\n"


def test_show_says_what_a_held_run_waits_for(house):
    seen = house.ask("show", house.held)
    assert seen["waits_for"] == [{"run": house.running, "kind": "after", "state": "running"}]
    assert f"the success of {house.running}, which is running" in house.say("show", house.held).stdout


def test_logs_come_from_redis_or_from_the_log_volume(house):
    done = house.say("logs", house.failed)
    assert (done.returncode, done.stdout, done.stderr) == (0, "dumped\nno space\n", "")
    path = house.directory / "logs" / "yearly" / f"{house.failed.removeprefix('yearly-')}-1.log"
    path.write_text("the whole of it\n")
    there = {"KUBER_CRON_LOG_DIR": str(house.directory / "logs")}
    assert house.say("logs", house.failed, **there).stdout == "the whole of it\n"
    assert house.say("logs", house.retried, "--attempt", "1").stdout == "attempt 1\n"
    assert house.say("logs", house.failed, "--tail", "1").stdout == "no space\n"
    document = house.ask("logs", house.failed)
    assert (document["text"], document["is_whole"], document["outcome"]) == (
        "dumped\nno space\n",
        True,
        "failed",
    )
    missing = house.say("logs", house.failed, "--attempt", "7")
    assert missing.returncode == 1
    assert "there is no attempt 7" in missing.stderr


def test_of_a_long_output_both_ends_are_shown_and_what_is_missing_is_told(house):
    done = house.say("logs", house.chatty)
    assert done.stdout.startswith("1\n2\n3\n")
    assert done.stdout.endswith("19999\n20000\n")
    missing = re.search(
        r"^note: (\d+) bytes in the middle are not in Redis; the whole is (\S+) on ", done.stderr
    )
    assert f"[kuber-cron: {missing[1]} bytes not shown]" in done.stdout
    document = house.ask("logs", house.chatty)
    assert (document["is_whole"], document["omitted_bytes"]) == (False, int(missing[1]))
    assert house.say("logs", house.chatty, "--tail", "2").stdout == "19999\n20000\n"
    there = {"KUBER_CRON_LOG_DIR": str(house.directory / "logs")}
    assert house.say("logs", house.chatty, **there).stdout == "".join(f"{n}\n" for n in range(1, 20001))


def test_why_answers_for_both_passes_of_a_time_that_comes_twice(house):
    seen = house.ask("why", "yearly", "2025-10-26T02:30")
    assert [answer["at"] for answer in seen["answers"]] == ["2025-10-26T00:30:00Z", "2025-10-26T01:30:00Z"]
    assert "happens twice" in seen["note"]
    seen = house.ask("why", "yearly", "2025-03-30T02:30")
    assert len(seen["answers"]) == 1
    assert "does not exist: 01:59:59 is followed by 03:00:00" in seen["note"]


def test_why_answers_for_a_skip_a_suspension_and_what_is_to_come(house):
    ((_, entry),) = house.client.xrevrange(KEYS.log("long"), count=1)
    instant = f"{datetime.fromtimestamp(int(entry[b'first']), UTC):%Y-%m-%dT%H:%M:%SZ}"
    (answer,) = house.ask("why", "long", instant)["answers"]
    assert (answer["verdict"], answer["reason"]) == ("skipped", "overlap")
    assert answer["details"] == [f"{house.running} is running still"]
    assert answer["by"].startswith("scheduler_")
    (answer,) = house.ask("why", "resting", instant)["answers"]
    assert (answer["verdict"], answer["reason"]) == ("skipped", "suspended")
    (answer,) = house.ask("why", "yearly")["answers"]
    assert answer["verdict"] == "coming"
    (answer,) = house.ask("why", "yearly", "2020-01-01T00:00")["answers"]
    assert answer["verdict"] == "before_first_seen"
    assert answer["at"] == "2019-12-31T23:00:00Z"


def test_queues_and_workers_are_counted(house):
    queues = {queue["queue"]: queue for queue in house.ask("queues")["queues"]}
    assert queues["batch"]["queued"] >= 1
    assert queues["batch"]["oldest_queued_at"]
    assert (queues["batch"]["workers"], queues["default"]["workers"]) == (0, 1)
    assert queues["default"]["kept_failed"] == 1
    (worker,) = house.ask("workers")["workers"]
    assert worker["queues"] == ["default", "default-low"]
    assert worker["running"] >= 1
    assert worker["slots"] >= 4


def test_an_empty_quarantine_is_an_empty_list(house):
    assert house.ask("quarantine", "list")["runs"] == []
    assert house.say("quarantine").stderr == "nothing is in quarantine\n"
    missing = house.say("quarantine", "show", "x")
    assert missing.returncode == 1


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (["show", "yearl-20260101T000000Z"], "unknown-run", "did you mean yearly?"),
        (["why", "yearl"], "unknown-job", "did you mean yearly?"),
        (["runs", "nothing-like-it"], "unknown-job", "after, again, chatty, elsewhere, long, …"),
        (["jobs", "lang"], "unknown-job", "did you mean long?"),
        (["show", "elsewhere-2"], "ambiguous-run", "elsewhere-2"),
        (["why", "long", "soon"], "usage", "write 2026"),
        (["runs", "--watch"], "usage", "leave it out"),
    ],
)
def test_what_cannot_be_answered_is_one_error_with_a_remedy(house, words, code, hint):
    done = house.say(*words, "--format", "json")
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"], done.stderr) == (2 if code == "usage" else 1, code, "")
    assert hint in error["hint"]
