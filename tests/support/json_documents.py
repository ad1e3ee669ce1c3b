"""JSON documents held to the schema of docs/json.schema.json: what a validator does with the part of it that we use.

Stricter than a validator: an attribute that the schema does not name is an error, for then it is not documented.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

SCHEMA: Mapping[str, Any] = json.loads((Path(__file__).parents[2] / "docs" / "json.schema.json").read_text())
_TYPES: Mapping[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def problems(command: str, document: Any) -> list[str]:
    """What is wrong with the document of this command; empty where all is well."""
    return _problems(SCHEMA["$defs"][command], document, command)


def _problems(schema: Mapping[str, Any], value: Any, at: str) -> list[str]:
    if "$ref" in schema:
        return _problems(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], value, at)
    if "anyOf" in schema:
        tried = [_problems(each, value, at) for each in schema["anyOf"]]
        return [] if not all(tried) else min(tried, key=len)
    if "const" in schema:
        return [] if value == schema["const"] else [f"{at}: {value!r} is not {schema['const']!r}"]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{at}: {value!r} is none of {schema['enum']}"]
    is_kind = isinstance(value, _TYPES[schema["type"]])
    if not is_kind or (isinstance(value, bool) and schema["type"] != "boolean"):
        return [f"{at}: {value!r} is no {schema['type']}"]
    if "format" in schema and datetime.fromisoformat(value).utcoffset() is None:
        return [f"{at}: {value!r} is no instant"]
    if isinstance(value, dict):
        return _problems_of_object(schema, value, at)
    if isinstance(value, list):
        inner = schema.get("prefixItems") or [schema["items"]] * len(value)
        pairs = enumerate(zip(inner, value, strict=True))
        return [each for place, (kind, one) in pairs for each in _problems(kind, one, f"{at}[{place}]")]
    return []


def _problems_of_object(schema: Mapping[str, Any], value: Mapping[str, Any], at: str) -> list[str]:
    if "additionalProperties" in schema:
        kind = schema["additionalProperties"]
        return [each for name, one in value.items() for each in _problems(kind, one, f"{at}.{name}")]
    found = [f"{at}.{name} is missing" for name in schema["required"] if name not in value]
    found += [f"{at}.{name} is not documented" for name in value if name not in schema["properties"]]
    for name, kind in schema["properties"].items():
        if name in value:
            found += _problems(kind, value[name], f"{at}.{name}")
    return found
