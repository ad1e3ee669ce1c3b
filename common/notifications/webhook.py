"""The webhook: the installation's receiver of notifications.

Its address and its keys may lie in files, which are read at each try, so that they can be rotated without a restart.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kuber_cron.common.notifications.channels import CHANNELS
from kuber_cron.common.notifications.events import Event
from kuber_cron.common.observability import redaction
from kuber_cron.common.runs import signing

SIGNATURE_HEADER = "Kuber-Cron-Signature"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where notifications go, and in which form.

    Attributes:
        url: The address.
        url_file: A file with the address; wins over ``url``.
        channel: A name in `CHANNELS`.
        keys_file: A key a line, each of which signs; None: nothing is signed.
        instance: The installation's name, for a receiver of several.
    """

    url: str = field(default="", repr=False)
    url_file: Path | None = None
    channel: str = "json"
    keys_file: Path | None = None
    instance: str = "kuber-cron"

    def address(self) -> str:
        """Return the address as of now, which is hidden from the logs.

        Raises:
            OSError, UnicodeDecodeError: The file cannot be read.
        """
        url = self.url if self.url_file is None else self.url_file.read_text(encoding="utf-8").strip()
        redaction.hide(url, "/" + url.partition("://")[2].partition("/")[2])
        return url

    def keys(self) -> list[bytes]:
        """Return the signing keys as of now, which are hidden from the logs.

        Raises:
            OSError: The file cannot be read.
        """
        if self.keys_file is None:
            return []
        keys = signing.keys_in(self.keys_file.read_bytes())
        redaction.hide(*(key.decode("utf-8", "replace") for key in keys))
        return keys

    def request(self, event: Event, timestamp: int) -> tuple[bytes, dict[str, str]]:
        """Return body and headers of one try at ``timestamp``, in Unix seconds.

        Raises:
            OSError: The key file cannot be read.
        """
        content = body(event, self.channel, instance=self.instance)
        headers = {"Content-Type": "application/json"}
        if keys := self.keys():
            headers[SIGNATURE_HEADER] = signature(content, timestamp, keys)
        return content, headers


def body(event: Event, channel: str, *, instance: str) -> bytes:
    """Return the request's body: JSON in ASCII for every channel, and the same for every try."""
    return json.dumps(CHANNELS[channel](event, instance), separators=(",", ":")).encode()


def signature(content: bytes, timestamp: int, keys: Sequence[bytes]) -> str:
    """Return the value of the signature header: ``t=<unix seconds>,v1=<hex>``, one ``v1`` for each key.

    Each is the HMAC-SHA256 of the timestamp, a full stop and the body. The timestamp is the try's own, so that a
    receiver can refuse what is old without refusing our retries.
    """
    signed = f"{timestamp}.".encode() + content
    return ",".join([f"t={timestamp}", *(f"v1={signing.sign(signed, key)}" for key in keys)])
