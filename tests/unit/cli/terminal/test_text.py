import io
import json
import re

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


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_a_plain_table_has_one_line_for_each_row_and_cuts_nothing(rows):
    clean = [[output.printable(value) for value in row] for row in rows]
    lines = output.plain_table(["A", "B"], clean).split("\n")
    assert len(lines) == len(rows) + 2
    for row, line in zip(clean, lines[1:], strict=False):
        assert all(value.rstrip() in line for value in row)


def test_columns_are_aligned_by_cells_not_by_characters():
    table = output.plain_table(["N", "V"], [["漢", "1"], ["ab", "2"]])
    assert table == "N   V\n漢  1\nab  2\n"


def test_json_stays_one_ascii_document_with_bad_utf8_in_it():
    stream = io.StringIO()
    output.write_json({"text": "caf\udce9 ☃"}, stream)
    assert stream.getvalue().isascii()
    assert json.loads(stream.getvalue()) == {"text": "caf\udce9 ☃"}


def test_a_table_in_a_pipe_has_no_frames_and_no_colours():
    stream = io.StringIO()
    output.write_table(["JOB"], [["x" * 500], ["\x1b[31mred"]], stream=stream)
    assert stream.getvalue() == "JOB\n" + "x" * 500 + "\n\\x1b[31mred\n"


def test_a_count_agrees_with_its_noun():
    assert [output.counted(n, "job") for n in (0, 1, 2)] == ["no jobs", "1 job", "2 jobs"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_table_on_a_narrow_terminal_is_folded_and_loses_nothing(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    output.write_table(["JOB", "WHEN"], [["a-very-" * 12 + "long-name", "in 3 h"]], stream=stream)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()
    assert all(len(line) <= 40 for line in lines)
    assert "".join("".join(lines[1:]).split()).replace("in3h", "") == "a-very-" * 12 + "long-name"


def test_no_color_is_respected_on_a_terminal(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    output.write_table(["JOB"], [["x"]], stream=stream)
    assert not re.search(r"\x1b\[(3|4)\d", stream.getvalue())
