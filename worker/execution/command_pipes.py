"""The pipes of a command: our ends of its standard input, output and error. Nothing here blocks."""

import os
import selectors
from collections.abc import Callable
from functools import partial

from kuber_cron.common.records.excerpt import Stream
from kuber_cron.worker.execution.spawn import Child
from kuber_cron.worker.output.capture import Output

READ_BYTES = 64 * 1024  # a pipe's usual capacity: one read empties it


class CommandPipes:
    """Reads into an output, and writes the command's input, where the loop's selector says that it is time."""

    def __init__(
        self,
        child: Child,
        stdin: bytes | None,
        output: Output,
        *,
        selector: selectors.BaseSelector,
        on_readable: Callable[[int, Stream, float], None],
        on_writable: Callable[[float], None],
    ) -> None:
        """Register the pipes; the two callbacks are to call :meth:`read` and :meth:`feed`."""
        self._output = output
        self._selector = selector
        self._open: dict[int, Stream] = {child.stdout: "stdout", child.stderr: "stderr"}
        self._stdin = child.stdin
        self._input = memoryview(stdin or b"")
        for fd, stream in self._open.items():
            selector.register(fd, selectors.EVENT_READ, partial(on_readable, fd, stream))
        if self._stdin is not None:
            selector.register(self._stdin, selectors.EVENT_WRITE, on_writable)
            self.feed()

    @property
    def is_drained(self) -> bool:
        """True once output and error have come to their end."""
        return not self._open

    def read(self, fd: int, stream: Stream) -> None:
        """Read once from a pipe; close it at its end."""
        if fd not in self._open:
            return  # closed since the selector reported it
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self._output.write(stream, data)
        else:
            self._close_output(fd)

    def read_all(self) -> None:
        """Read once from each pipe."""
        for fd, stream in tuple(self._open.items()):
            self.read(fd, stream)

    def feed(self) -> None:
        """Write as much input as there is room for; close it once all is written, or the command takes no more."""
        if self._stdin is None:
            return
        try:
            while self._input:
                self._input = self._input[os.write(self._stdin, self._input) :]
        except BlockingIOError:
            return
        except OSError:  # EPIPE: it does not want the rest, which is its own affair
            pass
        self.close_input()

    def close_input(self) -> None:
        """Close the command's input."""
        if self._stdin is not None:
            self._selector.unregister(self._stdin)
            os.close(self._stdin)
            self._stdin = None

    def close(self) -> None:
        """Close all that is open."""
        for fd in tuple(self._open):
            self._close_output(fd)
        self.close_input()

    def _close_output(self, fd: int) -> None:
        del self._open[fd]
        self._selector.unregister(fd)
        os.close(fd)
