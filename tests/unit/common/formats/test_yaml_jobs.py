"""YAML job files: what is read, and the line of what is not."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.diagnostics import render
from kuber_cron.common.formats import yaml_jobs

GOLDEN = Path(__file__).parents[3] / "golden" / "diagnostics-yaml.txt"
HEAD = "version: 1\njobs:\n"


def found(text):
    return [(d.line, d.code) for d in yaml_jobs.parse(text).diagnostics if d.severity == "error"]


def only(text):
    parsed = yaml_jobs.parse(HEAD + text)
    assert [render(d) for d in parsed.diagnostics] == []
    (job,) = parsed.jobs
    return job


def test_the_manuals_example_is_read():
    parsed = yaml_jobs.parse(
        """
version: 1
defaults: {timezone: Europe/Berlin, timeout: 30m, env: {PATH: /usr/bin:/bin}}
jobs:
  - {name: extract, schedule: "@daily", command: [extract, --all]}
  - name: backup
    schedule: "30 2 * * *"
    command: pg_dump db | gzip
    retries: 3
    retry_delay: 1m
    concurrency: forbid
    after: [extract]
    env: {MODE: full}
"""
    )
    assert parsed.diagnostics == []
    extract, backup = parsed.jobs
    assert extract.command == ["extract", "--all"]
    assert (backup.id, backup.timezone, backup.timeout) == ("backup", "Europe/Berlin", 1800.0)
    assert (backup.retries, backup.retry_delay, backup.concurrency) == (3, 60.0, "forbid")
    assert (backup.after, backup.env) == (["extract"], {"PATH": "/usr/bin:/bin", "MODE": "full"})
    assert backup.line == 7


def test_kubernetes_spellings_are_read():
    job = only(
        "- {name: a, schedule: '@daily', command: x, timeZone: Asia/Tokyo, concurrencyPolicy: Forbid,"
        " startingDeadlineSeconds: 90}"
    )
    assert (job.timezone, job.concurrency, job.deadline) == ("Asia/Tokyo", "forbid", 90.0)


def test_empty_input_is_not_closed_input():
    assert only("- {schedule: '@daily', command: x, stdin: ''}").stdin == ""
    assert only("- {schedule: '@daily', command: x}").stdin is None


MISTAKES = [
    (HEAD + "  - schedule: * * * * *\n    command: x\n", [(3, "KC401")]),
    (HEAD + "  - schedule: @daily\n    command: x\n", [(3, "KC401")]),
    (HEAD + "  - {schedule: 61 * * * *, command: x}\n", [(3, "KC103")]),
    (HEAD + "  - {schedule: '@daily', command: x, retires: 3}\n", [(3, "KC402")]),
    (HEAD + "  - {schedule: '@daily', command: x, timeout: 1:30}\n", [(3, "KC403")]),
    (HEAD + "  - {schedule: '@daily', command: x, timezone: Europe/Berln}\n", [(3, "KC204")]),
    (HEAD + "  - {schedule: '@daily', command: x, retries: 1, retries: 2}\n", [(3, "KC404")]),
    (HEAD + "  - {schedule: '@daily'}\n", [(3, "KC405")]),
    (HEAD + "  - {schedule: '@daily', command: on}\n", [(3, "KC403")]),
    (HEAD + "  - {schedule: '@daily', command: x, env: {A: true}}\n", [(3, "KC403")]),
    ("version: 2\njobs: []\n", [(1, "KC407")]),
    ("jobs: []\n", [(1, "KC407")]),
    ("version: 1\n", [(1, "KC405")]),
    ("- a\n", [(1, "KC403")]),
    ("a: [" * 40, [(1, "KC401")]),
    ("# one\n---\napiVersion: batch/v1\nkind: CronJob\n---\napiVersion: v1\n", [(3, "KC408")]),
    ('{"kind": "List",\n"apiVersion": "v1"}\n', [(2, "KC408")]),
    ('{ "apiVersion": "v1"}', [(1, "KC408")]),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES)
def test_a_mistake_is_told_with_its_line(text, expected):
    assert found(text) == expected


def test_the_message_of_each_mistake_is_the_golden_one():
    """KUBER_CRON_WRITE_GOLDEN=1 writes the file anew; read the difference before it is committed."""
    told = "\n\n".join(
        render(each)
        for text, _ in MISTAKES
        for each in yaml_jobs.parse(text).diagnostics
        if each.severity == "error"
    )
    if os.environ.get("KUBER_CRON_WRITE_GOLDEN"):
        GOLDEN.write_text(told + "\n")
    assert told + "\n" == GOLDEN.read_text()


def test_one_bad_job_hides_no_other():
    text = HEAD + (
        "  - {name: a, schedule: '@daily', command: x}\n"
        "  - {name: b, schedule: nonsense, command: x}\n"
        "  - {name: c, schedule: '@daily', command: x, colour: red}\n"
        "  - {name: d, schedule: '@daily', command: x}\n"
    )
    parsed = yaml_jobs.parse(text)
    assert [job.id for job in parsed.jobs] == ["a", "d"]
    assert [d.line for d in parsed.diagnostics] == [4, 5]


def test_a_bomb_of_aliases_is_small():
    bomb = "a: &a [x]\n" + "".join(
        f"{c}: &{c} [*{p},*{p},*{p}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert found(bomb)


def test_aliases_cannot_multiply_the_work():
    env = "{" + ", ".join(f"V{number}: x" for number in range(1000)) + "}"
    job = "  - {schedule: '@daily', command: x, env: "
    assert found(HEAD + job + f"&e {env}}}\n" + (job + "*e}\n") * 90) == []
    (bomb,) = yaml_jobs.parse(HEAD + job + f"&e {env}}}\n" + (job + "*e}\n") * 110).diagnostics
    assert (bomb.code, bomb.message, bomb.hint) == (
        "KC401",
        "not YAML: aliases stand for too many values",
        None,
    )


def test_cron_tz_beats_the_defaults_and_the_jobs_own_zone_beats_both():
    text = (
        "version: 1\ndefaults: {timezone: Europe/Berlin}\njobs:\n"
        "- {schedule: '@daily', command: x}\n"
        "- {schedule: '@daily', command: x, env: {CRON_TZ: Asia/Tokyo}}\n"
        "- {schedule: '@daily', command: x, env: {CRON_TZ: Asia/Tokyo}, timezone: UTC}\n"
    )
    assert [job.timezone for job in yaml_jobs.parse(text).jobs] == ["Europe/Berlin", "Asia/Tokyo", "UTC"]


@pytest.mark.parametrize(
    ("variable", "code"),
    [("RANDOM_DELAY: 1.5", "KC403"), ("RANDOM_DELAY: 1:30", "KC403"), ("CRON_TZ: 5", "KC204")],
)
def test_a_number_without_quotes_is_checked_like_any_variable(variable, code):
    text = HEAD + f"- {{schedule: '@daily', command: x, not_before: 2026-01-01, env: {{{variable}}}}}\n"
    assert found(text) == [(3, code)]


@given(st.one_of(st.text(), st.binary(), st.text("- :{}[]&*!|>'\"#%@`\n abj123,?")))
def test_no_content_makes_it_raise(content):
    yaml_jobs.parse(content)


@given(st.text("[]{}:,-&*ab \n'\"", max_size=60))
def test_no_content_within_a_job_makes_it_raise(content):
    yaml_jobs.parse(HEAD + "  - schedule: '@daily'\n    command: x\n    env: " + content)
