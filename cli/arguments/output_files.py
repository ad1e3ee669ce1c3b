"""Files that commands write."""

from pathlib import Path

from kuber_cron.common.errors import KuberCronError


class UnwritableError(KuberCronError):
    """The output file cannot be written."""

    code = "unwritable"


def write(text: str, out: Path | None) -> None:
    """Write `text` to the file `out`; do nothing without one.

    Raises:
        UnwritableError: The file cannot be written.
    """
    if out is None:
        return
    try:
        out.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")
    except OSError as error:
        raise UnwritableError(
            f"cannot write {out}: {error.strerror}", hint="name a file in a directory that you may write to"
        ) from error
