"""``trigger``, ``stop``, ``retry``, ``pause``, ``resume``, ``backfill``: with a scheduler and a worker of their own."""

import json
import os
import pty
import subprocess

import pytest
import redis
from tests.support.cli_process import COMMAND, InProcess, end, environment
from tests.support.json_schema import document_faults
from tests.support.stepped import KEYS
from tests.support.waiting import eventually

from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis

CRONTAB = r"""
CRON_TZ=Europe/Berlin
# kuber-cron: name=hello
0 4 * * *  echo "hello $WHOM"; echo aside >&2
# kuber-cron: name=fails
0 4 * * *  echo "try $KUBER_CRON_ATTEMPT"; exit 3
# kuber-cron: name=again retries=1 retry_delay=1s
0 4 * * *  echo "try $KUBER_CRON_ATTEMPT"; test $KUBER_CRON_ATTEMPT = 2
# kuber-cron: name=killed
0 4 * * *  kill -TERM $$
# kuber-cron: name=late timeout=1s kill_grace=1s
0 4 * * *  sleep 60
# kuber-cron: name=long concurrency=forbid
0 4 * * *  echo begun; exec sleep 60
# kuber-cron: name=stays success_codes=0,7
0 4 * * *  exit 7
# kuber-cron: name=follows after=fails
0 4 * * *  echo never
# kuber-cron: name=line concurrency=queue
0 4 * * *  true
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A Redis, a scheduler that leads and a worker, for all tests that need them."""
    directory = tmp_path_factory.mktemp("house")
    (directory / "crontab").write_text(CRONTAB)
    with (
        EmbeddedRedis(directory / "redis", appendfsync="no") as server,
        redis.Redis.from_url(server.url) as client,
    ):
        variables = {
            "REDIS_URL": server.url,
            "INSECURE": "1",
            "ELECTION": "redis",
            "METRICS_PORT": "0",
            "METRICS_HOST": "127.0.0.1",
            "LOG_DIR": str(directory / "logs"),
            "WORKER_OUTPUT": "off",
        }
        with (directory / "tiers.log").open("wb") as log:
            tiers = [
                subprocess.Popen(
                    [*COMMAND, *words],
                    env=environment(**{f"KUBER_CRON_{name}": value for name, value in variables.items()}),
                    stderr=log,
                )
                for words in (("scheduler", str(directory / "crontab")), ("worker",))
            ]
        try:
            eventually(lambda: client.hlen(KEYS.cursors) == 9 and client.scard("rq:workers"), 30)
            yield server.url, client
        finally:
            end(tiers)


@pytest.fixture
def kuber_cron(house, tmp_path, monkeypatch, capfd):
    """The command, where there is somebody who leads and works."""
    command = InProcess(tmp_path, monkeypatch, capfd)
    return lambda *words, **variables: command(*words, KUBER_CRON_REDIS_URL=house[0], **variables)


@pytest.fixture
def alone(tmp_path, monkeypatch, capfd, redis_url):
    """The command, with a Redis and nobody else."""
    command = InProcess(tmp_path, monkeypatch, capfd)
    return lambda *words, **variables: command(*words, KUBER_CRON_REDIS_URL=redis_url, **variables)


def document_of(command, said):
    """The JSON document, held to its schema."""
    document = json.loads(said.stdout)
    assert document_faults(command, document) == []
    return document


def run_of(said):
    return said.stdout.partition(":")[0].strip()


def status(client, run):
    return (client.hget(KEYS.run(run), "status") or b"").decode()


def test_waiting_for_a_trigger_gives_the_commands_output_and_its_exit_status(kuber_cron):
    said = kuber_cron("trigger", "hello", "--wait", "--env", "WHOM=you there")
    assert (said.returncode, said.stdout) == (0, "hello you there\n")
    queued, aside, ended = said.stderr.splitlines()
    assert queued.startswith("kuber-cron: hello-")
    assert aside == "aside"
    assert ended.startswith("kuber-cron: hello: success after ")
    for job, exit_status in (("fails", 3), ("killed", 128 + 15), ("late", 124), ("stays", 7)):
        assert kuber_cron("trigger", job, "--wait").returncode == exit_status


def test_waiting_goes_on_over_a_retry_and_shows_both_outputs(kuber_cron):
    said = kuber_cron("trigger", "again", "--wait")
    assert (said.returncode, said.stdout) == (0, "try 1\ntry 2\n")
    assert "attempt 1: failed, there will be another\n" in said.stderr


def test_the_document_of_a_trigger_has_its_end_and_stdout_nothing_else(kuber_cron):
    said = kuber_cron("trigger", "fails", "--wait", "--chain", "--format", "json")
    document = document_of("trigger", said)
    assert said.returncode == document["exit_status"] == 3
    assert [(each["job"], each["verdict"]) for each in document["runs"]] == [
        ("fails", "queued"),
        ("follows", "held"),
    ]
    first, second = document["ends"]
    assert (first["outcome"], first["exit_code"], first["exit_status"]) == ("failed", 3, 3)
    assert (second["outcome"], second["exit_code"], second["exit_status"]) == ("predecessor", None, 1)
    assert "try 1" in said.stderr


def test_a_run_is_stopped_and_run_again(kuber_cron, house):
    _, client = house
    run = run_of(kuber_cron("trigger", "long"))
    eventually(lambda: status(client, run) == "started")
    refused = kuber_cron("trigger", "long")
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        "error: job long: its runs may not overlap, and one has not ended\nhint: "
    )
    assert kuber_cron("retry", run).stderr.startswith(f"error: {run} has not ended: its status is started")
    unsure = kuber_cron("stop", run)
    assert (unsure.returncode, unsure.stderr) == (
        1,
        f"error: not confirmed: stop {run}?\nhint: say --yes where nobody can be asked\n",
    )
    stopped = kuber_cron("stop", run[:-4], "--yes", "--wait", "--format", "json")
    document = document_of("stop", stopped)
    assert (stopped.returncode, document["run"], document["state"]) == (0, run, "stopping")
    assert document["end"]["outcome"] == "stopped"
    over = kuber_cron("stop", run, "--yes")
    assert (over.returncode, over.stderr.splitlines()[0]) == (1, f"error: {run} has ended already: stopped")
    assert kuber_cron("retry", run).stdout == f"{run}: queued again\n"
    eventually(lambda: status(client, run) == "started")
    all_of_it = kuber_cron("stop", "--job", "long", "--yes", "--format", "json")
    assert [each["run"] for each in document_of("stop", all_of_it)["runs"]] == [run]
    eventually(lambda: status(client, run) == "stopped")
    assert kuber_cron("stop", "--job", "long").stdout == "no run of long is under way\n"


def test_a_success_is_run_again_on_purpose_and_waited_for(kuber_cron, house):
    _, client = house
    run = run_of(kuber_cron("trigger", "hello"))
    eventually(lambda: status(client, run) == "finished")
    unsure = kuber_cron("retry", run)
    assert unsure.stderr.startswith(f"error: not confirmed: {run} has succeeded: run it again?")
    said = kuber_cron("retry", run, "--yes", "--wait")
    assert (said.returncode, said.stdout) == (0, "hello \n")
    document = document_of("retry", kuber_cron("retry", run, "--force", "--wait", "--format", "json"))
    assert (document["verdict"], document["end"]["attempt"], document["end"]["exit_status"]) == (
        "queued",
        3,
        0,
    )


def test_a_span_is_made_up_for_once(kuber_cron, house):
    _, client = house
    words = ("backfill", "line", "--from", "2026-03-27", "--to", "2026-03-31")
    dry = kuber_cron(*words, "--dry-run")
    assert [line.split()[:2] for line in dry.stdout.splitlines()[1:]] == [
        ["2026-03-27", "03:00:00Z"],
        ["2026-03-28", "03:00:00Z"],
        ["2026-03-29", "02:00:00Z"],
        ["2026-03-30", "02:00:00Z"],
    ]
    assert kuber_cron(*words).stderr.startswith(
        "error: not confirmed: make 4 runs of line, 2026-03-27T03:00:00Z to 2026-03-30T02:00:00Z?"
    )
    made = document_of("backfill", kuber_cron(*words, "--yes", "--format", "json"))
    assert [each["verdict"] for each in made["runs"]] == ["queued", "held", "held", "held"]
    assert (made["from_at"], made["to_at"], made["dry_run"]) == (
        "2026-03-26T23:00:00Z",
        "2026-03-30T22:00:00Z",
        False,
    )
    eventually(lambda: all(status(client, each["run"]) == "finished" for each in made["runs"]))
    again = kuber_cron(*words)
    assert again.returncode == 0
    assert again.stdout.count("left out: its instant has succeeded") == 4
    many = kuber_cron(*words[:2], "--from", "2020-01-01", "--to", "2026-01-01")
    assert many.stderr.startswith("error: line has more than 100 instants from ")


def test_a_local_time_that_comes_twice_is_said_and_both_passes_are_in_the_span(kuber_cron):
    said = kuber_cron(
        "backfill",
        "line",
        "--from",
        "2025-10-26T02:30",
        "--to",
        "2025-10-26T02:30",
        "--dry-run",
        "--format",
        "json",
    )
    assert said.stderr.count("happens twice: 2025-10-26T00:30:00Z and 2025-10-26T01:30:00Z") == 2
    assert json.loads(said.stdout)["error"]["code"] == "no-instants"
    wrong = kuber_cron("backfill", "line", "--from", "2025-10-27", "--to", "2025-10-26")
    assert (wrong.returncode, wrong.stderr.splitlines()[1]) == (2, "hint: --to is later than --from")


def test_a_paused_job_is_not_triggered_and_a_resumed_one_is(kuber_cron):
    assert kuber_cron("pause", "hello").stdout == "hello: paused, until it is resumed\n"
    refused = kuber_cron("trigger", "hello", "--format", "json")
    assert (refused.returncode, json.loads(refused.stdout)["error"]["code"]) == (1, "suspended")
    assert (
        kuber_cron("backfill", "hello", "--from", "2026-03-01", "--to", "2026-03-02", "--yes").returncode == 1
    )
    assert kuber_cron("resume", "hello").stdout == "hello: resumed\n"
    assert kuber_cron("trigger", "hello").returncode == 0


# --- without a leader --------------------------------------------------------------------------------


def known(client, *jobs):
    client.hset(KEYS.cursors, mapping=dict.fromkeys(jobs, "1772323200|Europe/Berlin|0 4 * * *"))


def test_a_pause_needs_no_leader(alone, redis_client):
    known(redis_client, "hello")
    timed = document_of("pause", alone("pause", "hello", "--until", "2h", "--format", "json"))
    assert (timed["job"], timed["paused"], timed["changed"]) == ("hello", True, True)
    until_ms = int(redis_client.hget(KEYS.paused, "hello"))
    assert 7190 < until_ms / 1000 - redis_client.time()[0] <= 7200
    assert alone("pause", "--all").stdout == "all jobs: paused, until it is resumed\n"
    resumed = alone("resume", "hello")
    assert (resumed.stdout, resumed.stderr) == (
        "hello: resumed\n",
        "note: all jobs are paused still: kuber-cron resume --all ends that\n",
    )
    assert alone("resume", "hello").stdout == "hello: was not paused\n"
    assert document_of("resume", alone("resume", "--all", "--format", "json")) == {
        "version": 1,
        "job": None,
        "paused": False,
        "until_at": None,
        "changed": True,
        "all_paused": False,
    }


def test_the_end_of_a_pause_is_a_time_of_the_jobs_zone(alone, redis_client):
    known(redis_client, "hello")
    said = alone("pause", "hello", "--until", "2099-07-01T12:00")
    assert said.stdout == "hello: paused until 2099-07-01T10:00:00Z\n"
    assert int(redis_client.hget(KEYS.paused, "hello")) == 4086583200000
    past = alone("pause", "hello", "--until", "2020-07-01T12:00")
    assert (past.returncode, past.stderr.splitlines()[0][:52]) == (
        2,
        'error: --until "2020-07-01T12:00" is in the past: it',
    )


@pytest.mark.parametrize(
    "words", [("pause",), ("resume",), ("pause", "hello", "--all"), ("stop",), ("stop", "x", "--job", "y")]
)
def test_what_is_meant_has_to_be_said(alone, words):
    said = alone(*words)
    assert (said.returncode, said.stderr[:15]) == (2, "error: say whic")


@pytest.mark.parametrize(
    "words",
    [
        ("trigger", "helo"),
        ("pause", "helo"),
        ("resume", "helo"),
        ("stop", "--job", "helo"),
        ("backfill", "helo", "--from", "2026-03-01", "--to", "2026-03-02"),
    ],
)
def test_a_misspelt_job_gets_a_suggestion(alone, redis_client, words):
    known(redis_client, "hello")
    said = alone(*words)
    assert (said.returncode, said.stderr) == (1, 'error: there is no job "helo"\nhint: did you mean hello?\n')


def test_a_trigger_without_a_leader_says_so_and_is_withdrawn(alone, redis_client):
    known(redis_client, "hello")
    said = alone("trigger", "hello", "--timeout", "0.2")
    assert (said.returncode, said.stderr.splitlines()[0]) == (
        1,
        "error: no scheduler has ever led on this Redis: the request is withdrawn",
    )
    redis_client.hset(KEYS.fence, mapping={"epoch": 1, "seen": int(redis_client.time()[0] * 1000 - 60_000)})
    said = alone("trigger", "hello", "--timeout", "0.2", "--format", "json")
    error = json.loads(said.stdout)["error"]
    assert (said.returncode, error["code"]) == (1, "no-leader")
    assert error["message"].startswith("no scheduler leads, and none has for 6")
    assert not list(redis_client.scan_iter("rq:kuber-cron:request*"))


def test_a_run_that_nobody_knows_is_named(alone, redis_client):
    known(redis_client, "hello")
    for words in (("stop", "hello-20260101T000000Z", "--yes"), ("retry", "hello-20260101T000000Z")):
        said = alone(*words)
        assert (said.returncode, said.stderr.splitlines()[0]) == (
            1,
            'error: there is no run "hello-20260101T000000Z"',
        )


def test_a_run_of_rqs_own_is_left_to_rq(alone, redis_client):
    redis_client.hset(KEYS.run("theirs"), mapping={"status": "queued", "origin": "default"})
    for words in (("stop", "theirs", "--yes"), ("retry", "theirs")):
        assert alone(*words).stderr.startswith(
            "error: theirs is RQ's, of no job of Kuber-Cron's\nhint: rq and"
        )


@pytest.mark.parametrize(
    ("typed", "is_stopped"), [("y\n", True), ("yes\n", True), ("\n", False), ("n\n", False)]
)
def test_who_sits_at_a_terminal_is_asked(tmp_path, redis_client, redis_url, typed, is_stopped):
    redis_client.hset(
        KEYS.run("hello-20260301T000000Z"),
        mapping={"status": "queued", "origin": "default", "job": "hello", "at": 1772323200},
    )
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "stop", "hello-20260301T000000Z", "--redis-url", redis_url],
        env=environment(),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    try:
        asked = b""
        while b"[y/N]" not in asked:
            asked += os.read(ours, 1000)
        os.write(ours, typed.encode())
        out, _ = process.communicate(timeout=60)
    finally:
        end([process])
        os.close(ours)
        os.close(theirs)
    assert asked.startswith(b"stop hello-20260301T000000Z? ")
    assert process.returncode == (0 if is_stopped else 1)
    assert ("stopped, it was not running" in out) == is_stopped
    assert (status(redis_client, "hello-20260301T000000Z") == "canceled") == is_stopped


def test_a_bad_variable_is_refused_before_anything_is_asked(alone, redis_client):
    known(redis_client, "hello")
    wrong = alone("trigger", "hello", "--env", "MODE")
    assert (wrong.returncode, wrong.stderr.splitlines()[0]) == (2, 'error: --env "MODE" is not NAME=VALUE')
    own = alone("trigger", "hello", "--env", "KUBER_CRON_JOB=x")
    assert (own.returncode, own.stderr.splitlines()[0]) == (
        1,
        "error: the variable KUBER_CRON_JOB is Kuber-Cron's own",
    )
    assert not list(redis_client.scan_iter("rq:kuber-cron:request*"))


def test_a_key_that_cannot_be_read_is_an_error(alone, redis_client, tmp_path):
    known(redis_client, "hello")
    (tmp_path / "empty").write_text("\n")
    for name, words in (("nothing", "cannot read the signing key file"), ("empty", "the signing key file")):
        said = alone("trigger", "hello", KUBER_CRON_SIGNING_KEY_FILE=str(tmp_path / name))
        assert said.returncode == 1
        assert said.stderr.startswith(f"error: {words}")


# --- quarantine --------------------------------------------------------------------------------------

FORGED = "hello-20260301T000000Z"


def quarantined(client):
    """A run that a worker could not verify."""
    client.hset(
        KEYS.run(FORGED),
        mapping={
            "status": "failed",
            "outcome": "failed",
            "origin": "default",
            "job": "hello",
            "at": 1772323200,
        },
    )
    client.xadd(KEYS.quarantine, {"run": FORGED, "note": '{"reason": "signature"}', "at": "", "by": "worker"})


def test_a_run_leaves_the_quarantine_for_its_queue(alone, redis_client):
    quarantined(redis_client)
    said = alone("quarantine", "release", FORGED, "--format", "json")
    assert document_of("quarantine", said) == {"version": 1, "run": FORGED, "verdict": "queued", "end": None}
    assert redis_client.lrange("rq:queue:default", 0, -1) == [FORGED.encode()]
    assert alone("quarantine", "list").stderr == "nothing is in quarantine\n"
    again = alone("quarantine", "release", FORGED)
    assert (again.returncode, again.stderr.splitlines()[0]) == (
        1,
        f'error: there is no run "{FORGED}" in quarantine',
    )


def test_a_run_is_dropped_from_the_quarantine_once_that_is_confirmed(alone, redis_client):
    quarantined(redis_client)
    unsure = alone("quarantine", "drop", FORGED, "--format", "json")
    assert (unsure.returncode, json.loads(unsure.stdout)["error"]["code"]) == (1, "unconfirmed")
    said = alone("quarantine", "drop", FORGED, "--yes")
    assert (said.returncode, said.stdout) == (0, f"{FORGED}: dropped\n")
    assert redis_client.xlen(KEYS.quarantine) == 0
    assert alone("quarantine", "drop", FORGED, "--yes").returncode == 1


def test_what_was_put_aside_is_not_queued(alone, redis_client):
    quarantined(redis_client)
    redis_client.set(KEYS.aside(FORGED), "no run")
    said = alone("quarantine", "release", FORGED)
    assert (said.returncode, said.stderr.splitlines()[0]) == (
        1,
        f"error: what stood under the name {FORGED} was no run, so there is nothing to queue",
    )
