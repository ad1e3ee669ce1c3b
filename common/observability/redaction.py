"""Passwords do not leave the process: not in a log line, an error, or a repr."""

import re

HIDDEN = "***"

# Within a text a quote or a bracket ends the URL, or a password would be taken to reach to the next "@".
_IN_TEXT = re.compile(r"(?P<before>\b[a-z][a-z0-9+.-]*://[^\s/?#:@\"'<>]*):[^\s/?#\"'<>]*@", re.IGNORECASE)
_QUERY = re.compile(r"(?P<before>[?&][a-z_]*password=)[^\s&#\"'<>]+", re.IGNORECASE)
_WHOLE = re.compile(r"(?P<before>^[a-z][a-z0-9+.-]*://[^:@]*):.*@", re.IGNORECASE | re.DOTALL)


def redacted_url(url: str) -> str:
    """One URL without its passwords, even if it is malformed: up to the last ``@`` all is taken for one."""
    return redacted(_WHOLE.sub(rf"\g<before>:{HIDDEN}@", url))


def redacted(text: str) -> str:
    """``text`` without the passwords of the URLs in it; everything else is as it was."""
    if "://" not in text:  # an optimisation: most texts hold no URL
        return text
    return _QUERY.sub(rf"\g<before>{HIDDEN}", _IN_TEXT.sub(rf"\g<before>:{HIDDEN}@", text))
