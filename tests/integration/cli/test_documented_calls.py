"""docs/cli.md shows what the commands really say: its examples are run, its lists are compared."""

import re
import shlex
from pathlib import Path

import pytest
from tests.support.cli_process import COMMAND, environment
from tests.support.installation import installation
from tests.support.stepped import KEYS
from tests.support.transcripts import AWAY, said, transcript
from tests.support.waiting import eventually

from kuber_cron.cli import app
from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis

PAGE = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
FILES = dict(re.findall(r"```\w+ file=(\S+)\n(.*?)```", PAGE, re.DOTALL))


def examples(mark):
    return [
        example.partition("\n")
        for block in re.findall(rf"```console{mark}\n(.*?)```", PAGE, re.DOTALL)
        for example in block.split("$ kuber-cron ")[1:]
    ]


EXAMPLES, LIVE = examples(""), examples(" live")
NAMES = [info.name for info in app.app.registered_commands]


@pytest.mark.parametrize(("words", "_", "shown"), EXAMPLES, ids=[words for words, _, _ in EXAMPLES])
def test_an_example_says_what_the_page_shows(tmp_path, words, _, shown):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    found = transcript([*COMMAND, *shlex.split(words)], cwd=tmp_path, env=environment())
    assert said(found) == said(shown)


# --- the commands that look, on a real installation ----------------------------------------------------

_STANDS_FOR = (
    (r"([-/])\d{8}T\d{6}Z(-m[0-9a-f]{8})?", r"\1<instant>"),
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| [A-Z]+)?", "<instant>"),
    (AWAY, "<time>"),
    (r"\b(\d+\.\d+ s|\d+ s|\d+ m \d\d s|\d+ h \d\d m|\d+ d \d\d h)(?!\w)", "<span>"),
    (r"\b[\w.]+_[0-9a-f]{8}\b", "<scheduler>"),
    (r"\b[\w.]+-[0-9a-f]{8}\b", "<worker>"),
    (r"\b[\w.-]+@[\w.-]+", "<person>"),
    (r"/\S+/(?:logs|kuber-cron)/", "<logs>/"),
    (r"\b[\d.]+ at \S+redis.sock\b, .* MB$", "<redis>"),
    (r"\b\d of \d+ slots\b", "<slots>"),
    (r"\b\d+ MB\b", "-"),  # the memory of a command is told where it is above the worker's own
)


def said_live(text):
    """Without what differs from one installation, and one moment, to the next."""
    for pattern, stands in _STANDS_FOR:
        text = re.sub(pattern, stands, text, flags=re.MULTILINE)
    return [" ".join(line.split()) for line in text.splitlines()]


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """What the page says of it: `nightly` runs, and somebody has triggered a backup."""
    with (
        EmbeddedRedis(tmp_path_factory.mktemp("redis"), appendfsync="no") as server,
        installation(tmp_path_factory.mktemp("house"), server.url, FILES["nightly"]) as made,
    ):
        made.eventually("started", made.first_run("sync"))
        run = made.ask("trigger", "backup")["runs"][0]["run"]
        made.eventually("failed", run)
        eventually(lambda: made.client.hget(KEYS.missed, "sync|overlap"), 30)
        execution = made.client.hget(KEYS.run(made.first_run("sync")), "execution").decode()
        eventually(lambda: made.client.exists(KEYS.output(execution)), 30)
        eventually(lambda: made.ask("status")["schedulers"][0]["late_seconds"] is not None, 30)
        yield made


@pytest.mark.parametrize(("words", "_", "shown"), LIVE, ids=[words for words, _, _ in LIVE])
def test_a_live_example_says_what_the_page_shows(house, words, _, shown):
    assert said_live(live(house, words)) == said_live(shown)


def live(house, words):
    """What the command says on the page's installation, both streams in the order of a terminal."""
    env = environment(KUBER_CRON_REDIS_URL=house.url, KUBER_CRON_LOG_DIR="/nowhere")
    return transcript([*COMMAND, *shlex.split(words)], cwd=house.directory, env=env)


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
