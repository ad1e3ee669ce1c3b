"""The command as people call it: a process with its own streams, exit status and environment."""

import io
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kuber_cron.cli import app

COMMAND = [sys.executable, "-m", "kuber_cron"]


def environment(**extra: str) -> dict[str, str]:
    """Ours without what would change the command's answers."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("KUBER_CRON_") and name not in {"COLUMNS", "FORCE_COLOR", "NO_COLOR"}
    }
    return ours | {"TERM": "dumb"} | extra


def kuber_cron(
    *words: str, cwd: Path | None = None, stdin: str = "", **extra: str
) -> "subprocess.CompletedProcess[str]":
    """Run it to its end, in pipes; `extra` are variables."""
    return subprocess.run(
        [*COMMAND, *words],
        cwd=cwd,
        env=environment(**extra),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def end(started: Iterable["subprocess.Popen[str]"]) -> None:
    """Nothing of these processes is left, whatever a test has left running."""
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@dataclass(frozen=True)
class Said:
    """What a command line came to."""

    returncode: int
    stdout: str
    stderr: str


class InProcess:
    """The command in this process: fifty times quicker, for what does not hang on being a process."""

    def __init__(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        self._capfd = capfd
        self._monkeypatch = monkeypatch
        monkeypatch.chdir(directory)
        for name in list(os.environ):
            if name not in environment():
                monkeypatch.delenv(name)

    def __call__(self, *words: str, stdin: str = "", **extra: str) -> Said:
        """Run it to its end; `extra` are variables."""
        with self._monkeypatch.context() as here:
            here.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            for name, value in extra.items():
                here.setenv(name, value)
            self._capfd.readouterr()
            status = app.execute(list(words))
            out, err = self._capfd.readouterr()
        return Said(status, out, err)
