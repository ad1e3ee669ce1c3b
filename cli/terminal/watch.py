"""Watching: an answer that is drawn again and again on a terminal, without flicker, until Ctrl-C.

It is drawn on the terminal's other screen, so that its own text is afterwards as it was.
"""

import signal
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from kuber_cron.cli.terminal import errors
from kuber_cron.cli.terminal.table import Terminal
from kuber_cron.common.errors import KuberCronError, UsageError

INTERVAL_SECONDS = 2.0
_TERMINATED = errors.SIGNALLED + signal.SIGTERM


def watch(
    draw: Callable[[Terminal], Sequence[str]], stream: TextIO, *, absolute: bool, title: str
) -> NoReturn:
    """Show what `draw` gives every two seconds until Ctrl-C. An error stands above the last picture.

    Raises:
        UsageError: the terminal cannot move its cursor.
        KuberCronError: the first picture could not be made.
        KeyboardInterrupt: Ctrl-C, which is how it ends.
    """
    console = Console(file=stream, highlight=False)
    if console.is_dumb_terminal:
        raise UsageError(
            "this terminal cannot be drawn on", hint="leave --watch out, or set TERM to what it is"
        )
    lines = draw(Terminal.of(stream, absolute=absolute))
    problem = ""
    wait = threading.Event().wait
    with _ended_by_term(), Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            terminal = Terminal.of(stream, absolute=absolute)
            head = [terminal.styled(title, "dim")]
            if problem:
                head = [terminal.styled(part, "bad") for part in textwrap.wrap(problem, terminal.width or 80)]
            live.update(picture([*head, "", *lines], terminal), refresh=True)
            wait(INTERVAL_SECONDS)
            try:
                lines, problem = draw(Terminal.of(stream, absolute=absolute)), ""
            except KuberCronError as error:
                problem = error.message


def picture(lines: Sequence[str], terminal: Terminal) -> Text:
    """Return the lines as rich draws them: each clipped to the width; the last one counts those that have no room."""
    height = max(2, terminal.height or 24)
    shown = list(lines)
    if len(shown) > height:
        rest = len(shown) - height + 1
        shown = [*shown[: height - 1], terminal.styled(f"… and {rest} more lines", "dim")]
    parts = [Text.from_ansi(line) for line in shown]
    for part in parts:
        part.truncate(terminal.width or 80, overflow="ellipsis")
    return Text("\n", no_wrap=True).join(parts)


@contextmanager
def _ended_by_term() -> Iterator[None]:
    """Let TERM end the block as Ctrl-C does, so that no terminal is left without its cursor."""
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(_TERMINATED)
