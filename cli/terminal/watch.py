"""Watching: a picture that is drawn again and again on a terminal, without flicker, until Ctrl-C.

Each picture is one write, over the one before and not after wiping it. The terminal's own text is as it was afterwards.
"""

import re
import signal
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, TextIO

from kuber_cron.cli.terminal import errors
from kuber_cron.cli.terminal.table import Terminal, cell_length
from kuber_cron.common.errors import KuberCronError

EVERY_SECONDS = 2.0
_SGR = re.compile(r"\x1b\[[0-9;]*m")
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # the other screen, and no cursor
_HOME, _END_OF_LINE, _REST = "\x1b[H", "\x1b[K", "\x1b[J"
_TERMINATED = errors.SIGNALLED + signal.SIGTERM


def watch(
    draw: Callable[[Terminal], Sequence[str]], stream: TextIO, *, absolute: bool, title: str
) -> NoReturn:
    """The terminal shows what `draw` gives, every two seconds, until Ctrl-C. An error stands above the last picture.

    Raises:
        KuberCronError: already the first picture could not be made.
        KeyboardInterrupt: Ctrl-C, which is how it ends.
    """
    lines = draw(Terminal.of(stream, absolute=absolute))
    problem = ""
    wait = threading.Event().wait
    with _other_screen(stream):
        while True:
            paper = Terminal.of(stream, absolute=absolute)
            head = [paper.styled(title, "dim")]
            if problem:
                head = [paper.styled(part, "bad") for part in textwrap.wrap(problem, paper.width or 80)]
            stream.write(frame([*head, "", *lines], paper))
            stream.flush()
            wait(EVERY_SECONDS)
            try:
                lines, problem = draw(Terminal.of(stream, absolute=absolute)), ""
            except KuberCronError as error:
                problem = error.message


def frame(lines: Sequence[str], paper: Terminal) -> str:
    """Return what draws the lines over whatever stands there; what has no room is counted in the last line."""
    height = max(2, paper.height or 24)
    shown = list(lines)
    if len(shown) > height:
        rest = len(shown) - height + 1
        shown = [*shown[: height - 1], paper.styled(f"… and {rest} more lines", "dim")]
    width = paper.width or 80
    return _HOME + "\n".join(clipped(line, width) + _END_OF_LINE for line in shown) + _REST


def clipped(line: str, width: int) -> str:
    """Return the line's first cells, its colours included and ended."""
    if cell_length(_SGR.sub("", line)) <= width:
        return line
    kept, room = [], width - 1
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        if _SGR.fullmatch(part):
            kept.append(part)
            continue
        for char in part:
            room -= cell_length(char)
            if room < 0:
                return "".join(kept) + "…\x1b[0m"
            kept.append(char)
    return "".join(kept)


@contextmanager
def _other_screen(stream: TextIO) -> Iterator[None]:
    """TERM ends it as well as Ctrl-C, so that no terminal is left without its cursor."""
    before = signal.signal(signal.SIGTERM, _terminated)
    stream.write(_ENTER)
    try:
        yield
    finally:
        stream.write(_LEAVE)
        stream.flush()
        signal.signal(signal.SIGTERM, before)


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(_TERMINATED)
