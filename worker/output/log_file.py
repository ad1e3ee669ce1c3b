"""The log file of an attempt: bounded, and never a reason for a run to fail.

A file holds the output as it came, stdout and stderr in order of arrival. Over its limit it keeps the beginning and
the end (where the error is), and one line between them says how many bytes are missing. A disk that is full or a
directory that cannot be written loses output: that is counted, reported once, and no matter to the command.
"""

import os
from contextlib import suppress
from pathlib import Path

LOG_TAIL_BYTES = 32 * 1024  # of a file that overflows, its last part; a quarter of a smaller limit
_MARKER_BYTES = 64  # at most: the line that says what is missing
_FILE_MODE = 0o640
_DIRECTORY_MODE = 0o750


class Tail:
    """The last ``size`` bytes of what was written, in at most twice that memory."""

    __slots__ = ("_data", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._data = bytearray()

    def write(self, data: bytes) -> None:
        """Append a piece; what is older than the last ``size`` bytes is dropped in due course."""
        if len(data) >= self._size:
            self._data[:] = data[len(data) - self._size :]
            return
        self._data += data
        if len(self._data) > 2 * self._size:  # so that a byte is moved once, however small the pieces
            del self._data[: len(self._data) - self._size]

    def read(self) -> bytes:
        """Return the last ``size`` bytes."""
        return bytes(self._data[max(0, len(self._data) - self._size) :])


class LogFile:
    """One attempt's log file. Created empty at once, so that a run without output has one too.

    Attributes:
        path: Its path.
        exists: True if it could be created.
        dropped_bytes: How much output is missing in it; final after :meth:`close`.
        warning: A sentence about the first thing that went wrong, or None.
        error: Why it could not be created, or None.
    """

    __slots__ = (
        "_fd",
        "_limit",
        "_over",
        "_tail",
        "_written",
        "dropped_bytes",
        "error",
        "exists",
        "path",
        "warning",
    )

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self.path = path
        self.dropped_bytes = 0
        self.warning: str | None = None
        self.error: OSError | None = None
        self._limit = max(0, limit_bytes)
        self._tail: Tail | None = None
        self._written = 0
        self._over = 0  # bytes that came after the last one that went straight into the file
        self._fd = -1
        try:
            self._fd = _create(path)
        except OSError as error:
            self.error = error
            self._warn(error)
        self.exists = self._fd >= 0

    def write(self, data: bytes) -> None:
        """Write what fits; the rest is kept for the file's tail, or counted."""
        if self._fd < 0:
            self.dropped_bytes += len(data)
            return
        if not self._over:
            data = data[self._append(data[: self._limit - self._written]) :]
        if data:
            self._over += len(data)
            if self._tail is None:
                self._tail = Tail(self._tail_limit)
            self._tail.write(data)

    def close(self) -> None:
        """Complete and close the file. Harmless when repeated."""
        if self._fd < 0:
            return
        try:
            if self._tail is not None:
                self._finish(self._tail.read())
        except OSError as error:
            self.dropped_bytes = self._over
            self._warn(error)
        finally:
            with suppress(OSError):  # a network file system may report a failed write here once more
                os.close(self._fd)
            self._fd = -1

    @property
    def refused_bytes(self) -> int:
        """The number of bytes that are missing because the disk refused them, and not because of the limit."""
        if not self.exists:
            return self.dropped_bytes
        over_the_limit = max(0, self._written + self._over - self._limit)
        return max(0, self.dropped_bytes - over_the_limit)

    @property
    def _tail_limit(self) -> int:
        return min(LOG_TAIL_BYTES, self._limit // 4)

    def _append(self, data: bytes) -> int:
        """Write at the end; return how many bytes went in before the disk refused."""
        done = 0
        try:
            while done < len(data):
                done += os.write(self._fd, data[done:])
        except OSError as error:
            self._warn(error)
        self._written += done
        return done

    def _finish(self, tail: bytes) -> None:
        """Write the end of the output where the limit leaves room for it, after a line on what is missing.

        On a disk that has no room left, over the file's own last part: the end is where the error is.
        """
        size = self._tail_limit
        if self.warning is None and self._put(tail, min(self._written, self._limit - size), size):
            return
        size = min(size, self._written - _MARKER_BYTES)
        if size > 0:
            self._put(tail, self._written - size - _MARKER_BYTES, size)
        else:
            self.dropped_bytes = self._over

    def _put(self, tail: bytes, keep: int, size: int) -> bool:
        """Make the file its first ``keep`` bytes, the line, and the last ``size`` of all; return False if there is no room.

        The end may have to be completed by what the file holds already, and stands partly in its place, so what
        makes the file longer is written first: if that fails, nothing is lost.
        """
        start = max(keep, self._written + self._over - size)
        end = tail[len(tail) - min(size, len(tail)) :]
        if start < self._written:
            end = os.pread(self._fd, self._written - start, start) + end
        dropped = start - keep
        block = (b"\n[kuber-cron: %d bytes dropped here]\n" % dropped if dropped else b"") + end
        inside = min(len(block), self._written - keep)
        try:
            self._write_at(block[inside:], keep + inside)
        except OSError as error:
            self._warn(error)
            os.ftruncate(self._fd, self._written)
            return False
        self._write_at(block[:inside], keep)
        os.ftruncate(self._fd, keep + len(block))
        self.dropped_bytes = dropped
        return True

    def _write_at(self, data: bytes, at: int) -> None:
        while data:
            done = os.pwrite(self._fd, data, at)
            data, at = data[done:], at + done

    def _warn(self, error: OSError) -> None:
        if self.warning is None:
            self.warning = f"log file {self.path}: {error.strerror}; output is missing there"


def _create(path: Path) -> int:
    """Open a new file for this process alone to write; make its directories where they are missing.

    Raises:
        OSError: It cannot be opened.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, _FILE_MODE)
    except FileNotFoundError:
        for directory in (path.parent.parent, path.parent):
            directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        return os.open(path, flags, _FILE_MODE)
