"""The types of settings: how the text of a variable becomes a value, and what it may be."""

import re
import zoneinfo
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from kuber_cron.common.config.environment import DNS_LABEL, RESERVED_INSTANCE
from kuber_cron.common.jobs import number_types
from kuber_cron.common.notifications.channels import CHANNELS


def allowed(text: str) -> dict[str, Any]:
    """Return the arguments of a field that say what the setting may be, for the table and for the error."""
    return {"json_schema_extra": {"allowed": text}}


def one_of(words: Iterable[str]) -> dict[str, Any]:
    """Return the arguments of a field that is one of a few words."""
    *others, last = (f"`{word}`" for word in words)
    return allowed(f"{', '.join(others)} or {last}")


def split(separator: str) -> BeforeValidator:
    """Return the validator of a list that one variable holds."""

    def parse(value: Any) -> Any:
        return (
            tuple(part.strip() for part in value.split(separator) if part.strip())
            if isinstance(value, str)
            else value
        )

    return BeforeValidator(parse)


def _zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name} is not an IANA time zone") from None
    return name


def _redis_url(url: str) -> str:
    if not re.match(r"(rediss?|unix|rediss?\+sentinel)://", url):
        raise ValueError("unknown scheme")
    return url


def _http_url(url: str) -> str:
    if not re.match(r"https?://[^\s/?#]+\S*$", url):
        raise ValueError("no address")
    return url


def _channel(name: str) -> str:
    if name not in CHANNELS:
        raise ValueError("no channel")
    return name


def _instance(name: str) -> str:
    if name == RESERVED_INSTANCE:
        raise ValueError("rq is the key prefix of the default instance")
    return name


def _size(value: Any) -> Any:
    return number_types.size.parse(value) if isinstance(value, str) and value != "0" else value


LOWER = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)

Bytes = Annotated[int, BeforeValidator(_size)]
Channel = Annotated[str, LOWER, AfterValidator(_channel)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Instance = Annotated[str, Field(pattern=DNS_LABEL), AfterValidator(_instance)]
NamePattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9_*?]+$")]
QueueName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
RedisUrl = Annotated[str, AfterValidator(_redis_url)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Zone = Annotated[str, AfterValidator(_zone)]
