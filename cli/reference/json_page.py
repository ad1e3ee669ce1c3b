"""The JSON documents of all commands as one page and one schema: docs/json.md and docs/json.schema.json.

Both are made from the classes of the results, so that the documentation cannot say something else than the code: an
attribute's description is what its class says of it under ``Attributes:``.
"""

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from kuber_cron.control import documents
from kuber_cron.control.actions import results
from kuber_cron.control.queries import quarantine
from kuber_cron.control.queries import results as views

DOCUMENTS: Mapping[str, tuple[type, ...]] = {
    "status": (views.StatusView,),
    "jobs": (views.JobsView,),
    "runs": (views.RunsView,),
    "show": (views.RunView,),
    "logs": (views.LogView,),
    "why": (views.WhyView,),
    "queues": (views.QueuesView,),
    "workers": (views.WorkersView,),
    "quarantine": (quarantine.QuarantineView, results.RetriedRun, results.DroppedRun),
    "trigger": (results.TriggerResult,),
    "stop": (results.StoppedRun, results.StoppedRuns),
    "retry": (results.RetriedRun,),
    "pause": (results.PauseState,),
    "resume": (results.PauseState,),
    "backfill": (results.BackfillResult,),
}
"""The results that each command may answer with: `stop --job`, `quarantine release` and `drop` have their own."""

_HEAD = """# JSON

What the commands that look and act answer with `--format json`: one document on standard output, whatever happens; with an
error it is `{"version":1,"error":{"code","message","hint"}}`, and the exit status is 1, or 2 for a call that has no
meaning. The documents of `check`, `next`, `convert`, `exec` and `import` are in [cli.md](cli.md).

**Stable**: an attribute that stands here keeps its name and its meaning as long as `version` is 1. New ones may come, so
a program should not mind those that it does not know. Every attribute is always there; what is not known is `null`.
Instants are ISO 8601 in UTC with `Z`, some with a fraction of a second; lengths of time are seconds, sizes bytes.

[json.schema.json](json.schema.json) is the same as a JSON Schema: the document of `kuber-cron show` is `#/$defs/show`.

This page is made from the code: `python -m kuber_cron.cli.reference`.
"""

CODES = {
    "usage": "the command was called in a way that has no meaning (exit status 2)",
    "bad-settings": "no address of Redis, or a variable is bad",
    "redis-unreachable": "Redis does not answer",
    "redis-refused": "Redis answers, and does not let us: credentials, rights, memory, a read-only replica",
    "unknown-job": "there is no such job",
    "unknown-run": "there is no such run, or no record of it any more",
    "ambiguous-run": "several runs begin so",
    "no-such-attempt": "the run has no such attempt, or has written nothing yet",
    "no-leader": "no scheduler leads, so what was asked for is withdrawn",
    "no-answer": "a scheduler has begun to decide it and not answered in time",
    "overlap": "the job's runs may not overlap, and one has not ended",
    "suspended": "the job is paused or suspended",
    "no-instants": "the span has no instant of the job's schedule",
    "too-many": "the span has more instants than `--max`, or the chain more jobs than it may",
    "unsigned-variables": "variables need the scheduler's signing key",
    "bad-variable": "no such variable can be given to a command",
    "request-too-large": "the request is larger than 64 KiB",
    "request-expired": "the request came too late",
    "bad-request": "the scheduler cannot read the request",
    "newer-request": "the scheduler is older than the command that asks",
    "put-aside": "what was found under the run's name is no run",
    "refused": "the leader, or Redis, has refused it",
    "run-over": "the run has ended already",
    "run-live": "the run has not ended yet",
    "run-succeeded": "the run has succeeded, and was not to be run again all the same",
    "run-gone": "the run was deleted while it was waited for",
    "not-ours": "the run belongs to no job of Kuber-Cron's",
    "unconfirmed": "what cannot be undone was not confirmed",
    "internal": "a defect of Kuber-Cron",
}


def page() -> str:
    """Return the whole of docs/json.md."""
    parts = [_HEAD, "\n## Codes of errors\n\n| code | |\n| --- | --- |\n"]
    parts += [f"| `{code}` | {meaning} |\n" for code, meaning in CODES.items()]
    for command, kinds in DOCUMENTS.items():
        parts.append(f"\n## {command}\n")
        for kind in kinds:
            parts.append(f"\n{_first_line(kind)}\n\n{_table(document_schema(kind))}")
    named = definitions(kind for kinds in DOCUMENTS.values() for kind in kinds)
    parts.append("\n## Records\n")
    for name, schema in named.items():
        parts.append(f"\n### {name}\n\n{_table(schema)}")
    return "".join(parts)


def schema() -> dict[str, Any]:
    """Return the whole of docs/json.schema.json."""
    found: dict[str, Any] = {}
    for command, kinds in DOCUMENTS.items():
        schemas = [document_schema(kind) for kind in kinds]
        found[command] = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    named = definitions(kind for kinds in DOCUMENTS.values() for kind in kinds)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What kuber-cron answers with --format json",
        "$defs": {**found, **named},
    }


def schema_text() -> str:
    """Return the schema as it is published."""
    return json.dumps(schema(), indent=1) + "\n"


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").splitlines()[0].replace("``", "`")


def _table(schema: Mapping[str, Any]) -> str:
    rows = ["| | | |", "| --- | --- | --- |"]
    for name, said in schema["properties"].items():
        rows.append(
            f"| `{name}` | {_type(said)} | {said.get('description', '').replace('|', chr(92) + '|')} |"
        )
    return "\n".join(rows) + "\n"


def _type(said: Mapping[str, Any]) -> str:
    if "const" in said:
        return f"`{json.dumps(said['const'])}`"
    if "enum" in said:
        return ", ".join(f"`{json.dumps(word)}`" for word in said["enum"])
    if "anyOf" in said:
        return " or ".join(_type(each) for each in said["anyOf"])
    if "$ref" in said:
        name = said["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if said["type"] == "array":
        inner = said.get("prefixItems")
        return (
            f"list of {_type(said['items'])}"
            if inner is None
            else f"[{', '.join(_type(each) for each in inner)}]"
        )
    return {
        "string": "instant" if "format" in said else "text",
        "integer": "number",
        "boolean": "true, false",
    }.get(said["type"], str(said["type"]))


# --- the schema of a record ------------------------------------------------------------------------------


def record_schema(kind: type) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a record's class. Records in it are a ``$ref`` to `definitions`."""
    hints, said = get_type_hints(kind), descriptions(kind)
    properties = {}
    for each in fields(kind):
        described = {"description": said[each.name]} if each.name in said else {}
        properties[each.name] = {**described, **_schema_of(hints[each.name])}
    return {"type": "object", "required": list(properties), "properties": properties}


def document_schema(kind: type) -> dict[str, Any]:
    """Return the schema of a whole document."""
    inner = record_schema(kind)
    return {
        **inner,
        "required": ["version", *inner["required"]],
        "properties": {"version": {"const": documents.VERSION}, **inner["properties"]},
    }


def definitions(kinds: Iterable[type]) -> dict[str, dict[str, Any]]:
    """Return the schemas of all records within these, by their classes' names."""
    found: dict[str, type] = {}
    waiting = [inner for kind in kinds for inner in records_in(kind)]
    while waiting:
        kind = waiting.pop(0)
        if found.setdefault(kind.__name__, kind) is not kind:
            raise ValueError(f"two records are called {kind.__name__}")
        waiting += [inner for inner in records_in(kind) if inner.__name__ not in found]
    return {name: record_schema(kind) for name, kind in sorted(found.items())}


def records_in(kind: type) -> list[type]:
    """Return the classes of the records that its attributes hold."""
    found: list[type] = []
    for hint in get_type_hints(kind).values():
        for one in documents.alternatives(hint):
            inner = get_args(one)[0] if get_origin(one) is tuple else one
            if is_dataclass(inner) and isinstance(inner, type):
                found.append(inner)
    return found


_SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
}


def _schema_of(hint: Any) -> dict[str, Any]:
    found = [_schema_of_one(kind) for kind in documents.alternatives(hint)]
    if type(None) in get_args(hint):
        found.append({"type": "null"})
    return found[0] if len(found) == 1 else {"anyOf": found}


def _schema_of_one(kind: Any) -> dict[str, Any]:
    origin = get_origin(kind)
    if origin is Literal:
        return {"enum": list(get_args(kind))}
    if origin is tuple:
        inner = get_args(kind)
        if inner[-1] is not Ellipsis:
            return {"type": "array", "prefixItems": [_schema_of(each) for each in inner]}
        return {"type": "array", "items": _schema_of(inner[0])}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema_of(get_args(kind)[1])}
    if is_dataclass(kind) and isinstance(kind, type):
        return {"$ref": f"#/$defs/{kind.__name__}"}
    return _SCALARS[kind]


@cache
def descriptions(kind: type) -> Mapping[str, str]:
    """Return the descriptions of the class's attributes, from its docstring."""
    # Cleaned, because from Python 3.13 on a docstring comes without the indentation of its class.
    text = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2]
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        begun = re.match(r"    (\w+): (.*)", line)
        if begun:
            name = begun[1]
            found[name] = begun[2].strip()
        elif name and line.startswith(" " * 8):
            found[name] += " " + line.strip()
        elif line.strip():
            break
    return {name: said.replace("``", "`") for name, said in found.items()}
