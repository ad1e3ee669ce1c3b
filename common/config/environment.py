"""The ``KUBER_CRON_*`` variables: their names, and their values as :mod:`.settings` takes them.

The light reader beside the settings: commands that read and act need six variables, have to respond at once, and must not be
hindered by a setting that is wrong elsewhere. So nothing here imports pydantic, whose import alone takes longer than
such a command.
"""

import re
from collections.abc import Mapping

PREFIX = "KUBER_CRON_"

DNS_LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
RESERVED_INSTANCE = "rq"
"""The key prefix of the default instance, so no other one's name."""

_SERVICE_LINK = re.compile(
    r"_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


def variable(field: str) -> str:
    """Return ``KUBER_CRON_REDIS_URL`` for ``redis_url``."""
    return PREFIX + field.upper()


def read(environ: Mapping[str, str], field: str) -> str:
    """Return what the variable of `field` holds, stripped; empty where it is unset or none of ours."""
    name = variable(field)
    text = environ.get(name, "").strip()
    return "" if is_service_link(name, text) else text


def is_service_link(name: str, value: str) -> bool:
    """Return whether Kubernetes made this variable of a service (kubernetes.io: accessing services by environment)."""
    return bool(_SERVICE_LINK.search(name) or (name.endswith("_PORT") and _SERVICE_ADDRESS.match(value)))


def is_instance(name: str) -> bool:
    """Return whether an installation may have this name."""
    return re.fullmatch(DNS_LABEL, name) is not None and name != RESERVED_INSTANCE
