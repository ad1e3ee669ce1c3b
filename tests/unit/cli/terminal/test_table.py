import io
import os
import pty
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kuber_cron.cli.terminal import output, table
from kuber_cron.cli.terminal.table import Column, Terminal, cell_length, style_of

COLUMNS = (
    Column("RUN"),
    Column("STATE", style=style_of),
    Column("TOOK", rank=1, right=True),
    Column("BY", rank=2),
)
ROWS = [["backup-1", "success", "1.0 s", "ann"], ["b", "failed", "12 s", "-"]]
PLAIN = Terminal()
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)


def test_in_a_pipe_a_table_is_aligned_columns_and_nothing_else():
    assert PLAIN.table(COLUMNS, ROWS) == [
        "RUN       STATE     TOOK  BY",
        "backup-1  success  1.0 s  ann",
        "b         failed    12 s  -",
    ]


def test_colour_says_the_outcome_and_moves_no_column():
    lines = Terminal(has_colour=True, width=80).table(COLUMNS, ROWS)
    assert "\x1b[32msuccess\x1b[0m" in lines[1]
    assert "\x1b[31mfailed\x1b[0m" in lines[2]
    assert [re.sub(r"\x1b\[\d+m", "", line) for line in lines] == PLAIN.table(COLUMNS, ROWS)


@pytest.mark.parametrize(
    ("width", "headers"),
    [(80, "RUN STATE TOOK BY"), (28, "RUN STATE TOOK"), (20, "RUN STATE"), (5, "RUN STATE")],
)
def test_what_one_can_do_without_is_left_out_where_it_is_narrow(width, headers):
    assert Terminal(width=width).table(COLUMNS, ROWS)[0].split() == headers.split()


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=6))
def test_the_second_column_begins_at_one_place_whatever_the_values(rows):
    lines = PLAIN.table((Column("A"), Column("B")), rows)
    values = [[output.printable(value) for value in row] for row in rows]
    start = max([1, *(cell_length(row[0]) for row in values)]) + 2
    assert len(lines) == len(rows) + 1
    for line, (first, second) in zip(lines[1:], values, strict=True):
        assert line == (first + " " * (start - cell_length(first)) + second).rstrip()


def test_names_without_a_value_are_left_out_of_a_sheet():
    assert PLAIN.pairs([("run", "a"), ("asked by", ""), ("group", "db\n")]) == ["run    a", "group  db\\n"]


def test_absolute_instants_are_in_full():
    from tests.support.stepped import T0, minute

    assert PLAIN.moment(T0, minute(3)) == "3 min ago"
    assert Terminal(absolute=True).moment(T0, minute(3)) == "2026-03-01 00:00:00Z"
    assert PLAIN.moment(None, T0) == "-"


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_a_table_in_a_pipe_has_one_line_for_each_row_and_cuts_nothing(rows):
    clean = [[output.printable(value) for value in row] for row in rows]
    lines = PLAIN.table((Column("A"), Column("B")), rows)
    assert len(lines) == len(rows) + 1
    for row, line in zip(clean, lines[1:], strict=True):
        assert all(value.rstrip() in line for value in row)


def test_columns_are_aligned_by_cells_not_by_characters():
    rows = [["漢", "1"], ["ab", "2"]]
    assert PLAIN.table((Column("N"), Column("V")), rows) == ["N   V", "漢  1", "ab  2"]


def test_a_table_in_a_pipe_has_no_frames_and_no_colours():
    stream = io.StringIO()
    table.write([Column("JOB")], [["x" * 500], ["\x1b[31mred"]], stream)
    assert stream.getvalue() == "JOB\n" + "x" * 500 + "\n\\x1b[31mred\n"


def test_a_table_without_rows_is_its_headers(capsys):
    table.write([Column("A"), Column("B")], [])
    assert capsys.readouterr().out == "A  B\n"


def test_a_table_on_a_narrow_terminal_is_folded_and_loses_nothing():
    columns = (Column("JOB", folds=True), Column("WHEN"))
    lines = Terminal(width=40).table(columns, [["a-very-" * 12 + "long-name", "in 3 h"]])
    assert all(len(line) <= 40 for line in lines)
    assert "".join("".join(lines[1:]).split()).replace("in3h", "") == "a-very-" * 12 + "long-name"


@example([("", "", "\U0001f3fb"), ("", "", "0" * 9)], 1)
@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=5), st.integers(1, 40))
def test_folding_cuts_nothing_whatever_the_width(rows, width):
    columns = (Column("A", folds=True), Column("B"), Column("C", folds=True))
    lines = Terminal(width=width).table(columns, rows)
    shown = sorted("".join("".join(lines[1:]).split()))
    assert shown == sorted("".join("".join(output.printable(value) for row in rows for value in row).split()))


@pytest.mark.parametrize(("no_color", "has_colour"), [("1", False), ("", True)])
def test_no_color_is_respected_on_a_terminal(monkeypatch, no_color, has_colour):
    ours, theirs = pty.openpty()
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm-256color")
    with os.fdopen(theirs, "w") as stream:
        assert Terminal.of(stream).has_colour is has_colour
    os.close(ours)
