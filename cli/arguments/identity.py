"""The operator at the command line: a name for the record, the key for requests, and the answer to "is this meant?"."""

import getpass
import os
import socket
import sys
from pathlib import Path

from kuber_cron.cli.terminal import output
from kuber_cron.common.errors import KuberCronError, SettingsError

_MAX_CHARACTERS = 120


class UnconfirmedError(KuberCronError):
    """What cannot be undone was not confirmed."""

    code = "unconfirmed"


def operator() -> str:
    """Return ``user@host``, by the system's word: for the record, and no proof of anything."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return output.printable(f"{user}@{socket.gethostname()}")[:_MAX_CHARACTERS]


def signing_key() -> bytes | None:
    """Return the key of ``KUBER_CRON_SIGNING_KEY_FILE``, its first line; None where the variable is not set.

    Raises:
        SettingsError: it is set, and there is no key.
    """
    name = os.environ.get("KUBER_CRON_SIGNING_KEY_FILE", "").strip()
    if not name:
        return None
    try:
        lines = [line.strip() for line in Path(name).read_bytes().splitlines()]
    except OSError as error:
        raise SettingsError(f"cannot read the signing key file {name}: {error.strerror}") from error
    found = next((line for line in lines if line), None)
    if found is None:
        raise SettingsError(f"the signing key file {name} is empty", hint="its first line is the key")
    return found


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
