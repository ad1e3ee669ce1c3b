"""The annotations by which a CronJob that was made of a job is that job again, written and read.

Pure. ``convert --to kubernetes`` writes into them what a CronJob has no field for, and ``import`` reads them, so that
an installation that moves to Kubernetes and back has the jobs that it had.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kuber_cron.common.diagnostics import shown
from kuber_cron.common.formats.cronjob.import_report import ImportReport
from kuber_cron.common.formats.cronjob.typed_values import TypedValue
from kuber_cron.common.jobs.job import Job
from kuber_cron.common.jobs.option_types import BadValueError
from kuber_cron.common.jobs.options import KUBERNETES_CONCURRENCY, OPTIONS, Option
from kuber_cron.common.jobs.text_types import NAME

NAME_ANNOTATION = "kuber-cron/name"
DESCRIPTION_ANNOTATION = "kuber-cron/description"
OPTIONS_ANNOTATION = "kuber-cron/options"
"""A JSON object of a job's options as text by key, and its ``env``: what has no field in a CronJob."""

CARRIED = {
    *("name", "timezone", "retries", "timeout", "kill_grace", "deadline", "cwd"),
    *("shell", "suspend", "description"),
}
"""The options that fields of a CronJob say; ``concurrency`` where it is not ``queue``."""

CONCURRENCY = {ours: theirs for theirs, ours in KUBERNETES_CONCURRENCY.items()}
"""The ``concurrencyPolicy`` of each ``concurrency`` that has one."""

VARIABLE_NAME = re.compile(r"(?!\.\.?$|\.\.)[-._A-Za-z][-._A-Za-z0-9]*", re.ASCII)
"""The names of variables that Kubernetes takes."""

# Kubernetes' own, by its list of well-known annotations.
_THEIR_DESCRIPTION = "kubernetes.io/description"


def annotations_of(job: Job, name: str) -> dict[str, str]:
    """Return the annotations of the CronJob called ``name`` that ``job`` becomes."""
    annotations = {NAME_ANNOTATION: job.id} if name != job.id else {}
    if job.description is not None:
        annotations[DESCRIPTION_ANNOTATION] = job.description
    kept: dict[str, Any] = {
        key: text
        for key, option in OPTIONS.items()
        if is_kept(job, option) and (text := _text(option, getattr(job, option.attribute))) is not None
    }
    odd = {variable: value for variable, value in job.env.items() if not VARIABLE_NAME.fullmatch(variable)}
    if odd:
        kept["env"] = odd
    if kept:
        annotations[OPTIONS_ANNOTATION] = json.dumps(kept)
    return annotations


def is_kept(job: Job, option: Option) -> bool:
    """Return True if no field of a CronJob says what the job says by this option."""
    if option.key == "concurrency":
        return job.concurrency not in CONCURRENCY
    return option.key not in CARRIED and getattr(job, option.attribute) != option.default


def _text(option: Option, value: Any) -> str | None:
    """Return the text of a value, None where it has none."""
    text = option.type.write(value)
    try:
        return text if option.type.parse(text) == value else None
    except BadValueError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotations:
    """The content of a CronJob's annotations.

    Attributes:
        name: The job's name, or None.
        description: Its description, or None.
        options: The :class:`Job` attributes that have no field in a CronJob; ``env`` for odd variables.
    """

    name: str | None = None
    description: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


def read(metadata: TypedValue, report: ImportReport) -> Annotations:
    """Return the content of the annotations.

    Raises:
        WrongTypeError: One is no string.
    """
    fields = metadata.fields()
    found = fields["annotations"].fields() if "annotations" in fields else {}
    name = found[NAME_ANNOTATION].text() if NAME_ANNOTATION in found else None
    if name is not None and not NAME.fullmatch(name):
        report.add("KC510", found[NAME_ANNOTATION], f"{shown(name)} is not a name")
    description = found.get(DESCRIPTION_ANNOTATION) or found.get(_THEIR_DESCRIPTION)
    return Annotations(
        name=name,
        description=description.text() if description is not None else None,
        options=_options(found[OPTIONS_ANNOTATION], report) if OPTIONS_ANNOTATION in found else {},
    )


def _options(value: TypedValue, report: ImportReport) -> dict[str, Any]:
    try:
        written = json.loads(value.text())
    except ValueError as error:
        report.add("KC510", value, f"{OPTIONS_ANNOTATION} is no JSON: {error}")
        return {}
    if not isinstance(written, dict):
        report.add("KC510", value, f"{OPTIONS_ANNOTATION} is no JSON object")
        return {}
    options: dict[str, Any] = {}
    env = written.pop("env", {})
    if isinstance(env, dict) and all(isinstance(each, str) for each in env.values()):
        options["env"] = env
    for key, text in written.items():
        option = OPTIONS.get(key)
        if option is None or key in CARRIED or not isinstance(text, str):
            report.add("KC510", value, f"{OPTIONS_ANNOTATION} has no {shown(key)}")
            continue
        try:
            options[option.attribute] = _parse(option, text)
        except BadValueError as error:
            message = f"{OPTIONS_ANNOTATION}: {key}={shown(text)} {error.predicate}"
            report.add("KC510", value, message, error.hint)
    return options


def _parse(option: Option, text: str) -> Any:
    value = option.type.parse(text)
    if isinstance(value, datetime) and value.tzinfo is None:
        raise BadValueError("has no zone", "write a Z behind it")
    return value
