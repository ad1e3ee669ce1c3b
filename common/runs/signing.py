"""Signatures: HMAC-SHA256 over the exact bytes of what is sent, in hexadecimal. Pure.

Runs and manual requests are signed under the same keys. Each kind has a prefix of its own in what is signed, so that
the signature of a request is never one of a run, whatever their bytes.
"""

import hashlib
import hmac
from collections.abc import Sequence

RUN = b""
REQUEST = b"kuber-cron request\n"


def sign(content: bytes, key: bytes, kind: bytes = RUN) -> str:
    """Return the signature of ``content`` under ``key``; ``kind``: `RUN` or `REQUEST`."""
    return hmac.new(key, kind + content, hashlib.sha256).hexdigest()


def is_signed(content: bytes, signature: str, keys: Sequence[bytes], kind: bytes = RUN) -> bool:
    """Return True if one of the keys (two in a rotation) made this signature; compared in constant time."""
    return any(hmac.compare_digest(sign(content, key, kind), signature) for key in keys)


def keys_in(content: bytes) -> list[bytes]:
    """Return the keys of a key file: one a line, blank lines left out. The first one signs, all are accepted."""
    return [line.strip() for line in content.splitlines() if line.strip()]
