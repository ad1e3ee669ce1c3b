"""``$(NAME)`` in a pod's commands and variables, as the kubelet expands it.

Pure. ``$$`` is a dollar sign, a name that is not known stays as it is written (Kubernetes: "Define dependent
environment variables"; third_party/forked/golang/expansion).
"""

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reference:
    """A variable whose value is known to the workers only."""

    name: str


Part = str | Reference
"""A piece of text to the letter, or what a variable holds."""


def expand(text: str, known: Mapping[str, str], elsewhere: Collection[str] = ()) -> list[Part]:
    """Return ``text`` in parts, known values filled in; no two texts stand side by side.

    Args:
        text: As it stands in the manifest.
        known: Variables with their values.
        elsewhere: Variables that have one which is not known here.
    """
    parts: list[Part] = []
    literal: list[str] = []
    at = 0
    while at < len(text):
        following = text[at + 1 : at + 2]
        if text[at] != "$" or not following:
            literal.append(text[at])
            at += 1
            continue
        end = text.find(")", at + 2) if following == "(" else -1
        if end < 0:
            literal.append("$" if following == "$" else text[at : at + 2])
            at += 2
            continue
        name = text[at + 2 : end]
        if name in elsewhere and name not in known:
            parts += ["".join(literal), Reference(name)]
            literal = []
        else:
            literal.append(known.get(name, text[at : end + 1]))
        at = end + 1
    return [part for part in [*parts, "".join(literal)] if part != ""]


def names(parts: Sequence[Part]) -> list[str]:
    """Return the variables that are known to the workers only, each once."""
    return list(dict.fromkeys(part.name for part in parts if isinstance(part, Reference)))


def literal(parts: Sequence[Part]) -> str:
    """Return the text of parts without references."""
    return "".join(part for part in parts if isinstance(part, str))


def script(parts: Sequence[Part]) -> str:
    """Return a shell script with each reference as the shell fills it in."""
    return "".join(part if isinstance(part, str) else f"${{{part.name}}}" for part in parts)


def command_line(words: Sequence[Sequence[Part]]) -> str:
    """Return a program with its arguments as a line for the shell, which becomes that program."""
    return " ".join(["exec", *map(_word, words)])


def _word(parts: Sequence[Part]) -> str:
    pieces = [shlex.quote(part) if isinstance(part, str) else f'"${{{part.name}}}"' for part in parts]
    return "".join(pieces) or "''"
