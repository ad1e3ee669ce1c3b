"""The HTTP client: one POST, and the response or why there was none. The only module that speaks HTTP to foreign servers.

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

_READ_BYTES = 4096  # of a response's body; a longer one costs the connection
_POOLS = 20  # hosts whose connections are kept


class UnreachableError(KuberCronError):
    """There was no response; another time there may be one."""

    code = "unreachable"


class UnusableAddressError(KuberCronError):
    """The address is one that nothing can be sent to, now or later."""

    code = "unusable-address"


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A receiver's response.

    Attributes:
        status: HTTP's.
        retry_after: The seconds that it asked for by Retry-After, or None.
    """

    status: int
    retry_after: float | None


class HttpClient:
    """Keeps a connection to each receiver. For use by one thread."""

    def __init__(self) -> None:
        self._pools = urllib3.PoolManager(num_pools=_POOLS)

    def post(
        self, url: str, content: bytes, headers: Mapping[str, str], *, seconds: float, now: datetime
    ) -> HttpResponse:
        """Send the request, and return the response, waited for at most ``seconds``; looking up names comes on top.

        Raises:
            UnreachableError: There is no response.
            UnusableAddressError: There can never be one.
        """
        try:
            auth = urllib3.util.parse_url(url).auth
            basic = urllib3.util.make_headers(basic_auth=unquote(auth)) if auth else {}
            response = self._pools.request(
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
        with suppress(HTTPError, OSError):  # it has responded; its body does not matter
            response.read(_READ_BYTES)
        if not response.closed:
            response.close()
        return HttpResponse(response.status, _seconds(response.headers.get("Retry-After"), now))


def _seconds(text: str | None, now: datetime) -> float | None:
    """Return the seconds of Retry-After in either of its forms (RFC 9110 §10.2.3); None for anything else."""
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())
