import json
import os
import signal
import subprocess
import sys

import pytest
from tests.cli_process import COMMAND, environment, kuber_cron

from kuber_cron import __version__

DAILY = ("next", "--schedule", "30 2 * * *", "--timezone", "Europe/Berlin", "--from", "2026-03-28")


def test_the_version_is_the_packages():
    assert kuber_cron("--version").stdout == f"kuber-cron {__version__}\n"


def test_without_a_command_the_help_is_shown_as_a_usage_error():
    done = kuber_cron()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == kuber_cron("--help").stdout


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (["chek"], "no such command 'chek'", "did you mean 'check'?"),
        (["next", "--cuont", "3"], "no such option: --cuont", "did you mean --count?"),
        (["next", "--tmezone=x"], "no such option: --tmezone", "did you mean --timezone?"),
        (["check"], "missing argument 'FILE'", "see kuber-cron check --help"),
        (["next"], "give job files or --schedule", "see kuber-cron next --help"),
        (
            ["next", "--schedule", "* * * * *", "--from", "soon"],
            '"soon" is not an ISO 8601 instant',
            "write 2026",
        ),
        (["next", "--schedule", "* * * * *", "--timezone", "Berlin"], "unknown time zone", "'Europe/Berlin'"),
        (
            ["next", "--schedule", "* * * * *", "-n", "0"],
            "invalid value for '--count'",
            "see kuber-cron next",
        ),
        (
            ["next", "--schedule", "* * * * *", "-n", "1001"],
            "invalid value for '--count'",
            "see kuber-cron next",
        ),
        (
            ["convert", "x", "--to", "xml"],
            "invalid value for '--to': 'xml' is not one of",
            "see kuber-cron convert",
        ),
        (["run", "-"], "run cannot read jobs from standard input", "save the jobs in a file"),
        (["exec", "x", "--env", "MODE"], '--env "MODE" is not NAME=VALUE', "write --env MODE=full"),
    ],
)
def test_a_wrong_call_is_one_error_one_hint_and_status_2(words, error, hint):
    done = kuber_cron(*words)
    assert (done.returncode, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()
    assert first.startswith(f"error: {error}")
    assert second.startswith("hint: ")
    assert hint in second


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (["next"], 2, "usage"),
        (["nxt"], 2, "usage"),
        (["next", "--bad"], 2, "usage"),
        (["next", "--schedule", "61 * * * *"], 1, "bad-schedule"),
        (["next", "--schedule", "* * * * *", "--from", "x"], 2, "usage"),
    ],
)
def test_every_error_is_one_json_document_on_stdout_where_json_is_asked_for(words, status, code):
    done = kuber_cron(*words, "--format", "json")
    assert (done.returncode, done.stderr) == (status, "")
    document = json.loads(done.stdout)
    assert document["version"] == 1
    assert document["error"]["code"] == code
    assert set(document["error"]) == {"code", "message", "hint"}


def test_the_coming_runs_are_the_documented_document():
    done = kuber_cron(*DAILY, "-n", "2", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "version": 1,
        "from": "2026-03-27T23:00:00Z",
        "jobs": [
            {
                "job": None,
                "schedule": "30 2 * * *",
                "timezone": "Europe/Berlin",
                "never": False,
                "runs": [
                    {"at": "2026-03-28T01:30:00Z", "local": "2026-03-28T02:30:00+01:00"},
                    {"at": "2026-03-29T01:00:00Z", "local": "2026-03-29T03:00:00+02:00"},
                ],
            }
        ],
    }


def test_a_time_that_happens_twice_begins_with_its_first_pass_and_says_so():
    words = [
        "next",
        "--schedule",
        "*/30 * * * *",
        "--timezone",
        "Europe/Berlin",
        "--from",
        "2026-10-25T02:00",
    ]
    runs = json.loads(kuber_cron(*words, "--format", "json").stdout)["jobs"][0]["runs"]
    passes = [run["local"][11:] for run in runs[:3]]
    assert passes == ["02:30:00+02:00", "02:00:00+01:00", "02:30:00+01:00"]
    assert "note: 2026-10-25 02:00:00 in Europe/Berlin happens twice" in kuber_cron(*words).stderr


def test_a_time_that_does_not_exist_includes_what_the_jump_moves():
    words = [*DAILY[:-1], "2026-03-29T02:30", "-n", "1"]
    done = kuber_cron(*words)
    assert "2026-03-29 01:00:00Z" in done.stdout
    assert "does not exist: 01:59:59 is followed by 03:00:00" in done.stderr


def test_the_default_zone_is_the_settings():
    done = kuber_cron("next", "--schedule", "0 6 * * *", "--format", "json", KUBER_CRON_TIMEZONE="Asia/Tokyo")
    assert json.loads(done.stdout)["jobs"][0]["timezone"] == "Asia/Tokyo"


def test_a_bad_setting_of_another_matter_does_not_hinder_a_look():
    assert kuber_cron(*DAILY, KUBER_CRON_LEASE_SECONDS="minus one").returncode == 0


def test_a_reader_that_has_seen_enough_is_met_with_silence():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*COMMAND, *DAILY, "-n", "1000"],
        env=environment(),
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_ctrl_c_during_a_quick_command_is_130_and_silent():
    process = subprocess.Popen(
        [*COMMAND, "check", "-"], env=environment(), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        # Its input is read after everything is imported; a pipe that takes more than it holds proves that it reads.
        process.stdin.write(b"# a comment\n" * 100_000)
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stderr.close()


def test_values_in_a_pipe_are_never_cut():
    zone = "America/Argentina/ComodRivadavia"
    done = kuber_cron("next", "--schedule", "0 0 31 2 *", "--timezone", zone, COLUMNS="20")
    assert "never runs" in done.stdout
    assert "…" not in done.stdout
    assert not any(char in done.stdout for char in "│─┃━\x1b")


# What a quick command must not wait for. The heavy ones cost more than everything else together.
HEAVY = {"kubernetes", "redis", "rq", "prometheus_client", "pydantic_settings", "psutil", "rich.live"}


@pytest.mark.parametrize(
    "words",
    [["--help"], ["run", "--help"], ["next", "--schedule", "@daily"], ["check", "-"]],
    ids=["help", "run-help", "next", "check"],
)
def test_a_quick_command_imports_no_heavy_client(words):
    program = (
        "import sys; from kuber_cron.cli.app import execute; execute(sys.argv[1:]); "
        "sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    imported = set(done.stderr.split())
    assert "kuber_cron.cli.app" in imported
    assert imported & HEAVY == set()
