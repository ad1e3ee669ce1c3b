"""A command as the program knows it: a name, a function, and examples for its ``--help``."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command of ``kuber-cron``.

    Attributes:
        name: The word on the command line.
        function: Takes the options and arguments as typer reads them from its signature; returns the exit
            status, raises ``KuberCronError`` for what it cannot do.
        summary: What it does in at most sixty characters, for the list of commands.
        examples: Command lines with a remark each, as shown below the help.
        notes: Sentences below the examples.
    """

    name: str
    function: Callable[..., int]
    summary: str
    examples: tuple[tuple[str, str], ...]
    notes: str = ""

    @property
    def epilog(self) -> str:
        """The examples as typer shows them: each line on its own (so says the mark above them)."""
        lines = [line for command, remark in self.examples for line in (f"  # {remark}", f"  {command}")]
        return "\n".join(["\b", "Examples:", *lines, *(["", self.notes] if self.notes else [])])
