"""JSON Schema 2020-12, as far as the project's own schemas use it: no dependency for a page.

Stricter than a validator where a schema describes what we write: ``closed`` makes an attribute that the schema does not
name an error, for then it is not documented.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

Schema = Mapping[str, Any]

_TYPES: Mapping[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
}
_WITHOUT_MEANING = {"$schema", "$defs", "title", "description", "default"}
# Read by "items" and "additionalProperties", which are always beside them or looked at in their place.
_READ_ELSEWHERE = {"prefixItems", "properties"}
_DOCUMENTS: Schema = json.loads((Path(__file__).parents[2] / "docs" / "json.schema.json").read_text())


def faults(
    value: Any, schema: Schema, path: str = "$", *, root: Schema | None = None, closed: bool = False
) -> list[str]:
    """What the schema says against a value; a keyword that is not known here raises KeyError.

    ``root`` is the schema whose ``$defs`` are meant, if that is another.
    """
    return list(_Reading(root or schema, closed=closed).faults(value, schema, path))


def document_faults(name: str, document: Any) -> list[str]:
    """What docs/json.schema.json says against a document: a command's, or a part of one by its name in ``$defs``."""
    return faults(document, _DOCUMENTS["$defs"][name], name, root=_DOCUMENTS, closed=True)


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


class _Reading:
    def __init__(self, root: Schema, *, closed: bool) -> None:
        self._root = root
        self._closed = closed

    def faults(self, value: Any, schema: Schema, path: str) -> Iterator[str]:
        if not any(_is(value, kind) for kind in _kinds(schema)):
            yield f"{path}: {value!r} is no {schema['type']}"
            return
        for keyword, wanted in schema.items():
            if keyword in _SIMPLE:
                kind, holds, said = _SIMPLE[keyword]
                if (not kind or _is(value, kind)) and not holds(value, wanted):
                    yield f"{path}: {value!r} {said} {wanted!r}"
            elif keyword not in _WITHOUT_MEANING | _READ_ELSEWHERE | {
                "type",
                "items",
                "additionalProperties",
            }:
                yield from getattr(self, _COMPOUND[keyword])(value, wanted, path)
        if isinstance(value, list):
            yield from self._items(value, schema, path)
        if isinstance(value, dict):
            yield from self._attributes(value, schema, path)

    def _ref(self, value: Any, wanted: str, path: str) -> Iterator[str]:
        return self.faults(value, self._root["$defs"][wanted.removeprefix("#/$defs/")], path)

    def _any_of(self, value: Any, wanted: list[Schema], path: str) -> list[str]:
        tried = [list(self.faults(value, each, path)) for each in wanted]
        return min(tried, key=len) if all(tried) else []

    def _one_of(self, value: Any, wanted: list[Schema], path: str) -> list[str]:
        fitting = sum(not list(self.faults(value, each, path)) for each in wanted)
        return [] if fitting == 1 else [f"{path}: fits {fitting} of {len(wanted)}"]

    def _required(self, value: Any, wanted: list[str], path: str) -> list[str]:
        return [
            f"{path}.{name} is missing" for name in wanted if isinstance(value, dict) and name not in value
        ]

    def _items(self, value: list[Any], schema: Schema, path: str) -> Iterator[str]:
        first = schema.get("prefixItems", [])
        for place, item in enumerate(value):
            kind = first[place] if place < len(first) else schema.get("items", {})
            yield from self.faults(item, kind, f"{path}[{place}]")

    def _attributes(self, value: dict[str, Any], schema: Schema, path: str) -> Iterator[str]:
        known = schema.get("properties", {})
        others = schema.get("additionalProperties", not (self._closed and known))
        for name, item in value.items():
            kind = known.get(name, others)
            if kind is False:
                yield f"{path}.{name} is unknown"
            elif kind is not True:
                yield from self.faults(item, kind, f"{path}.{name}")


def _kinds(schema: Schema) -> list[str]:
    wanted = schema.get("type", list(_TYPES))
    return [wanted] if isinstance(wanted, str) else wanted


def _has_offset(value: str, _: str) -> bool:
    return datetime.fromisoformat(value).utcoffset() is not None


_COMPOUND = {"$ref": "_ref", "anyOf": "_any_of", "oneOf": "_one_of", "required": "_required"}
# Of which type of value it speaks ("" for all), what has to hold, and what is said where it does not.
_SIMPLE: Mapping[str, tuple[str, Callable[[Any, Any], Any], str]] = {
    "enum": ("", lambda value, wanted: value in wanted, "is none of"),
    "const": ("", lambda value, wanted: value == wanted, "is not"),
    "format": ("string", _has_offset, "is no"),
    "pattern": ("string", lambda value, wanted: re.search(wanted, value), "does not match"),
    "minLength": ("string", lambda value, wanted: len(value) >= wanted, "is shorter than"),
    "maxLength": ("string", lambda value, wanted: len(value) <= wanted, "is longer than"),
    "minimum": ("number", lambda value, wanted: value >= wanted, "is less than"),
    "maximum": ("number", lambda value, wanted: value <= wanted, "is more than"),
    "minItems": ("array", lambda value, wanted: len(value) >= wanted, "has fewer than"),
}
