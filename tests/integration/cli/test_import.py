import json
import subprocess

import pytest
from tests.support.cli_process import COMMAND, InProcess, environment

from kuber_cron.common.formats import yaml_jobs

GOOD = """apiVersion: batch/v1
kind: CronJob
metadata: {name: backup}
spec:
  schedule: "30 2 * * *"
  timeZone: UTC
  jobTemplate:
    spec:
      backoffLimit: 0
      template:
        spec:
          restartPolicy: Never
          containers:
            - {name: main, image: "app:1", command: [sh, -c, echo dumped]}
"""
BAD = GOOD.replace("30 2", "30 25").replace("backup", "broken")


@pytest.fixture
def files(tmp_path):
    for name, text in {"good.yaml": GOOD, "bad.yaml": BAD, "notes.txt": "no manifest"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "x.yml").write_text(GOOD.replace("backup", "deep"))
    (tmp_path / "deep" / ".git").mkdir()
    (tmp_path / "deep" / ".git" / "x.yml").write_text(GOOD.replace("backup", "hidden"))
    return tmp_path


@pytest.fixture
def kuber_cron(files, monkeypatch, capfd):
    return InProcess(files, monkeypatch, capfd)


def names(text):
    return [job.id for job in yaml_jobs.parse(text).jobs]


def test_what_is_taken_over_is_on_stdout_and_what_differs_on_stderr(kuber_cron):
    done = kuber_cron("import", "good.yaml")
    assert done.returncode == 0
    assert names(done.stdout) == ["backup"]
    assert "good.yaml:14:28: warning[KC601]: backup: image app:1" in done.stderr
    assert done.stderr.endswith("\n1 of 1 CronJob taken over, no errors, 1 warning\n")
    assert "default  image  app:1" in done.stderr


def test_one_that_cannot_be_taken_over_is_an_error_and_the_others_are_written(files, kuber_cron):
    done = kuber_cron("import", ".", "-o", "jobs.yaml")
    assert (done.returncode, done.stdout) == (1, "")
    assert names((files / "jobs.yaml").read_text()) == ["backup"]
    assert "bad.yaml:5:3: error[KC503]: broken: " in done.stderr
    assert done.stderr.endswith("\n1 of 2 CronJobs taken over, 1 error, 2 warnings\n")


def test_where_nothing_is_taken_over_nothing_is_written(files, kuber_cron):
    (files / "out").write_text("precious")
    assert kuber_cron("import", "bad.yaml", "-o", "out").returncode == 1
    assert (files / "out").read_text() == "precious"


def test_standard_input_and_directories_are_read(kuber_cron):
    done = kuber_cron("import", "-", "deep", "-R", stdin=GOOD)
    assert names(done.stdout) == ["backup", "deep"]
    assert names(kuber_cron("import", "-", "deep", stdin=GOOD).stdout) == ["backup"]


def test_the_job_file_runs_what_the_cronjob_ran(files, kuber_cron):
    kuber_cron("import", "good.yaml", "-o", "jobs.yaml")
    assert kuber_cron("exec", "jobs.yaml").stdout == "dumped\n"


def test_a_crontab_can_be_asked_for(kuber_cron):
    assert "30 2 * * * echo dumped\n" in kuber_cron("import", "good.yaml", "--to", "crontab").stdout


def test_the_json_document_is_the_documented_one(files, kuber_cron):
    done = kuber_cron("import", "good.yaml", "bad.yaml", "--queue-by", "image", "--format", "json")
    assert (done.returncode, done.stderr) == (1, "")
    document = json.loads(done.stdout)
    found = document.pop("diagnostics")
    assert [(each["source"], each["line"], each["code"], each["about"]) for each in found][1] == (
        *("bad.yaml", 5, "KC503"),
        "spec.schedule",
    )
    assert names(document.pop("text")) == ["backup"]
    assert document == {
        "version": 1,
        "files": ["good.yaml", "bad.yaml"],
        "to": "yaml",
        "cronjobs": 2,
        "jobs": 1,
        "errors": 1,
        "warnings": 2,
        "file": None,
        "needs": [{"queue": "app", "kind": "image", "name": "app:1", "source": None, "jobs": ["backup"]}],
    }
    filed = json.loads(kuber_cron("import", "good.yaml", "-o", "x", "--format", "json").stdout)
    assert (filed["file"], filed["text"]) == ("x", None)


@pytest.mark.parametrize("text", ["", "a: b\n", "kind: Service\n"])
def test_an_input_without_a_cronjob_is_an_error_with_the_way_to_get_one(kuber_cron, text):
    done = kuber_cron("import", "-", stdin=text)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-2:] == [
        "error: there is no CronJob in -",
        "hint: kubectl get cronjobs --all-namespaces -o yaml | kuber-cron import -",
    ]
    document = json.loads(kuber_cron("import", "-", "--format", "json", stdin=text).stdout)
    assert document["error"]["code"] == "no-cronjobs"


def test_the_clusters_zone_and_entry_points_can_be_said(kuber_cron):
    text = GOOD.replace("  timeZone: UTC\n", "").replace(", command: [sh, -c, echo dumped]", ", args: [now]")
    done = kuber_cron(
        *("import", "-", "--timezone", "Asia/Tokyo", "--entrypoint", "app=echo 'it is'"),
        stdin=text,
        KUBER_CRON_TIMEZONE="Europe/Rome",
    )
    (job,) = yaml_jobs.parse(done.stdout).jobs
    assert (job.timezone, job.command) == ("Asia/Tokyo", ["echo", "it is", "now"])


@pytest.mark.parametrize(
    "words",
    [
        ["--entrypoint", "app"],
        ["--entrypoint", "=x"],
        ["--entrypoint", "app='x"],
        ["--timezone", "Nowhere"],
        ["--to", "xml"],
    ],
)
def test_a_wish_without_meaning_is_a_usage_error(kuber_cron, words):
    assert kuber_cron("import", "good.yaml", *words).returncode == 2


def test_a_missing_file_is_named(kuber_cron):
    done = kuber_cron("import", "gone.yaml")
    assert done.returncode == 1
    assert done.stderr.startswith("error: gone.yaml does not exist\n")


def test_cronjobs_from_convert_come_back_through_a_pipe(files):
    (files / "crontab").write_text(
        "# kuber-cron: name=Backup queue=batch retries=2\n30 2 * * *  tar c /etc | gzip\n"
    )
    program = " ".join(COMMAND)
    done = subprocess.run(
        [
            "/bin/sh",
            "-c",
            f"{program} convert crontab --to kubernetes --image app | {program} import - --to crontab",
        ],
        cwd=files,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "name=Backup" in done.stdout
    assert "queue=batch" in done.stdout
    assert "30 2 * * * tar c /etc | gzip\n" in done.stdout


def test_two_hundred_cronjobs_of_a_cluster_are_taken_over_in_seconds(kuber_cron):
    items = [
        GOOD.replace("backup", f"job-{number}").replace("app:1", f"app-{number % 9}:1")
        for number in range(200)
    ]
    done = kuber_cron("import", "-", "--queue-by", "image", stdin="---\n".join(items))
    assert done.returncode == 0
    assert len(names(done.stdout)) == 200
    assert done.stderr.endswith("200 of 200 CronJobs taken over, no errors, 200 warnings\n")
