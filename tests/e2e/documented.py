"""The commands of docs/compose.md, to be done as they stand there."""

import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.e2e.stack import ROOT

SECTIONS = {
    part.partition("\n")[0]: re.findall(r"```(sh|yaml file=\S+)\n(.*?)```", part, re.DOTALL)
    for part in (ROOT / "docs/compose.md").read_text().split("\n## ")[1:]
}


def follow(
    section: str, directory: Path, environ: Mapping[str, str], after_each: Callable[[], None] = lambda: None
) -> str:
    """Do in ``directory`` what the section says; what its commands said.

    Args:
        section: Its heading.
        directory: Where docker-compose.yml is, and where files that the page names are written.
        environ: What the commands find in their environment.
        after_each: Called after each block of commands.
    """
    said = []
    for kind, text in SECTIONS[section]:
        if kind != "sh":
            (directory / kind.partition("=")[2]).write_text(text)
            continue
        done = subprocess.run(
            ["sh", "-euc", text], cwd=directory, env=dict(environ), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        said.append(done.stdout)
        after_each()
    return "".join(said)
