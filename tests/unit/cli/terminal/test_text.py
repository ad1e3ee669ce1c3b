from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.cli.terminal import output


@given(st.text())
def test_printable_text_cannot_move_the_cursor(text):
    shown = output.printable(text)
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in shown)
    assert "\u202e" not in shown
    shown.encode("utf-8")


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_ordinary_text_is_shown_as_it_is(text):
    assert output.printable(text) == text


def test_a_count_agrees_with_its_noun():
    assert [output.counted(n, "job") for n in (0, 1, 2)] == ["no jobs", "1 job", "2 jobs"]
