import json
import os

import pytest
from tests.cli_process import kuber_cron

GOOD = (
    "# kuber-cron: name=backup\n30 2 * * *  echo dumped\n# kuber-cron: name=report\n0 6 * * *  echo report\n"
)
BAD = "0 22-6 * * *  echo night\n" + GOOD
DATED = "# kuber-cron: name=dated\n0 6 * * *  echo $(date +%F)\n"


@pytest.fixture
def files(tmp_path):
    for name, text in {"good": GOOD, "bad": BAD, "dated": DATED}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["good"], 0),
        (["good", "--strict"], 0),
        (["dated"], 0),
        (["dated", "--strict"], 1),
        (["bad"], 1),
        (["bad", "--strict"], 1),
    ],
)
def test_a_check_fails_for_errors_and_when_strict_for_warnings(files, words, status):
    done = kuber_cron("check", *words, cwd=files)
    assert (done.returncode, done.stderr) == (status, "")
    as_json = kuber_cron("check", *words, "--format", "json", cwd=files)
    assert (as_json.returncode, as_json.stderr) == (status, "")


def test_a_checks_json_is_the_documented_document(files):
    document = json.loads(kuber_cron("check", "bad", "dated", "--format", "json", cwd=files).stdout)
    found = document.pop("diagnostics")
    assert document == {"version": 1, "files": ["bad", "dated"], "jobs": 3, "errors": 1, "warnings": 1}
    assert [(each["source"], each["line"], each["severity"]) for each in found] == [
        ("bad", 1, "error"),
        ("dated", 2, "warning"),
    ]
    assert set(found[0]) == {"source", "line", "col", "severity", "code", "message", "hint", "about", "text"}


def test_a_crontab_on_standard_input_is_checked(files):
    done = kuber_cron("check", "-", cwd=files, stdin=BAD)
    assert done.returncode == 1
    assert done.stdout.startswith("stdin:1:3: error[KC105]")


def test_standard_input_beside_a_file_is_a_usage_error(files):
    assert kuber_cron("check", "-", "good", cwd=files, stdin=GOOD).returncode == 2


def test_an_unknown_zone_is_a_usage_error_with_a_suggestion(files):
    done = kuber_cron("check", "good", "--timezone", "Europe/Berln", cwd=files)
    assert done.returncode == 2
    assert "did you mean 'Europe/Berlin'?" in done.stderr


def test_a_file_with_a_user_word_is_read_so_where_it_is_said(files):
    (files / "etc").write_text("0 6 * * *  root  echo x\n")
    words = ("exec", "etc", "--format", "json")
    plain = kuber_cron(*words, cwd=files)
    assert json.loads(plain.stdout)["exit_status"] == 127  # there is no command named root
    assert json.loads(kuber_cron(*words, "--system", cwd=files).stdout)["exit_status"] == 0
    by_setting = kuber_cron(*words, cwd=files, KUBER_CRON_JOBS_FORMAT="system")
    assert json.loads(by_setting.stdout)["exit_status"] == 0


@pytest.mark.parametrize("command", [["check"], ["next"], ["convert", "--to", "yaml"], ["exec"], ["run"]])
def test_a_path_that_does_not_exist_is_named_with_a_remedy(files, command):
    done = kuber_cron(*command, "nowhere/crontab", cwd=files)
    assert (done.returncode, done.stdout) == (1, "")
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert "nowhere/crontab" in error
    assert hint.startswith("hint: ")
    as_json = kuber_cron(
        *command, "nowhere/crontab", *([] if command == ["run"] else ["--format", "json"]), cwd=files
    )
    if command != ["run"]:
        assert "nowhere/crontab" in json.loads(as_json.stdout)["error"]["message"]


def test_what_runs_next_is_shown_beside_an_error_that_is_said(files):
    done = kuber_cron("next", "bad", "-n", "1", "--format", "json", cwd=files)
    assert done.returncode == 1
    assert [each["job"] for each in json.loads(done.stdout)["jobs"]] == ["backup", "report"]
    assert "bad:1:3: error[KC105]" in done.stderr


def test_one_job_can_be_asked_for_and_a_misspelt_one_gets_a_suggestion(files):
    found = json.loads(kuber_cron("next", "good", "--job", "report", "--format", "json", cwd=files).stdout)[
        "jobs"
    ]
    assert [each["job"] for each in found] == ["report"]
    assert len(found[0]["runs"]) == 5
    done = kuber_cron("next", "good", "--job", "bakup", cwd=files)
    assert done.returncode == 1
    assert done.stderr == 'error: there is no job "bakup"\nhint: did you mean backup?\n'


def test_a_local_start_is_read_in_each_jobs_own_zone(files):
    text = GOOD.replace("name=report", "name=report timezone=Asia/Tokyo")
    (files / "zones").write_text(text)
    document = json.loads(
        kuber_cron("next", "zones", "--from", "2026-01-01", "-n", "1", "--format", "json", cwd=files).stdout
    )
    assert document["from"] == "2025-12-31T15:00:00Z"
    assert [each["runs"][0]["at"] for each in document["jobs"]] == [
        "2026-01-01T02:30:00Z",
        "2025-12-31T21:00:00Z",
    ]


def test_a_conversion_there_and_back_keeps_the_jobs(files):
    assert kuber_cron("convert", "good", "--to", "yaml", "-o", "jobs.yaml", cwd=files).stdout == ""
    back = kuber_cron("convert", "jobs.yaml", "--to", "crontab", cwd=files)
    assert (back.returncode, back.stderr) == (0, "")
    (files / "back").write_text(back.stdout)
    shown = [
        kuber_cron("next", name, "--from", "2026-01-01", "--format", "json", cwd=files).stdout
        for name in ("good", "back")
    ]
    assert shown[0] == shown[1]


def test_a_conversions_json_holds_the_text_or_names_the_file(files):
    words = ("convert", "good", "--to", "yaml", "--format", "json")
    direct = json.loads(kuber_cron(*words, cwd=files).stdout)
    assert (direct["jobs"], direct["file"]) == (2, None)
    filed = json.loads(kuber_cron(*words, "-o", "jobs.yaml", cwd=files).stdout)
    assert (filed["file"], filed["text"]) == ("jobs.yaml", None)
    assert (files / "jobs.yaml").read_text() == direct["text"]


def test_manifests_name_every_job(files):
    done = kuber_cron("convert", "good", "--to", "kubernetes", cwd=files)
    assert done.returncode == 0
    assert done.stdout.count("kind: CronJob") == 2


def test_an_input_with_errors_is_refused_and_the_output_file_is_left_alone(files):
    (files / "out").write_text("precious")
    done = kuber_cron("convert", "bad", "--to", "yaml", "-o", "out", cwd=files)
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing was written" in done.stderr
    assert (files / "out").read_text() == "precious"


def test_an_output_that_cannot_be_written_is_named(files):
    done = kuber_cron("convert", "good", "--to", "yaml", "-o", f"no{os.sep}such{os.sep}place", cwd=files)
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write no/such/place: ")
