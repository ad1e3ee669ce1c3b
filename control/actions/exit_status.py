"""Exit statuses: an attempt's result as a shell and timeout(1) report a command's. Pure."""

SIGNALLED = 128
"""A signal's number is added to it."""

TIMED_OUT = 124

NOT_RUN = 1
"""The run has ended without an attempt of its own outcome, or the attempt's command returned 0 and is no success."""


def of_attempt(outcome: str, exit_code: int | None, signal: int | None) -> int:
    """Return the exit status of an attempt: its command's own, and never 0 for what did not succeed."""
    if outcome == "timed_out":
        return TIMED_OUT
    if signal is not None:
        return SIGNALLED + signal
    if outcome == "success":
        return exit_code or 0
    return exit_code or NOT_RUN
