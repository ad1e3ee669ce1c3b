"""The password of Redis in a file that somebody else rotates."""

from pathlib import Path

from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError

from kuber_cron.common.observability.redaction import hide


class PasswordFile(CredentialProvider):
    """The password as the file has it now: read at each connect, so that a rotated one needs no restart."""

    def __init__(self, path: Path, username: str | None = None) -> None:
        self._path = path
        self._username = username

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return ``(password,)`` or ``(username, password)``, without the file's last line break."""
        try:
            password = self._path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            # redis-py cleans up after its own kind of error only.
            raise AuthenticationError(f"cannot read the password file {self._path}: {error}") from error
        hide(password)
        return (self._username, password) if self._username else (password,)
