import json

import pytest
from tests.support.cli_process import InProcess

DAILY = ("next", "--schedule", "30 2 * * *", "--timezone", "Europe/Berlin", "--from", "2026-03-28")


@pytest.fixture
def kuber_cron(tmp_path, monkeypatch, capfd):
    return InProcess(tmp_path, monkeypatch, capfd)


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
def test_a_wrong_call_is_one_error_one_hint_and_status_2(kuber_cron, words, error, hint):
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
def test_every_error_is_one_json_document_on_stdout_where_json_is_asked_for(kuber_cron, words, status, code):
    done = kuber_cron(*words, "--format", "json")
    assert (done.returncode, done.stderr) == (status, "")
    document = json.loads(done.stdout)
    assert document["version"] == 1
    assert document["error"]["code"] == code
    assert set(document["error"]) == {"code", "message", "hint"}


def test_the_coming_runs_are_the_documented_document(kuber_cron):
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


def test_a_time_that_happens_twice_begins_with_its_first_pass_and_says_so(kuber_cron):
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


def test_a_time_that_does_not_exist_includes_what_the_jump_moves(kuber_cron):
    words = [*DAILY[:-1], "2026-03-29T02:30", "-n", "1"]
    done = kuber_cron(*words)
    assert "2026-03-29 01:00:00Z" in done.stdout
    assert "does not exist: 01:59:59 is followed by 03:00:00" in done.stderr


def test_the_default_zone_is_the_settings(kuber_cron):
    done = kuber_cron("next", "--schedule", "0 6 * * *", "--format", "json", KUBER_CRON_TIMEZONE="Asia/Tokyo")
    assert json.loads(done.stdout)["jobs"][0]["timezone"] == "Asia/Tokyo"


def test_a_bad_setting_of_another_matter_does_not_hinder_a_look(kuber_cron):
    assert kuber_cron(*DAILY, KUBER_CRON_LEASE_SECONDS="minus one").returncode == 0


def test_values_in_a_pipe_are_never_cut(kuber_cron):
    zone = "America/Argentina/ComodRivadavia"
    done = kuber_cron("next", "--schedule", "0 0 31 2 *", "--timezone", zone, COLUMNS="20")
    assert "never runs" in done.stdout
    assert "…" not in done.stdout
    assert not any(char in done.stdout for char in "│─┃━\x1b")
