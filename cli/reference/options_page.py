"""The options of jobs: their table in docs/job-files.md and the JSON Schema of YAML job files (cron.md §4).

Both are made from the one table of options, :mod:`kuber_cron.common.jobs.options`.
"""

import json
from typing import Any

from kuber_cron.common.jobs.options import ALIASES, KUBERNETES_KEYS, OPTIONS, Option


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a YAML job file."""
    env = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
    jobs = {
        "schedule": {"type": "string"},
        "command": {
            "oneOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": {"type": "string"}}]
        },
        "env": env,
        **_properties(lambda _: True),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Kuber-Cron job file",
        "type": "object",
        "required": ["version", "jobs"],
        "additionalProperties": False,
        "properties": {
            "version": {"const": 1},
            "defaults": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"env": env, **_properties(lambda option: option.default_allowed)},
            },
            "jobs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["schedule", "command"],
                    "additionalProperties": False,
                    "properties": jobs,
                },
            },
        },
    }


def _properties(wanted: Any) -> dict[str, Any]:
    own = {key: _property(option) for key, option in OPTIONS.items() if wanted(option)}
    others = {
        name: _property(OPTIONS[key])
        for name, key in {**ALIASES, **KUBERNETES_KEYS}.items()
        if wanted(OPTIONS[key])
    }
    # Kubernetes writes Allow, Forbid, Replace.
    if "concurrencyPolicy" in others:
        others["concurrencyPolicy"] = {"enum": ["Allow", "Forbid", "Replace"]}
    return own | others


def _property(option: Option) -> dict[str, Any]:
    return {"description": option.doc, **option.type.schema}


def table() -> str:
    """Return the manual's table of keys, in Markdown."""
    rows = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for key, option in OPTIONS.items():
        value = option.default
        default = "–" if value is None or value in ([], {}) else f"`{option.type.write(value)}`"  # noqa: RUF001 - a dash for people
        mark = " (YAML only)" if option.yaml_only else ""
        rows.append(f"| `{key}`{mark} | {option.type.title} | {default} | {option.doc} |")
    return "\n".join(rows)


def schema_text() -> str:
    """Return the schema as it is shipped."""
    return json.dumps(schema(), indent=1) + "\n"
