"""$(NAME) is expanded as the kubelet does it, and what only the workers know is left to the shell."""

import re
import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.formats.cronjob import variable_expansion
from kuber_cron.common.formats.cronjob.variable_expansion import Reference

KNOWN = {"A": "1", "B": "$(A)", "DB": ""}
TEXTS = st.text(st.sampled_from("$$()AB x"), max_size=20)


def literal(text, known=KNOWN):
    return variable_expansion.literal(variable_expansion.expand(text, known))


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(DB)", "x1y"),
        ("$(B)", "$(A)"),  # what a value says is not expanded again
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$$$", "$$"),
        ("$(NOPE)", "$(NOPE)"),
        ("$(A", "$(A"),
        ("$x $", "$x $"),
        ("$(date +%F)", "$(date +%F)"),
    ],
)
def test_a_name_becomes_its_value_and_two_dollars_become_one(text, expanded):
    assert literal(text) == expanded


@given(TEXTS)
def test_any_text_is_expanded_as_by_the_grammar_in_one_expression(text):
    def meant(found):
        return "$" if found[0] == "$$" else KNOWN.get(found[1], found[0])

    assert literal(text) == re.sub(r"\$\$|\$\(([^)]*)\)", meant, text)


@given(st.text(max_size=20))
def test_what_export_writes_is_expanded_to_what_it_was(text):
    from kuber_cron.common.formats.cronjob.exporter import literally

    assert literal(literally(text), {"A": "1"}) == text


def test_a_variable_of_the_workers_is_a_part_of_its_own():
    parts = variable_expansion.expand("a$(DB_URL)b$(A)$$(DB_URL)", KNOWN, {"DB_URL"})
    assert parts == ["a", Reference("DB_URL"), "b1$(DB_URL)"]
    assert variable_expansion.names([*parts, *parts]) == ["DB_URL"]


PIECES = st.sampled_from(["$(WORKER)", "$$", "$", "(", "'", '"', "\\", " ", "\n", "*;&", "é", "-x", "$(A)"])
WORDS = st.lists(st.lists(PIECES, max_size=5).map("".join), min_size=1, max_size=4)


@given(WORDS)
def test_a_line_for_the_shell_gives_the_program_the_words_that_kubernetes_would(words):
    value = "two  words; $(echo no) `no` \"'"
    parts = [variable_expansion.expand(word, {}, {"WORKER"}) for word in ["printf", "%s\\0", *words]]
    expected = [
        variable_expansion.literal(variable_expansion.expand(word, {"WORKER": value})) for word in words
    ]
    line = variable_expansion.command_line(parts)
    assert shlex.split(line)[:3] == ["exec", "printf", "%s\\0"]
    said = subprocess.run(
        ["/bin/sh", "-c", line],
        env={"WORKER": value, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
    )
    assert said.stdout.decode().split("\0")[:-1] == expected
