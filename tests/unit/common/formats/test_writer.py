"""Jobs written as a crontab or as YAML come back as they were; manifests say what they can and note the rest."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from tests.support.any_jobs import job_lists

from kuber_cron.common.formats import crontab, crontab_writer, yaml_jobs, yaml_writer
from kuber_cron.common.formats.cronjob import exporter
from kuber_cron.common.formats.writer import InexpressibleError
from kuber_cron.common.jobs.job import Job

CRONTABS = sorted((Path(__file__).parents[3] / "vectors" / "crontabs").glob("*.crontab"))


def to_crontab(jobs):
    return crontab_writer.write(jobs).text


def to_yaml(jobs):
    return yaml_writer.write(jobs).text


def to_kubernetes(jobs, image="IMAGE"):
    written = exporter.write(jobs, image)
    return written.text, written.notes


def bare(jobs):
    return [replace(job, source="", line=0) for job in jobs]


def jobs_of(path):
    return crontab.parse(path.read_bytes(), path.name, "etc" in path.name).jobs


def from_yaml(text):
    from kuber_cron.common.formats import yaml_jobs

    parsed = yaml_jobs.parse(text)
    assert [str(found) for found in parsed.diagnostics if found.severity == "error"] == []
    return bare(parsed.jobs)


def job(**values):
    return Job(**{"id": "backup", "schedule": "30 2 * * *", "command": "make"} | values)


@pytest.mark.parametrize("path", CRONTABS, ids=lambda path: path.stem)
def test_a_crontab_goes_to_a_crontab_and_back(path):
    jobs = jobs_of(path)
    assert jobs
    assert bare(crontab.parse(to_crontab(jobs)).jobs) == bare(jobs)


@pytest.mark.parametrize("path", CRONTABS, ids=lambda path: path.stem)
def test_a_crontab_goes_to_yaml_and_back(path):
    jobs = jobs_of(path)
    assert from_yaml(to_yaml(jobs)) == bare(jobs)


@given(job_lists())
def test_any_jobs_go_to_a_crontab_and_back(jobs):
    assert bare(crontab.parse(to_crontab(jobs)).jobs) == bare(jobs)


@given(job_lists())
def test_each_text_is_in_the_yaml_to_the_letter(jobs):
    written = yaml.safe_load(to_yaml(jobs))["jobs"]
    for one, entry in zip(jobs, written, strict=True):
        found = (
            entry["name"],
            entry["command"],
            entry.get("stdin"),
            entry.get("env", {}),
            entry.get("description"),
        )
        assert found == (one.id, one.command, one.stdin, one.env, one.description)


@pytest.mark.parametrize(
    "text", ["a\x85b", "a\n\x85b\n", "\u2028", "\n  a\n\n", "a \n", "\t\n", "1:30", "on", "\r\n"]
)
def test_yaml_keeps_line_ends_blanks_and_words_of_its_own_as_text(text):
    assert yaml.safe_load(to_yaml([job(command=text)]))["jobs"][0]["command"] == text


@given(job_lists())
def test_any_jobs_go_to_yaml_and_back(jobs):
    assert from_yaml(to_yaml(jobs)) == bare(jobs)


def test_a_list_goes_to_yaml_and_back():
    jobs = [replace(job(random_delay_minutes=5), command=["echo", "a b", "7"])]
    assert from_yaml(to_yaml(jobs)) == bare(jobs)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"command": ["make"]}, "its command is a list"),
        ({"command": "a\nb"}, "several lines"),
        ({"command": "date +\\%F"}, "a lone backslash"),
        ({"command": "make\\", "stdin": ""}, "a lone backslash"),
        ({"command": " make"}, "command would read back as something else"),
        ({"command": "-q make"}, "command, quiet would read back"),
        ({"command": "x" * 131_072}, "longer than 131,072 bytes"),
        ({"stdin": "no end"}, "does not end a line"),
        ({"shell": "/bin/zsh"}, "not its variable SHELL"),
        ({"random_delay_minutes": 5}, "not its variable RANDOM_DELAY"),
        ({"description": "two\nlines"}, "description has several lines"),
        ({"env": {"MODE": "two\nlines"}}, "env.MODE has several lines"),
        ({"timeout": 1.5}, "timeout has no text for 1.5"),
        ({"queue": "no name"}, "queue has no text for 'no name'"),
    ],
)
def test_what_a_crontab_cannot_say_is_an_error_that_names_the_job(values, why):
    with pytest.raises(InexpressibleError, match="job 'backup' cannot be written as a crontab") as caught:
        to_crontab([job(**values)])
    assert why in caught.value.message.replace("stdin, command", "command")


def test_a_variable_that_no_directive_can_say_is_refused_for_the_jobs_below_it_only():
    odd, plain = job(env={"A B": "1", "RANDOM_DELAY": ""}), job(id="plain")
    assert bare(crontab.parse(to_crontab([plain, odd])).jobs) == bare([plain, odd])
    with pytest.raises(InexpressibleError, match=r"job 'plain' .* cannot be unset"):
        to_crontab([odd, plain])


def test_users_survive_in_a_place_where_files_have_a_user_word():
    jobs = [job(user="www-data")]
    assert bare(crontab.parse(to_crontab(jobs), system=True).jobs) == bare(jobs)


def test_a_manifest_says_the_schedule_the_command_and_the_policies():
    text, notes = to_kubernetes(
        [
            job(
                id="Nightly_Dump",
                schedule="30 2 * * mon-fri",
                command="echo $(date) $$",
                timezone="Europe/Berlin",
                timeout=600.0,
                deadline=60.0,
                retries=3,
                concurrency="queue",
                env={"MODE": "full"},
                stdin="",
                queue="batch",
            )
        ],
        image="busybox",
    )
    manifest = yaml.safe_load(text)
    assert manifest["metadata"]["name"] == "nightly-dump"
    assert manifest["metadata"]["annotations"] == {
        "kuber-cron/name": "Nightly_Dump",
        "kuber-cron/options": '{"concurrency": "queue", "queue": "batch", "stdin": ""}',
    }
    spec = manifest["spec"]
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("30 2 * * 1,2,3,4,5", "Europe/Berlin")
    assert (spec["concurrencyPolicy"], spec["startingDeadlineSeconds"], spec["suspend"]) == (
        "Forbid",
        60,
        False,
    )
    assert (spec["jobTemplate"]["spec"]["backoffLimit"], pod["activeDeadlineSeconds"]) == (3, 600)
    assert pod["containers"] == [
        {
            "name": "nightly-dump",
            "image": "busybox",
            "command": ["/bin/sh", "-c", "echo $$(date) $$$"],
            "env": [{"name": "MODE", "value": "full"}],
        }
    ]
    assert notes == [
        "job 'Nightly_Dump': is called nightly-dump",
        "job 'Nightly_Dump': its schedule 30 2 * * mon-fri is written 30 2 * * 1,2,3,4,5",
        "job 'Nightly_Dump': its standard input is lost",
        "job 'Nightly_Dump': concurrency=queue became Forbid",
        "job 'Nightly_Dump': no counterpart for queue",
    ]


@pytest.mark.parametrize("schedule", ["@reboot", "0 0 L * *", "0 0 * * 5#2", "0 0 */2 * 1"])
def test_a_job_that_kubernetes_cannot_schedule_is_left_out_with_a_note(schedule):
    text, notes = to_kubernetes([job(schedule=schedule)], image="busybox")
    assert text == ""
    assert notes == [f"job 'backup': left out, for Kubernetes has no schedule like {schedule}"]


def test_a_hashed_field_becomes_the_number_that_it_means():
    text, _ = to_kubernetes([job(schedule="H 2 * * *")])
    minute = yaml.safe_load(text)["spec"]["schedule"].split()[0]
    assert 0 <= int(minute) <= 59


def test_names_that_kubernetes_cannot_tell_apart_are_numbered():
    text, _ = to_kubernetes([job(id="a_b"), job(id="A-b")])
    assert [one["metadata"]["name"] for one in yaml.safe_load_all(text)] == ["a-b", "a-b-2"]


def test_a_user_word_with_a_no_break_space_is_written_and_read_back():
    jobs = crontab.parse("0 1 * * * a\u00a0b /x\n", system=True).jobs
    assert [job.user for job in jobs] == ["a\u00a0b"]
    assert bare(yaml_jobs.parse(to_yaml(jobs)).jobs) == bare(jobs)
    assert bare(crontab.parse(to_crontab(jobs)).jobs) == bare(jobs)


def test_a_memory_of_a_terabyte_that_is_no_multiple_of_1024_is_written_and_read_back():
    jobs = crontab.parse("# kuber-cron: memory=1000000000001\n0 1 * * * /x\n").jobs
    assert [job.memory for job in jobs] == [10**12 + 1]
    assert bare(crontab.parse(to_crontab(jobs)).jobs) == bare(jobs)
