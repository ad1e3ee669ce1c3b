import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.cli.arguments import variables
from kuber_cron.common.errors import UsageError


@given(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True), st.text())
def test_a_value_is_everything_behind_the_first_equals_sign(name, value):
    assert variables.parse([f"{name}={value}"]) == {name: value}


def test_a_later_word_wins():
    assert variables.parse(["MODE=a", "X=", "MODE=b=c"]) == {"MODE": "b=c", "X": ""}


@pytest.mark.parametrize("word", ["MODE", "=x", "1A=x", "A B=x", ""])
def test_a_word_of_another_form_is_named(word):
    with pytest.raises(UsageError, match=f'--env "{word}" is not NAME=VALUE'):
        variables.parse([word])
