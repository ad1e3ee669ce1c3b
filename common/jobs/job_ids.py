"""Jobs' ids: the name that the job file gives, else one made from the command, never from line or schedule (cron.md §3)."""

import hashlib
import re
from collections.abc import Collection

_LONGEST_SLUG = 40
_OTHERS = re.compile(r"[^A-Za-z0-9_-]+", re.ASCII)
_LABEL = re.compile(r"[ \t]*#[ \t]*(?:Ansible|Name):[ \t]*(.*)")
# A disabled job: what stood above it names it, not the next one.
_COMMENTED_OUT = re.compile(r"[ \t]*#[ \t]*(?:@[a-z]+|[0-9*][0-9*,/-]*)[ \t]")
# Blanks within quotes belong to the word; each alternative starts with a character of its own, so this is linear.
_WORD = re.compile(r"""(?:[^ \t\n"']|"[^"]*"|'[^']*'|["'])+""")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=", re.ASCII)
# The first word of a command is looked for in its head only.
_HEAD = 4096


def slug(text: str) -> str:
    """Return ``text`` with runs of characters that no name has as one ``-``, cut to 40 characters; else ``job``."""
    return _OTHERS.sub("-", text).strip("-_")[:_LONGEST_SLUG].rstrip("-_") or "job"


def label(comment: str) -> str | None:
    """Return the slug of an Ansible (``#Ansible: x``) or cronitor (``# Name: x``) comment; None for others."""
    found = _LABEL.match(comment)
    return slug(found[1]) if found is not None and found[1].strip() else None


def is_commented_out(comment: str) -> bool:
    """Return True if the comment looks like a job that was switched off."""
    return _COMMENTED_OUT.match(comment) is not None


def of_command(command: str | list[str]) -> str:
    """Return the slug of the command's first word and 8 hex digits of its sha256."""
    if isinstance(command, list):
        first, whole = command[0], "\0".join(command)
    else:
        first, whole = _first_word(command), command
    digest = hashlib.sha256(whole.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{slug(first.rpartition('/')[2])}-{digest[:8]}"


def _first_word(command: str) -> str:
    """Return the first word that is not ``NAME=value``; the empty string where there is none."""
    for word in _WORD.finditer(command, 0, _HEAD):
        if not _ASSIGNMENT.match(word[0]):
            return word[0]
    return ""


def numbered(wanted: str, taken: Collection[str], counts: dict[str, int]) -> str:
    """Return ``wanted``, or with the first of ``-2``, ``-3``, … that is free, cut so that it remains a valid name.

    ``counts`` remembers the last number of each, so that 10,000 equal commands take 10,000 steps.
    """
    if wanted not in taken:
        return wanted
    number = counts.get(wanted, 1) + 1
    while (name := f"{wanted[: 62 - len(str(number))]}-{number}") in taken:
        number += 1
    counts[wanted] = number
    return name
