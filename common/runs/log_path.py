"""The place of an attempt's log file below the workers' log directory. Pure: worker and reader agree on it here."""

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def log_path(*, job: str, run: str, attempt: int) -> str:
    """Return ``<job>/<instant>-<attempt>.log``; a manual run has its own mark in place of the instant.

    Raises:
        ValueError: A name is not a safe part of a path. Names are checked where job files are read; a payload
            that says otherwise must not write elsewhere.
    """
    stem = run.removeprefix(f"{job}-")
    for part in (job, stem):
        if not part or part.startswith((".", "-")) or not part.isascii() or not set(part) <= _SAFE:
            raise ValueError(f"{part!r} cannot be part of a log file's name: letters, digits, - and _ only")
    return f"{job}/{stem}-{attempt}.log"
