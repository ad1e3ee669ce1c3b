"""The annotations by which a CronJob that was made of a job is that job again.

Pure. ``kuber-cron convert --to kubernetes`` writes them (:mod:`kuber_cron.common.formats.cronjob.exporter`).
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kuber_cron.common.diagnostics import shown
from kuber_cron.common.formats.cronjob.exporter import (
    CARRIED,
    DESCRIPTION_ANNOTATION,
    NAME_ANNOTATION,
    OPTIONS_ANNOTATION,
)
from kuber_cron.common.formats.cronjob.import_report import ImportReport
from kuber_cron.common.formats.cronjob.typed_values import TypedValue
from kuber_cron.common.jobs.option_types import BadValueError
from kuber_cron.common.jobs.options import OPTIONS, Option
from kuber_cron.common.jobs.text_types import NAME

# Kubernetes' own, by its list of well-known annotations.
_THEIR_DESCRIPTION = "kubernetes.io/description"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What annotations say.

    Attributes:
        name: The job's name, or None.
        description: Its description, or None.
        options: The :class:`Job` attributes that have no field in a CronJob; ``env`` for odd variables.
    """

    name: str | None = None
    description: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


def read(metadata: TypedValue, findings: ImportReport) -> Notes:
    """What the annotations say.

    Raises:
        WrongTypeError: One is no string.
    """
    fields = metadata.fields()
    found = fields["annotations"].fields() if "annotations" in fields else {}
    name = found[NAME_ANNOTATION].text() if NAME_ANNOTATION in found else None
    if name is not None and not NAME.fullmatch(name):
        findings.say("KC510", found[NAME_ANNOTATION], f"{shown(name)} is not a name")
    description = found.get(DESCRIPTION_ANNOTATION) or found.get(_THEIR_DESCRIPTION)
    return Notes(
        name=name,
        description=description.text() if description is not None else None,
        options=_options(found[OPTIONS_ANNOTATION], findings) if OPTIONS_ANNOTATION in found else {},
    )


def _options(value: TypedValue, findings: ImportReport) -> dict[str, Any]:
    try:
        written = json.loads(value.text())
    except ValueError as error:
        findings.say("KC510", value, f"{OPTIONS_ANNOTATION} is no JSON: {error}")
        return {}
    if not isinstance(written, dict):
        findings.say("KC510", value, f"{OPTIONS_ANNOTATION} is no JSON object")
        return {}
    options: dict[str, Any] = {}
    env = written.pop("env", {})
    if isinstance(env, dict) and all(isinstance(each, str) for each in env.values()):
        options["env"] = env
    for key, text in written.items():
        option = OPTIONS.get(key)
        if option is None or key in CARRIED or not isinstance(text, str):
            findings.say("KC510", value, f"{OPTIONS_ANNOTATION} has no {shown(key)}")
            continue
        try:
            options[option.attribute] = _parse(option, text)
        except BadValueError as error:
            message = f"{OPTIONS_ANNOTATION}: {key}={shown(text)} {error.predicate}"
            findings.say("KC510", value, message, error.hint)
    return options


def _parse(option: Option, text: str) -> Any:
    value = option.type.parse(text)
    if isinstance(value, datetime) and value.tzinfo is None:
        raise BadValueError("has no zone", "write a Z behind it")
    return value
