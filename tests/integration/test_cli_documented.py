"""docs/cli.md shows what the commands really say: its examples are run, its lists are compared."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from tests.cli_process import COMMAND, environment

from kuber_cron.cli import app

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
FILES = dict(re.findall(r"```\w+ file=(\S+)\n(.*?)```", PAGE, re.DOTALL))
EXAMPLES = [
    example.partition("\n")
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    for example in block.split("$ kuber-cron ")[1:]
]
NAMES = [info.name for info in app.app.registered_commands]
_CHANGING = re.compile(r"\b(in \d+ (s|min|h|d)|\d+ (s|min|h|d) ago|now|after \d+\.\d s)\b")


def said(text):
    """Without what each moment changes, and without the columns' padding that hangs on it."""
    return [" ".join(_CHANGING.sub("<time>", line).split()) for line in text.splitlines()]


@pytest.mark.parametrize(("words", "_", "shown"), EXAMPLES, ids=[words for words, _, _ in EXAMPLES])
def test_an_example_says_what_the_page_shows(tmp_path, words, _, shown):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [*COMMAND, *shlex.split(words)],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    status = f"[exit status {done.returncode}]\n" if done.returncode else ""
    assert said(done.stdout + status) == said(shown)


def test_the_page_lists_the_commands_that_exist_in_their_order():
    assert re.findall(r"^\| \[([\w-]+)\]\(#[\w-]+\) \|", PAGE, re.MULTILINE) == NAMES
    assert re.findall(r"^## ([\w-]+)$", PAGE, re.MULTILINE) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_commands_help_has_examples_that_fit_a_terminal(name, capsys):
    assert app.execute([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"Usage: kuber-cron {name} " in text
    examples = text.partition("Examples:")[2]
    assert f"kuber-cron {name}" in examples
    assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.parametrize("name", NAMES)
def test_each_example_of_a_help_is_a_call_that_the_parser_takes(name, capsys):
    command = next(each for each in app.COMMANDS if each.name == name)
    for line, _ in command.examples:
        call = line.partition("kuber-cron ")[2].partition(" | ")[0]
        assert app.execute([*shlex.split(call), "--help"]) == 0, line
        assert "Examples:" in capsys.readouterr().out


def test_every_option_that_the_page_names_exists(capsys):
    known = set()
    for name in ("", *NAMES):
        app.execute([name, "--help"] if name else ["--help"])
        known |= set(re.findall(r"--?[a-z][a-z-]*", capsys.readouterr().out))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)) - known == set()
