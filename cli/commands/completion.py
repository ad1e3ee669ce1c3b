"""``kuber-cron completion``: print the script by which a shell completes commands, options, jobs and runs."""

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from kuber_cron.cli.command import Command
from kuber_cron.cli.terminal import errors

PROGRAM = "kuber-cron"
VARIABLE = "_KUBER_CRON_COMPLETE"
"""The variable that the script asks by: the parser answers it before any command is run."""


class Shell(StrEnum):
    """The shells that have a script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell that is to complete.")]) -> int:
    """Print a shell's completion script; the shell reads it at its start."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined] # not exported, and there is no other way

    script = get_completion_script(prog_name=PROGRAM, complete_var=VARIABLE, shell=shell.value)
    sys.stdout.write(script.rstrip() + "\n")
    return errors.OK


def answer() -> None:
    """Let the parser answer a shell that asks by `VARIABLE`; do nothing without it."""
    if VARIABLE in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined] # the same

        completion_init()


COMMAND = Command(
    name="completion",
    function=completion,
    summary="Print a shell's completion script.",
    examples=(
        ("source <(kuber-cron completion bash)", "for this shell; in ~/.bashrc for each"),
        ("kuber-cron completion zsh > ~/.zfunc/_kuber-cron", "a folder of zsh's fpath"),
        (
            "kuber-cron completion fish > ~/.config/fish/completions/kuber-cron.fish",
            "for fish",
        ),
    ),
    notes="Names of jobs and runs come from Redis, where KUBER_CRON_REDIS_URL names one that answers at once.",
)
