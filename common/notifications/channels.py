"""The table of the webhook's channels: the words of the setting ``NOTIFY_FORM``, and the form of each. Pure.

A new channel is a module with a ``document`` and a row here.
"""

from collections.abc import Callable, Mapping
from typing import Any

from kuber_cron.common.notifications import json_format, slack_format
from kuber_cron.common.notifications.events import Event

CHANNELS: Mapping[str, Callable[[Event, str], dict[str, Any]]] = {
    "json": json_format.document,
    "slack": slack_format.document,
}
"""By name: a function of the event and the installation's name that returns a JSON document."""
