"""The operator at the command line: a name for the record, the key for requests, and the answer to "is this meant?"."""

import getpass
import os
import socket
import sys
from pathlib import Path

from kuber_cron.cli.terminal import output
from kuber_cron.common.errors import KuberCronError

_MAX_CHARACTERS = 120


class UnconfirmedError(KuberCronError):
    """An act that cannot be undone was not confirmed."""

    code = "unconfirmed"


def operator() -> str:
    """Return ``user@host``, by the system's word: for the record, and no proof of anything."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return output.printable(f"{user}@{socket.gethostname()}")[:_MAX_CHARACTERS]


def signing_key() -> bytes | None:
    """Return the key that requests are signed with; None where ``KUBER_CRON_SIGNING_KEY_FILE`` is not set.

    Raises:
        SettingsError: It is set, and there is no key.
    """
    from kuber_cron.common.config import environment, signing_keys

    path = environment.read(os.environ, signing_keys.FIELD)
    return signing_keys.read(Path(path))[0] if path else None


def confirm(question: str, *, yes: bool) -> None:
    """Return if the operator confirms: by ``--yes``, or by an answer at the terminal.

    Raises:
        UnconfirmedError: The answer is no, or there is no terminal to ask at.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UnconfirmedError(f"not confirmed: {question}", hint="say --yes where nobody can be asked")
    sys.stderr.write(f"{output.printable(question)} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise UnconfirmedError("nothing was done")
