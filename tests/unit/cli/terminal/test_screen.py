import io
import re

import pytest

from kuber_cron.cli.terminal.live_view import Snapshot, UpcomingRow
from kuber_cron.cli.terminal.screen import Screen, is_possible
from kuber_cron.common.clock import SystemClock


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
