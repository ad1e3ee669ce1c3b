import io
import re

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from kuber_cron.cli.terminal.table import Terminal, cell_length
from kuber_cron.cli.terminal.watch import picture

_SGR = re.compile(r"\x1b\[[0-9;]*m")


def drawn(lines, terminal, color_system=None):
    console = Console(
        file=io.StringIO(), width=terminal.width, color_system=color_system, force_terminal=True
    )
    console.print(picture(lines, terminal), end="")
    return console.file.getvalue()


def test_a_picture_is_never_higher_than_the_terminal_and_says_what_it_lacks():
    lines = drawn([str(i) for i in range(9)], Terminal(width=30, height=4)).split("\n")
    assert lines == ["0", "1", "2", "… and 6 more lines"]


def test_colours_of_a_line_stay():
    assert drawn(["a \x1b[31mbad\x1b[0m b"], Terminal(width=30), "standard") == "a \x1b[31mbad\x1b[0m b"


@given(st.lists(st.sampled_from(["\x1b[31m", "\x1b[0m", "x", "日", "ab "]), max_size=12), st.integers(1, 12))
def test_a_line_is_clipped_to_the_width_and_keeps_its_beginning(parts, width):
    visible = drawn(["".join(parts)], Terminal(width=width))
    assert cell_length(visible) <= width
    whole = _SGR.sub("", "".join(parts))
    assert whole.startswith(visible.rstrip("… "))
    assert cell_length(whole) > width or visible.rstrip() == whole.rstrip()
