"""Redaction: no secret leaves the process in a log line, an error, or a repr.

There is one set of known secrets for a process, as it has one standard error. Apart from
:mod:`kuber_cron.common.observability.logging_setup`, which applies it, so that whoever meets a password need not load
what writes logs.
"""

import re

HIDDEN = "***"

# Hiding a shorter one ("redis", "backup") would riddle every line. In URLs those are hidden all the same.
_MIN_SECRET_LENGTH = 8

known_secrets: tuple[str, ...] = ()
"""The longest first, so that a secret which contains another is hidden whole."""

# Within a text a quote or a bracket ends the URL, or a password would be taken to reach to the next "@".
_IN_TEXT = re.compile(r"(?P<before>\b[a-z][a-z0-9+.-]*://[^\s/?#:@\"'<>]*):[^\s/?#\"'<>]*@", re.IGNORECASE)
_QUERY = re.compile(r"(?P<before>[?&][a-z_]*password=)[^\s&#\"'<>]+", re.IGNORECASE)
_WHOLE = re.compile(r"(?P<before>^[a-z][a-z0-9+.-]*://[^:@]*):.*@", re.IGNORECASE | re.DOTALL)


def hide(*secrets: str) -> None:
    """Hide these texts from now on in every line: the signing key, Redis' password. Safe from any thread."""
    global known_secrets  # noqa: PLW0603 - see the module's text
    new = {secret for secret in secrets if len(secret) >= _MIN_SECRET_LENGTH}
    # Replaced, not changed: readers take no lock.
    known_secrets = tuple(sorted({*known_secrets, *new}, key=len, reverse=True))


def without_known_secrets(text: str) -> str:
    """Return ``text`` with every known secret hidden."""
    for secret in known_secrets:
        text = text.replace(secret, HIDDEN)
    return text


def redacted_url(url: str) -> str:
    """Return one URL without its passwords, even if it is malformed: all up to the last ``@`` counts as one."""
    return redacted(_WHOLE.sub(rf"\g<before>:{HIDDEN}@", url))


def redacted(text: str) -> str:
    """Return ``text`` without the passwords of the URLs in it; everything else is as it was."""
    if "://" not in text:  # an optimisation: most texts hold no URL
        return text
    return _QUERY.sub(rf"\g<before>{HIDDEN}", _IN_TEXT.sub(rf"\g<before>:{HIDDEN}@", text))
