"""The courier: one POST, and the answer or why there was none. The only module that speaks HTTP to foreign servers.

No retries, no redirects (a redirect would take what is signed for one receiver to another), certificates checked
against the system's. Nothing that is raised here holds an address: urllib3's own messages do, and are not kept.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote

import urllib3
from urllib3.exceptions import HTTPError, InvalidHeader, LocationValueError

import kuber_cron
from kuber_cron.common.errors import KuberCronError

_READ_BYTES = 4096  # of an answer's body; a longer one costs the connection
_POOLS = 20  # hosts whose connections are kept


class UnreachableError(KuberCronError):
    """There was no answer; another time there may be one."""

    code = "unreachable"


class UnusableAddressError(KuberCronError):
    """Nothing can be sent to this address, now or later."""

    code = "unusable-address"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a receiver answered.

    Attributes:
        status: HTTP's.
        retry_after: What it asked for by Retry-After: seconds, or None.
    """

    status: int
    retry_after: float | None


class HttpClient:
    """Keeps a connection to each receiver. For one thread."""

    def __init__(self) -> None:
        self._pools = urllib3.PoolManager(num_pools=_POOLS)

    def post(
        self, url: str, content: bytes, headers: Mapping[str, str], *, seconds: float, now: datetime
    ) -> HttpAnswer:
        """The receiver's answer, waited for at most about ``seconds`` (names are looked up outside of them).

        Raises:
            UnreachableError: There is none.
            UnusableAddressError: There can be none.
        """
        try:
            auth = urllib3.util.parse_url(url).auth
            basic = urllib3.util.make_headers(basic_auth=unquote(auth)) if auth else {}
            answer = self._pools.request(
                "POST",
                url,
                body=content,
                headers={"User-Agent": f"kuber-cron/{kuber_cron.__version__}", **basic, **headers},
                timeout=urllib3.Timeout(total=seconds),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (LocationValueError, InvalidHeader, UnicodeError) as error:
            raise UnusableAddressError(type(error).__name__) from None
        except (HTTPError, OSError) as error:
            raise UnreachableError(type(error).__name__) from None
        with suppress(HTTPError, OSError):  # it has answered; its reasons do not interest
            answer.read(_READ_BYTES)
        if not answer.closed:
            answer.close()
        return HttpAnswer(answer.status, _seconds(answer.headers.get("Retry-After"), now))


def _seconds(text: str | None, now: datetime) -> float | None:
    """Retry-After in either of its forms (RFC 9110 §10.2.3); None for anything else."""
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())
