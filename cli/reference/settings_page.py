"""The table of all settings, docs/settings.md, made from their model."""

import re
from collections.abc import Sequence
from typing import Any

from kuber_cron.common.config.environment import variable
from kuber_cron.common.config.setting_problems import allowed_values
from kuber_cron.common.config.settings import Settings

# Defaults that depend on where the process runs, in words.
_FOUND_OUT = {
    "election": "`kubernetes` in a pod, else `redis`",
    "lease_name": "the instance",
    "namespace": "the pod's",
    "worker_slots": "the CPU quota, at least 4",
    "metrics_host": "all",
    "log_keep_bytes": "`256MiB`",
    "history_bytes": "`4MiB`",
}

_HEAD = """# Settings

Each setting is one environment variable; flags of the command line win over it, and an empty variable counts as
unset. All bad ones are reported together at start. A `KUBER_CRON_*` variable that is no setting is warned about,
unless Kubernetes made it of a service (`*_SERVICE_HOST`, `*_SERVICE_PORT*`, `*_PORT=tcp://…`): those are never read.

This table is made from the code: `python -m kuber_cron.cli.reference`.

| Variable | Default | Allowed | Meaning |
| --- | --- | --- | --- |
"""

_TAIL = """
Commands are given `KUBER_CRON_JOB`, `KUBER_CRON_RUN_ID`, `KUBER_CRON_SCHEDULED_AT`, `KUBER_CRON_ATTEMPT` and
`KUBER_CRON_EXECUTION`; these are not settings.
"""


def page() -> str:
    """Return the whole of docs/settings.md."""
    rows = [
        f"| `{variable(name)}` | {_default(name, field.default)} | {allowed_values(field)} | {_one_line(field.description or '')} |\n"
        for name, field in Settings.model_fields.items()
    ]
    return _HEAD + "".join(rows) + _TAIL


def _default(name: str, value: Any) -> str:
    if name in _FOUND_OUT:
        return _FOUND_OUT[name]
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{int(value)}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"`{','.join(value)}`"
    return f"`{value}`"


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
