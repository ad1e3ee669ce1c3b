"""The redactor: values of named variables do not leave the worker with a command's output.

What is passed on (to Redis, to collectors) is what the command wrote with every occurrence of such a value replaced
by ``***``, however the output came in pieces. What this does *not* find: a value that was changed on its way out
(encoded, escaped, broken into lines), one shorter than six characters, and what another program's secret is. The
log file on the worker's own volume stays as the command wrote it.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import translate
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from kuber_cron.common.observability.redaction import HIDDEN

LEAST_CHARACTERS = 6  # shorter ones ("true", "8080") occur in every text
MOST_BYTES = 16 * 1024  # a longer value is a document; what is withheld must stay small
_HIDDEN = HIDDEN.encode()


def values(environ: Mapping[str, str], patterns: Sequence[str]) -> tuple[bytes, ...]:
    """Return the values to hide, longest first: of the variables whose names match one of ``patterns``.

    Where such a value is a URL with a password, that password by itself too.
    """
    if not patterns:
        return ()
    matches = _matcher(tuple(patterns))
    found: set[str] = set()
    for name, value in environ.items():
        if matches(name):
            found.update(_secrets_of(value))
    secrets = (os.fsencode(secret) for secret in found if len(secret) >= LEAST_CHARACTERS)
    return tuple(
        sorted((secret for secret in secrets if len(secret) <= MOST_BYTES), key=lambda one: (-len(one), one))
    )


@lru_cache(maxsize=16)
def _matcher(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """Return a predicate: does a name match one of ``patterns``? Cached, because the names are the same at each start."""
    pattern = re.compile("|".join(translate(pattern) for pattern in patterns), re.IGNORECASE)
    return lru_cache(maxsize=4096)(lambda name: pattern.fullmatch(name) is not None)


def _secrets_of(value: str) -> Iterable[str]:
    yield value.strip()
    if "://" in value:
        try:
            password = urlsplit(value).password
        except ValueError:
            return
        if password:
            yield password
            yield unquote(password)


class Redactor:
    """One stream of an output, redacted.

    The end of a piece is withheld while it may be the beginning of a value, so the whole is the same however it
    came in pieces: at each place from the left, the longest value that stands there is replaced.
    """

    __slots__ = ("_secrets", "_withheld")

    def __init__(self, secrets: Sequence[bytes]) -> None:
        """``secrets``: none of them empty, the longest first, as :func:`values` returns them."""
        self._secrets = secrets
        self._withheld = b""

    def feed(self, data: bytes) -> bytes:
        """Take a piece; return what can be passed on after it."""
        if self._withheld:
            data = self._withheld + data
        if not any(
            secret in data for secret in self._secrets
        ):  # an optimisation: it is what nearly always is
            hold = self._hold_from(data, 0)
            self._withheld = data[hold:]
            return data[:hold] if self._withheld else data
        done, at = [], 0
        hold = self._hold_from(data, at)
        for match in _any_of(tuple(self._secrets)).finditer(data):
            if match.start() >= hold:
                break  # it may yet become a longer one
            done += [data[at : match.start()], _HIDDEN]
            at = match.end()
            hold = max(hold, at)
            if hold == at:
                hold = self._hold_from(data, at)
        self._withheld = data[hold:]
        return b"".join((*done, data[at:hold]))

    def finish(self) -> bytes:
        """Return what was withheld, now that nothing follows."""
        rest, self._withheld = self._withheld, b""
        return _any_of(tuple(self._secrets)).sub(_HIDDEN, rest) if rest else b""

    def _hold_from(self, data: bytes, at: int) -> int:
        """Return the first index from ``at`` on from which all that is left begins a value without completing it."""
        hold = len(data)
        for secret in self._secrets:
            first = secret[:1]
            place = data.find(first, max(at, len(data) - len(secret) + 1), hold)
            while place >= 0:
                if secret.startswith(data[place:]):
                    hold = place
                    break
                place = data.find(first, place + 1, hold)
        return hold


@lru_cache(maxsize=64)
def _any_of(secrets: tuple[bytes, ...]) -> re.Pattern[bytes]:
    return re.compile(b"|".join(re.escape(secret) for secret in secrets))
