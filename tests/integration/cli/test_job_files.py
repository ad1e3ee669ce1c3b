import json
import os

import pytest
import yaml
from tests.support.cli_process import InProcess

from kuber_cron.common.formats.registry import FORMATS

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


@pytest.fixture
def kuber_cron(files, monkeypatch, capfd):
    return InProcess(files, monkeypatch, capfd)


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
def test_a_check_fails_for_errors_and_when_strict_for_warnings(files, kuber_cron, words, status):
    done = kuber_cron("check", *words)
    assert (done.returncode, done.stderr) == (status, "")
    as_json = kuber_cron("check", *words, "--format", "json")
    assert (as_json.returncode, as_json.stderr) == (status, "")


def test_a_checks_json_is_the_documented_document(files, kuber_cron):
    document = json.loads(kuber_cron("check", "bad", "dated", "--format", "json").stdout)
    found = document.pop("diagnostics")
    assert document == {"version": 1, "files": ["bad", "dated"], "jobs": 3, "errors": 1, "warnings": 1}
    assert [(each["source"], each["line"], each["severity"]) for each in found] == [
        ("bad", 1, "error"),
        ("dated", 2, "warning"),
    ]
    assert set(found[0]) == {"source", "line", "col", "severity", "code", "message", "hint", "about", "text"}


def test_a_crontab_on_standard_input_is_checked(files, kuber_cron):
    done = kuber_cron("check", "-", stdin=BAD)
    assert done.returncode == 1
    assert done.stdout.startswith("stdin:1:3: error[KC105]")


YAML = """# for standard input

version: 1
jobs:
  - {name: backup, schedule: "30 2 * * *", command: echo dumped}
  - {name: report, schedule: "0 6 * * *", command: echo report}
"""


@pytest.mark.parametrize("text", [YAML, "---\n" + YAML, "\ufeff" + YAML, json.dumps(yaml.safe_load(YAML))])
def test_yaml_on_standard_input_is_known_for_what_it_is(files, kuber_cron, text):
    done = kuber_cron("next", "-", "--from", "2026-01-01", "--format", "json", stdin=text)
    assert done.stdout == kuber_cron("next", "good", "--from", "2026-01-01", "--format", "json").stdout
    assert kuber_cron("check", "-", stdin=text).returncode == 0
    assert kuber_cron("convert", "-", "--to", "crontab", stdin=text).stdout.count("echo") == 2


def test_a_broken_yaml_file_on_standard_input_is_complained_about_as_yaml(files, kuber_cron):
    done = kuber_cron("check", "-", stdin=YAML.replace("version", "verson"))
    assert "stdin:3:1: error[KC402]" in done.stdout


@pytest.mark.parametrize(
    "line", ["PATH=/bin:/usr/bin", '"A B"=c', "@daily x: y", "0 6 * * * x: {a: b}", "- 0"]
)
def test_a_line_of_a_crontab_is_never_taken_for_yaml(line):
    assert not FORMATS["yaml"].sniff(f"# a: b\n\n{line}\n".encode())


def test_a_manifest_given_for_a_job_file_is_told_where_to_go(files, kuber_cron):
    done = kuber_cron("check", "-", stdin="apiVersion: batch/v1\nkind: CronJob\n---\na: b\n")
    assert done.returncode == 1
    assert "hint: kuber-cron import reads CronJob manifests" in done.stdout


def test_standard_input_beside_a_file_is_a_usage_error(files, kuber_cron):
    assert kuber_cron("check", "-", "good", stdin=GOOD).returncode == 2


def test_an_unknown_zone_is_a_usage_error_with_a_suggestion(files, kuber_cron):
    done = kuber_cron("check", "good", "--timezone", "Europe/Berln")
    assert done.returncode == 2
    assert "did you mean 'Europe/Berlin'?" in done.stderr


def test_a_file_with_a_user_word_is_read_so_where_it_is_said(files, kuber_cron):
    (files / "etc").write_text("0 6 * * *  root  echo x\n")
    words = ("exec", "etc", "--format", "json")
    plain = kuber_cron(*words)
    assert json.loads(plain.stdout)["exit_status"] == 127  # there is no command named root
    assert json.loads(kuber_cron(*words, "--system").stdout)["exit_status"] == 0
    by_setting = kuber_cron(*words, KUBER_CRON_JOBS_FORMAT="system")
    assert json.loads(by_setting.stdout)["exit_status"] == 0


@pytest.mark.parametrize("command", [["check"], ["next"], ["convert", "--to", "yaml"], ["exec"], ["run"]])
def test_a_path_that_does_not_exist_is_named_with_a_remedy(files, kuber_cron, command):
    done = kuber_cron(*command, "nowhere/crontab")
    assert (done.returncode, done.stdout) == (1, "")
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert "nowhere/crontab" in error
    assert hint.startswith("hint: ")
    as_json = kuber_cron(*command, "nowhere/crontab", *([] if command == ["run"] else ["--format", "json"]))
    if command != ["run"]:
        assert "nowhere/crontab" in json.loads(as_json.stdout)["error"]["message"]


def test_what_runs_next_is_shown_beside_an_error_that_is_said(files, kuber_cron):
    done = kuber_cron("next", "bad", "-n", "1", "--format", "json")
    assert done.returncode == 1
    assert [each["job"] for each in json.loads(done.stdout)["jobs"]] == ["backup", "report"]
    assert "bad:1:3: error[KC105]" in done.stderr


def test_one_job_can_be_asked_for_and_a_misspelt_one_gets_a_suggestion(files, kuber_cron):
    found = json.loads(kuber_cron("next", "good", "--job", "report", "--format", "json").stdout)["jobs"]
    assert [each["job"] for each in found] == ["report"]
    assert len(found[0]["runs"]) == 5
    done = kuber_cron("next", "good", "--job", "bakup")
    assert done.returncode == 1
    assert done.stderr == 'error: there is no job "bakup"\nhint: did you mean backup?\n'


def test_a_local_start_is_read_in_each_jobs_own_zone(files, kuber_cron):
    text = GOOD.replace("name=report", "name=report timezone=Asia/Tokyo")
    (files / "zones").write_text(text)
    document = json.loads(
        kuber_cron("next", "zones", "--from", "2026-01-01", "-n", "1", "--format", "json").stdout
    )
    assert document["from"] == "2025-12-31T15:00:00Z"
    assert [each["runs"][0]["at"] for each in document["jobs"]] == [
        "2026-01-01T02:30:00Z",
        "2025-12-31T21:00:00Z",
    ]


def test_a_conversion_there_and_back_keeps_the_jobs(files, kuber_cron):
    assert kuber_cron("convert", "good", "--to", "yaml", "-o", "jobs.yaml").stdout == ""
    back = kuber_cron("convert", "jobs.yaml", "--to", "crontab")
    assert (back.returncode, back.stderr) == (0, "")
    (files / "back").write_text(back.stdout)
    shown = [
        kuber_cron("next", name, "--from", "2026-01-01", "--format", "json").stdout
        for name in ("good", "back")
    ]
    assert shown[0] == shown[1]


def test_a_conversions_json_holds_the_text_or_names_the_file(files, kuber_cron):
    words = ("convert", "good", "--to", "yaml", "--format", "json")
    direct = json.loads(kuber_cron(*words).stdout)
    assert (direct["jobs"], direct["file"]) == (2, None)
    filed = json.loads(kuber_cron(*words, "-o", "jobs.yaml").stdout)
    assert (filed["file"], filed["text"]) == ("jobs.yaml", None)
    assert (files / "jobs.yaml").read_text() == direct["text"]


def test_manifests_name_every_job(files, kuber_cron):
    done = kuber_cron("convert", "good", "--to", "kubernetes")
    assert done.returncode == 0
    assert done.stdout.count("kind: CronJob") == 2


def test_an_input_with_errors_is_refused_and_the_output_file_is_left_alone(files, kuber_cron):
    (files / "out").write_text("precious")
    done = kuber_cron("convert", "bad", "--to", "yaml", "-o", "out")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing was written" in done.stderr
    assert (files / "out").read_text() == "precious"


def test_an_output_that_cannot_be_written_is_named(files, kuber_cron):
    done = kuber_cron("convert", "good", "--to", "yaml", "-o", f"no{os.sep}such{os.sep}place")
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write no/such/place: ")


@pytest.mark.parametrize("text", ["61 * * * * true\n", "# nothing\n"])
def test_a_file_without_a_job_to_run_is_an_error(files, kuber_cron, text):
    (files / "crontab").write_text(text)
    done = kuber_cron("run", "crontab")
    assert done.returncode == 1
    assert "error: no job in crontab can be run" in done.stderr


def test_a_missing_file_is_named(files, kuber_cron):
    done = kuber_cron("run", "crontba")
    assert done.returncode == 1
    assert "crontba" in done.stderr
    assert "hint: " in done.stderr


def test_all_bad_settings_are_listed_at_once(files, kuber_cron):
    (files / "crontab").write_text(GOOD)
    done = kuber_cron("run", "crontab", KUBER_CRON_WORKER_SLOTS="many", KUBER_CRON_ELECTION="vote")
    assert done.returncode == 1
    assert "KUBER_CRON_WORKER_SLOTS" in done.stderr
    assert "KUBER_CRON_ELECTION" in done.stderr
