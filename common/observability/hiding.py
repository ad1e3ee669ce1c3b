"""What must appear in no log line: one set of secrets for a process, as it has one standard error.

Apart from :mod:`kuber_cron.common.observability.logging_setup`, which reads it, for whoever meets a password need not load what writes logs.
"""

# Hiding a shorter one ("redis", "backup") would riddle every line. In URLs those are hidden all the same.
_SHORTEST_SECRET = 8

known: tuple[str, ...] = ()
"""The secrets, longest first, so that one which holds another is hidden whole."""


def hide(*secrets: str) -> None:
    """These texts appear in no line from now on: the signing key, Redis' password. Safe from any thread."""
    global known  # noqa: PLW0603 - see the module's text
    new = {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}
    # Replaced, not changed: readers take no lock.
    known = tuple(sorted({*known, *new}, key=len, reverse=True))
