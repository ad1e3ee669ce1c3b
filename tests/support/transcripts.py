"""What a page shows of a command, against what the command says: both streams, as a terminal has them."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

# How far away an instant is: `in 4 min`, `in 4 d 01 h`, `2 h ago`.
_AWAY = r"\d+ (?:s|min|m|h|d)(?: \d\d [smh])?"
AWAY = rf"\bin {_AWAY}\b|\b{_AWAY} ago\b|\bnow\b"
_CHANGING = re.compile(rf"{AWAY}|\bafter \d+\.\d s\b")


def transcript(words: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> str:
    """What the command says, and a last line with its exit status where that is not 0."""
    done = subprocess.run(
        words,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + (f"[exit status {done.returncode}]\n" if done.returncode else "")


def said(text: str) -> list[str]:
    """Its lines without what each moment changes, and without the columns' padding that hangs on it."""
    return [" ".join(_CHANGING.sub("<time>", line).split()) for line in text.splitlines()]
