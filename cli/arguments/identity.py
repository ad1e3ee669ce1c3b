"""The person at the command line: who it is, what it may sign, whether it is sure."""

import getpass
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from kuber_cron.cli.arguments import redis_target
from kuber_cron.cli.terminal import errors, output
from kuber_cron.common.errors import KuberCronError, SettingsError

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.scripts import Store
    from kuber_cron.control.actions.operations import OperatorActions

_LONGEST = 120


class UnconfirmedError(KuberCronError):
    """What cannot be undone was not confirmed."""

    code = "unconfirmed"


def who() -> str:
    """Return ``user@host``, by the system's word: for the record, and no proof of anything."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return output.printable(f"{user}@{socket.gethostname()}")[:_LONGEST]


@contextmanager
def acting(redis_url: str | None) -> "Iterator[tuple[Store, OperatorActions]]":
    """Yield the installation's Redis, and what this person may do there."""
    with redis_target.store(redis_target.place(redis_url)) as store:
        from kuber_cron.control.actions.operations import OperatorActions

        yield store, OperatorActions(store, who())


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
    """Return if the person is sure: by ``--yes``, or by its answer at the terminal.

    Raises:
        UnconfirmedError: it is not, or there is no terminal to ask at.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UnconfirmedError(f"not confirmed: {question}", hint="say --yes where nobody can be asked")
    sys.stderr.write(f"{output.printable(question)} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise UnconfirmedError("nothing was done")


def note(sentence: str) -> None:
    """Stderr holds a sentence for the person."""
    errors.complain(f"note: {output.printable(sentence)}")


def zone_of(store: "Store", job: str) -> ZoneInfo:
    """Return the zone that the job's local times are in, by its cursor; UTC where that names none."""
    from kuber_cron.common.records.parsing import text
    from kuber_cron.common.runs.cursor import Cursor

    try:
        return ZoneInfo(Cursor.from_text(text(store.client.hget(store.keys.cursors, job))).timezone)
    except (ValueError, OverflowError, OSError, KeyError):
        return ZoneInfo("UTC")
