"""Passwords do not leave the process: not in a log line, an error, or a repr."""

import re

HIDDEN = "***"

# user:password@ of any URL within a text, and password parameters of a query.
# The password may hold anything but the characters that end it in a URL; "@" inside is taken in greedily.
_USERINFO = re.compile(r"(?P<before>\b[a-z][a-z0-9+.-]*://[^\s/?#:@]*):[^\s/?#]*@", re.IGNORECASE)
_QUERY = re.compile(r"(?P<before>[?&](?:[a-z_]*password|token)=)[^\s&#\"']+", re.IGNORECASE)


def redacted_url(text: str) -> str:
    """``text`` with the passwords of all URLs in it hidden; everything else is as it was."""
    return _QUERY.sub(rf"\g<before>{HIDDEN}", _USERINFO.sub(rf"\g<before>:{HIDDEN}@", text))
