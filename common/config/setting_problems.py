"""Problems of the environment, as one line a setting: bad values, durations that do not fit, unknown variables."""

import difflib
import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from kuber_cron.common.config.environment import PREFIX, is_service_link, variable
from kuber_cron.common.config.lease_timing import LeaseTiming
from kuber_cron.common.observability.redaction import HIDDEN, redacted_url

Fields = Mapping[str, FieldInfo]

# Set for commands, so that a command which calls kuber-cron again is not warned about them.
_FOR_COMMANDS = frozenset({"JOB", "RUN_ID", "SCHEDULED_AT", "ATTEMPT", "EXECUTION"})


def allowed_values(field: FieldInfo) -> str:
    """Return what the setting may be, in words."""
    extra = field.json_schema_extra
    return str(extra["allowed"]) if isinstance(extra, dict) else ""


def bad_values(error: ValidationError, given: Mapping[str, Any], fields: Fields) -> list[str]:
    """Return a line for each bad setting: its variable, its value, what is allowed."""
    lines = []
    for problem in error.errors(include_url=False):
        field = str(problem["loc"][0])
        if field not in fields:
            lines.append(f"{field}: there is no such setting")
            continue
        if field not in given:  # a default made from a setting that is reported itself
            continue
        value = _redacted(field, str(given[field]))
        lines.append(f'{variable(field)}="{value}": allowed is {allowed_values(fields[field])}')
    return list(dict.fromkeys(lines))  # a list with two bad items is one bad setting


def _redacted(field: str, value: str) -> str:
    """Return the value without what is secret in it; a webhook's address may be so as a whole."""
    match field:
        case "redis_url":
            return redacted_url(value)
        case "notify_url":
            return HIDDEN
        case _:
            return value


def bad_lease_timing(given: Mapping[str, Any], fields: Fields) -> list[str]:
    """Return the relations between the lease's durations that do not hold; none if one is no number, a bad value."""
    names = {"lease": "lease_seconds", "renew": "renew_seconds", "retry": "retry_seconds"}
    try:
        durations = {name: float(given.get(field, fields[field].default)) for name, field in names.items()}
    except ValueError:
        return []
    if not all(0 < seconds < math.inf for seconds in durations.values()):
        return []
    return [f"{PREFIX}{problem}" for problem in LeaseTiming(**durations).problems()]


def unknown_variables(environ: Mapping[str, str], fields: Fields) -> list[str]:
    """Return a sentence for each ``KUBER_CRON_*`` variable that is no setting."""
    known = {field.upper() for field in fields}
    sentences = []
    for name in sorted(environ):
        rest = name.removeprefix(PREFIX)
        if rest == name or rest in known | _FOR_COMMANDS or is_service_link(name, environ[name]):
            continue
        close = difflib.get_close_matches(rest, known, n=1)
        sentences.append(
            f"{name} is not a setting"
            + (f"; did you mean {PREFIX}{close[0]}?" if close else " and is ignored")
        )
    return sentences
