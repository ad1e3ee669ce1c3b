"""The README's two commands, as a stranger types them after a clone: `make test`, then `make run` and Ctrl-C.

Runs inside the bare container of tests/e2e/bare, so with the standard library alone.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

PATIENCE_SECONDS = 120


def left_behind() -> list[str]:
    """The command lines of what still runs of it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has just ended
        if "kuber-cron run" in line or "valkey-server" in line:
            found.append(line)
    return found


def main() -> None:
    """Type them; the exit status is not 0 where one of them does not do what the README says."""
    subprocess.run(
        ["git", "-c", "advice.detachedHead=false", "clone", "--quiet", "kuber-cron.bundle", "kuber-cron"],
        check=True,
    )
    os.chdir("kuber-cron")
    subprocess.run(["make", "test"], check=True)
    running = subprocess.Popen(
        ["make", "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # Ctrl-C goes to all of a terminal's foreground group, and to nobody else
    )
    signal.alarm(PATIENCE_SECONDS)
    assert running.stdout is not None
    for line in running.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        if "run ended" in line:
            break
    else:
        sys.exit("`make run` was over before a run had ended")
    os.killpg(running.pid, signal.SIGINT)
    sys.stdout.write(running.stdout.read())
    running.wait()
    if left := left_behind():
        sys.exit(f"Ctrl-C left behind: {left}")
    sys.stdout.write("make test and make run do what the README says\n")


if __name__ == "__main__":
    main()
