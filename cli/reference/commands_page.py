"""Every command's ``--help`` as one page, docs/cli-reference.md."""

from typing import Any

import typer

from kuber_cron.cli.app import COMMANDS, app
from kuber_cron.cli.commands.completion import PROGRAM

_WIDTH = 100  # in columns: what a page shows beside its margins

_HEAD = """# Commands

What each command's `--help` says. [cli.md](cli.md) shows what they do, with examples.

This page is made from the code: `python -m kuber_cron.cli.reference`.
"""


def page() -> str:
    """Return the whole of docs/cli-reference.md."""
    group = typer.main.get_command(app)
    names: dict[str, Any] = {"help_option_names": ["-h", "--help"], "terminal_width": _WIDTH}
    with typer.Context(group, info_name=PROGRAM, **names) as top:
        parts = [_HEAD, "\n", _block(group.get_help(top))]
        for command in COMMANDS:
            found = group.commands[command.name]  # type: ignore[attr-defined] # the app is a group
            with typer.Context(found, info_name=command.name, parent=top, **names) as context:
                parts.append(f"\n## {command.name}\n\n{_block(found.get_help(context))}")
    return "".join(parts)


def _block(text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.strip("\n").split("\n"))
    return f"```text\n{lines}\n```\n"
