import io
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from kuber_cron.cli.terminal.live_view import (
    RecentRow,
    RunningRow,
    Screen,
    Snapshot,
    UpcomingRow,
    is_possible,
    render,
)
from kuber_cron.common.clock import SystemClock

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def drawn(snapshot, width, height=24):
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(render(snapshot, NOW, width, height))
    return console.file.getvalue().rstrip("\n").split("\n")


def ago(seconds):
    return NOW - timedelta(seconds=seconds)


def busy(jobs):
    return Snapshot(
        next=[UpcomingRow(job=f"next-{i}", due_at=NOW + timedelta(seconds=i)) for i in range(jobs)],
        running=[RunningRow(job=f"running-{i}", started_at=ago(i), command="sleep 9") for i in range(jobs)],
        recent=[
            RecentRow(job=f"ended-{i}", outcome="success", ended_at=ago(i), duration_seconds=i)
            for i in range(jobs)
        ],
        leader=True,
        epoch=7,
        jobs=jobs,
        slots=8,
    )


@pytest.mark.parametrize("width", [60, 80, 160])
def test_a_run_shows_its_job_its_attempt_and_how_long_it_runs(width):
    snapshot = Snapshot(running=[RunningRow(job="backup", started_at=ago(75), attempt=2, command="pg_dump")])
    line = next(line for line in drawn(snapshot, width) if "backup" in line)
    assert "attempt 2" in line
    assert line.endswith("1 m 15 s")
    assert ("pg_dump" in line) == (width >= 80)


@pytest.mark.parametrize("width", [60, 80, 160])
def test_a_coming_run_counts_down(width):
    snapshot = Snapshot(next=[UpcomingRow(job="report", due_at=NOW + timedelta(seconds=192), note="paused")])
    line = next(line for line in drawn(snapshot, width) if "report" in line)
    assert line.endswith("in 3 m 12 s")
    assert ("2026-03-01 12:03:12Z" in line) == ("paused" in line) == (width >= 80)


@pytest.mark.parametrize("width", [60, 80, 160])
def test_an_ended_run_shows_its_outcome(width):
    ended = RecentRow(
        job="report", outcome="failed", detail="exit 3", ended_at=ago(5), duration_seconds=0.31, attempt=3
    )
    line = next(line for line in drawn(Snapshot(recent=[ended]), width) if "report" in line)
    assert "failed" in line
    assert line.endswith("5 s ago")
    assert ("exit 3" in line) == ("0.3 s" in line) == ("attempt 3" in line) == (width >= 80)


@pytest.mark.parametrize("width", [60, 80, 160])
@pytest.mark.parametrize("height", [10, 24, 60])
def test_two_hundred_jobs_fit_the_terminal_and_say_what_is_left_out(width, height):
    lines = drawn(busy(200), width, height)
    assert len(lines) <= height
    assert all(cell_len(line) <= width for line in lines)
    shown = sum("next-" in line for line in lines)
    assert shown >= 1
    assert any(f"… and {200 - shown} more" in line for line in lines)


def test_a_short_list_leaves_its_lines_to_the_long_ones():
    lines = drawn(Snapshot(next=busy(50).next), 80, 24)
    assert sum("next-" in line for line in lines) == 14


def test_no_jobs_are_said_and_not_drawn_as_an_empty_screen():
    assert drawn(Snapshot(), 60) == [
        "no jobs · 0 running · redis ok · Ctrl-C stops",
        "running  nothing",
        "next  nothing",
        "last  nothing",
    ]


def test_the_status_line_names_leadership_and_epoch():
    assert drawn(busy(3), 80)[0] == "3 jobs · 3/8 running · redis ok · leader · epoch 7 · Ctrl-C stops"
    assert "standby" in drawn(Snapshot(leader=False), 80)[0]


def test_while_draining_the_way_out_stands_first_even_on_a_narrow_terminal():
    assert drawn(Snapshot(is_draining=True), 60)[0].startswith("stopping, Ctrl-C again ends at once")


def test_a_long_name_is_cut_and_never_pushes_the_time_out():
    snapshot = Snapshot(next=[UpcomingRow(job="j" * 300, due_at=NOW + timedelta(hours=30))])
    line = next(line for line in drawn(snapshot, 60) if "jjj" in line)
    assert "…" in line
    assert line.endswith("in 1 d 06 h")


@settings(max_examples=60)
@given(st.text(min_size=1, max_size=40), st.sampled_from([60, 80, 160]))
def test_nothing_in_a_name_or_command_escapes_its_cell(text, width):
    snapshot = Snapshot(
        next=[UpcomingRow(job=text, due_at=NOW, note=text)],
        running=[RunningRow(job=text, started_at=NOW, command=text)],
        recent=[RecentRow(job=text, outcome=text, detail=text, ended_at=NOW, duration_seconds=1)],
        redis=text,
    )
    lines = drawn(snapshot, width)
    assert len(lines) == 7
    assert all(cell_len(line) <= width for line in lines)
    assert not any(ord(char) < 32 for line in lines for char in line)


def test_markup_in_a_name_is_text():
    assert any(
        "[red]x[/red]" in line
        for line in drawn(Snapshot(next=[UpcomingRow(job="[red]x[/red]", due_at=NOW)]), 80)
    )


# --- the terminal --------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


@pytest.mark.parametrize("term", ["dumb", "unknown", ""])
def test_a_terminal_that_cannot_move_its_cursor_has_no_live_view(term):
    assert not is_possible(Terminal(), term)


def test_a_pipe_has_no_live_view_and_a_terminal_has():
    assert not is_possible(io.StringIO(), "xterm")
    assert is_possible(Terminal(), "xterm")


def test_a_supplier_that_fails_leaves_the_last_picture_and_says_what_happened(terminal):
    answers = [Snapshot(next=[UpcomingRow(job="backup", due_at=SystemClock().now())])]
    screen = Screen(answers.pop, terminal)
    with screen:
        screen.draw()
        terminal.truncate(0)
        screen.draw()
    assert "backup" in terminal.getvalue()
    assert "unknown: IndexError" in terminal.getvalue()


def test_a_log_line_stands_above_the_view_and_the_view_is_gone_in_the_end(terminal):
    with Screen(Snapshot, terminal) as screen:
        screen.draw()
        screen.log_stream.write("run ended job=backup\n")
        screen.draw()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert shown.index("run ended job=backup") < shown.rindex("running")
    assert terminal.getvalue().endswith("\x1b[2K")
