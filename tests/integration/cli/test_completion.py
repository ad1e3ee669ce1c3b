"""Completion as shells ask for it: the words so far in the environment, the candidates on standard output."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.cli_process import COMMAND, environment

from kuber_cron.cli import app
from kuber_cron.cli.arguments import completions

CRONTAB = "# kuber-cron: name=backup\n30 2 * * *  true\n# kuber-cron: name=report\n@daily  true\n"


@pytest.fixture
def program(tmp_path):
    """A folder for PATH with kuber-cron in it."""
    path = tmp_path / "bin" / "kuber-cron"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    path.chmod(0o755)
    return path.parent


def completed(program, *words, shell="bash", **extra):
    """What a bash with the script offers for the last word."""
    script = subprocess.run(
        [*COMMAND, "completion", shell], env=environment(), capture_output=True, text=True, check=True
    ).stdout
    line = " ".join(words)
    asked = f"""{script}
COMP_WORDS=({line if words[-1] else line + " ''"}); COMP_CWORD={len(words) - 1}
_kuber_cron_completion kuber-cron
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    path = f"{program}:{environment().get('PATH', '')}"
    done = subprocess.run(
        ["/bin/bash", "-c", asked],
        cwd=program.parent,
        env=environment(PATH=path, **extra),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_are_completed(program):
    assert completed(program, "kuber-cron", "co") == ["convert", "completion"]


def test_options_and_their_words_are_completed(program):
    assert "--queue-by" in completed(program, "kuber-cron", "import", "--q")
    assert completed(program, "kuber-cron", "import", "x", "--queue-by", "") == ["none", "image", "namespace"]


def test_jobs_of_the_files_on_the_line_are_completed(program):
    (program.parent / "crontab").write_text(CRONTAB)
    assert completed(program, "kuber-cron", "next", "crontab", "--job", "") == ["backup", "report"]
    assert completed(program, "kuber-cron", "exec", "crontab", "--job", "re") == ["report"]
    assert completed(program, "kuber-cron", "next", "gone", "--job", "") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_scripts_that_ask_the_program(program, shell):
    script = subprocess.run(
        [*COMMAND, "completion", shell], env=environment(), capture_output=True, text=True, check=True
    ).stdout
    assert f"_KUBER_CRON_COMPLETE=complete_{shell}" in script
    done = subprocess.run(
        COMMAND,
        env=environment(
            _KUBER_CRON_COMPLETE=f"complete_{shell}",
            _TYPER_COMPLETE_ARGS="kuber-cron chec",
            _TYPER_COMPLETE_FISH_ACTION="get-args",
        ),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "check" in done.stdout
    assert done.stderr == ""


class Context:
    def __init__(self, **params):
        self.params = params


@pytest.fixture
def known(redis_url):
    import redis

    with redis.Redis.from_url(redis_url) as client:
        own = "rq:kuber-cron:"
        client.hset(f"{own}cursor", mapping={"backup": "", "backup-all": "", "report": ""})
        client.zadd(f"{own}active:backup", {"backup-20260101T000000Z": 1, "backup-20260102T000000Z": 2})
        client.lpush(f"{own}history:report", "report-20260101T000000Z", "report-20260102T000000Z")
    return Context(redis_url=redis_url)


def test_jobs_are_completed_from_redis(known):
    assert completions.jobs(known, "") == ["backup", "backup-all", "report"]
    assert completions.jobs(known, "backup-") == ["backup-all"]


def test_runs_are_completed_newest_first_once_their_job_is_clear(known):
    assert completions.runs(known, "rep") == ["report-20260102T000000Z", "report-20260101T000000Z"]
    assert completions.runs(known, "report-20260101") == ["report-20260101T000000Z"]
    assert completions.runs(known, "ba") == ["backup", "backup-all"]
    assert completions.runs(known, "backup-2026") == ["backup-20260102T000000Z", "backup-20260101T000000Z"]
    assert completions.runs(known, "x") == []


@pytest.mark.parametrize("url", [None, "nonsense", "redis://127.0.0.1:1/0", "redis://10.255.255.1/0"])
def test_without_a_redis_that_answers_nothing_is_completed_soon(tmp_path, monkeypatch, capfd, url):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KUBER_CRON_REDIS_URL", raising=False)
    began = time.monotonic()
    assert completions.jobs(Context(redis_url=url), "") == []
    assert time.monotonic() - began < 30  # a connection by itself is tried for two minutes
    assert capfd.readouterr() == ("", "")


def test_arguments_that_name_jobs_and_runs_are_completed():
    """Whoever adds a command says what completes its JOB and RUN."""
    import typer

    bare = [
        (command.name, parameter.name)
        for command in typer.main.get_command(app.app).commands.values()
        for parameter in command.params
        if parameter.name in {"job", "run", "run_id"} and parameter._custom_shell_complete is None
    ]
    assert bare == []


def test_the_parser_is_not_slowed_by_what_completes():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from kuber_cron.cli import app; sys.exit('redis' in sys.modules)",
        ],
        env=environment(),
        cwd=Path(__file__).parents[3],
        check=False,
    )
    assert done.returncode == 0
