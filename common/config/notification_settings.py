"""The webhook of the settings, with its files checked at start."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kuber_cron.common.config.environment import variable
from kuber_cron.common.config.settings import Settings
from kuber_cron.common.errors import SettingsError
from kuber_cron.common.notifications.webhook import Webhook

_URL = re.compile(r"https?://[^\s/?#]+\S*", re.ASCII)


def webhook_of(settings: Settings) -> Webhook | None:
    """Return the webhook that the settings name; None where they name none.

    Raises:
        SettingsError: A file cannot be read, or does not hold what it is for.
    """
    if settings.notify_url is None and settings.notify_url_file is None:
        return None
    webhook = Webhook(
        url=settings.notify_url or "",
        url_file=settings.notify_url_file,
        channel=settings.notify_form,
        keys_file=settings.notify_key_file,
        instance=settings.instance,
    )
    with _readable("notify_url_file", webhook.url_file):
        if not _URL.fullmatch(webhook.address()):
            raise SettingsError(
                f"{variable('notify_url_file')}: {webhook.url_file} does not hold an http:// or https:// address"
            )
    with _readable("notify_key_file", webhook.keys_file):
        if webhook.keys_file is not None and not webhook.keys():
            raise SettingsError(
                f"{variable('notify_key_file')}: {webhook.keys_file} is empty",
                hint="its first line is the key",
            )
    return webhook


@contextmanager
def _readable(field: str, path: Path | None) -> Iterator[None]:
    """Report a file that cannot be read as a bad setting."""
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(
            f"{variable(field)}: cannot read {path}: {reason}", hint="mount the Secret that holds it"
        ) from error
