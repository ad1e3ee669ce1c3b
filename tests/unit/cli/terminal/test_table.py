import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.cli.terminal import output, watch
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


# --- watching ------------------------------------------------------------------------------------------


def test_a_frame_is_drawn_from_the_top_and_each_line_ends_what_stood_there():
    drawn = watch.frame(["a", "b"], Terminal(width=10, height=5))
    assert drawn == "\x1b[Ha\x1b[K\nb\x1b[K\x1b[J"


def test_a_frame_is_never_higher_than_the_terminal_and_says_what_it_lacks():
    drawn = watch.frame([str(i) for i in range(9)], Terminal(width=30, height=4))
    assert drawn.count("\n") == 3
    assert "… and 6 more lines" in drawn


@given(st.lists(st.sampled_from(["\x1b[31m", "\x1b[0m", "x", "日", "ab "]), max_size=12), st.integers(1, 12))
def test_a_clipped_line_fits_and_keeps_its_beginning(parts, width):
    line = "".join(parts)
    clipped = watch.clipped(line, width)
    visible = re.sub(r"\x1b\[[0-9;]*m", "", clipped)
    assert cell_length(visible) <= width
    whole = re.sub(r"\x1b\[[0-9;]*m", "", line)
    assert whole.startswith(visible.removesuffix("…"))
    assert clipped == line or clipped.endswith("\x1b[0m")


# --- documents -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 3, 500])
def test_a_document_is_the_same_json_however_many_rows_it_has(count, capsys):
    document = {"version": 1, "now": "x", "jobs": [{"job": f"job-{i}", "last": None} for i in range(count)]}
    output.write_document(document)
    text = capsys.readouterr().out
    assert json.loads(text) == document
    assert len(text.splitlines()) == (4 * count + 6 if 0 < count < 100 else count + 6 if count else 5)
