"""The webhook: the installation's receiver of notices, as the settings name it.

Its address and its keys may lie in files, which are read at each try, so that they can be rotated without a restart.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kuber_cron.common.config.environment import variable
from kuber_cron.common.config.settings import Settings
from kuber_cron.common.errors import SettingsError
from kuber_cron.common.notifications import events
from kuber_cron.common.notifications.events import Notice
from kuber_cron.common.observability.redaction import hide

_URL = re.compile(r"https?://[^\s/?#]+\S*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where notices go, and in which form.

    Attributes:
        url_file: Wins over ``url``.
        keys_file: Each line signs; None: nothing is signed.
        instance: The installation's name, for a receiver of several.
    """

    url: str = field(default="", repr=False)
    url_file: Path | None = None
    form: events.NotificationForm = "json"
    keys_file: Path | None = None
    instance: str = "kuber-cron"

    @classmethod
    def of(cls, settings: Settings) -> "Webhook | None":
        """The webhook that the settings name; None where they name none.

        Raises:
            SettingsError: A file cannot be read, or does not hold what it is for.
        """
        if settings.notify_url is None and settings.notify_url_file is None:
            return None
        made = cls(
            url=settings.notify_url or "",
            url_file=settings.notify_url_file,
            form=settings.notify_form,
            keys_file=settings.notify_key_file,
            instance=settings.instance,
        )
        with _named("notify_url_file", made.url_file):
            if not _URL.fullmatch(made.address()):
                raise SettingsError(
                    f"{variable('notify_url_file')}: {made.url_file} does not hold an http:// or https:// address"
                )
        with _named("notify_key_file", made.keys_file):
            if made.keys_file is not None and not made.keys():
                raise SettingsError(
                    f"{variable('notify_key_file')}: {made.keys_file} is empty",
                    hint="its first line is the key",
                )
        return made

    def address(self) -> str:
        """Where to send to, as of now; hidden from the logs.

        Raises:
            OSError, UnicodeDecodeError: The file cannot be read.
        """
        url = self.url if self.url_file is None else self.url_file.read_text(encoding="utf-8").strip()
        hide(url, "/" + url.partition("://")[2].partition("/")[2])
        return url

    def keys(self) -> list[bytes]:
        """What signs, as of now; hidden from the logs.

        Raises:
            OSError: The file cannot be read.
        """
        if self.keys_file is None:
            return []
        keys = [line.strip() for line in self.keys_file.read_bytes().splitlines() if line.strip()]
        hide(*(key.decode("utf-8", "replace") for key in keys))
        return keys

    def request(self, notice: Notice, timestamp: int) -> tuple[bytes, dict[str, str]]:
        """Body and headers of one try.

        Raises:
            OSError: A file cannot be read.
        """
        content = events.body(notice, self.form, instance=self.instance)
        headers = {"Content-Type": "application/json"}
        if keys := self.keys():
            headers[events.SIGNATURE_HEADER] = events.signature(content, timestamp, keys)
        return content, headers


@contextmanager
def _named(field: str, path: Path | None) -> Iterator[None]:
    """What cannot be read is a setting that is bad."""
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(
            f"{variable(field)}: cannot read {path}: {reason}", hint="mount the Secret that holds it"
        ) from error
