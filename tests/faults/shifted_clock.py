"""The clocks of one process, moved while it runs: a small library that is preloaded and reads a file.

Nothing of the machine's is set, so no right is needed, and a process that is not told of the file keeps its time. The
library is built by ``cc`` from ``shifted_clock.c``; where there is no compiler, no clock can be moved.
"""

import atexit
import os
import shutil
import struct
import subprocess
import tempfile
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
WITHOUT = "no C compiler (cc) was found to build the clock of the harness with"


@cache
def build() -> Path | None:
    """The library, built once for this process; None where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    directory = Path(tempfile.mkdtemp(prefix="faults-clock-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    library = directory / "shifted_clock.so"
    flags = ("-O2", "-shared", "-fPIC", "-Wall", "-Werror")
    subprocess.run([compiler, *flags, "-o", library, SOURCE, "-ldl", "-lpthread"], check=True)
    return library


class ShiftedClock:
    """The clocks of whatever is started with ``environment``. They are right until told otherwise."""

    def __init__(self, directory: Path, name: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._library = build()
        self._file = directory / f"{name}.clock"
        self._wall = self._monotonic = 0.0
        self._write()

    @property
    def can_be_moved(self) -> bool:
        """Whether there is a library to move it with."""
        return self._library is not None

    @property
    def environment(self) -> dict[str, str]:
        """What a process has to be started with."""
        if self._library is None:
            return {}
        return {"LD_PRELOAD": str(self._library), "FAULTS_CLOCK": str(self._file)}

    def set_wall(self, seconds: float) -> None:
        """The wall clock is so far ahead of the machine's, behind it where negative, from now on."""
        self._wall = seconds
        self._write()

    def sleep(self, seconds: float) -> None:
        """The monotonic clock has stood still for so long: it falls behind the boot clock, for good."""
        self._monotonic -= seconds
        self._write()

    def _write(self) -> None:
        # Written in place: whoever has mapped the file sees it at once.
        file = os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(file, struct.pack("=qq", int(self._wall * 1e9), int(self._monotonic * 1e9)), 0)
        finally:
            os.close(file)
