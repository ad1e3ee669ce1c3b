"""The command as people call it: a process with its own streams, exit status and environment."""

import os
import subprocess
import sys
from pathlib import Path

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
        timeout=60,
        check=False,
    )
