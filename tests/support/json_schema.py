"""JSON Schema 2020-12, as far as the project's own schemas use it: no dependency for thirty lines."""

import re

_TYPES = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
}
_SAY_NOTHING = {"$schema", "title", "description", "properties"}


def faults(value, schema, path="$"):
    """What the schema says against a value; a keyword that is not known here is an error."""
    for keyword, wanted in schema.items():
        if keyword not in _SAY_NOTHING:
            yield from _KEYWORDS[keyword](value, wanted, schema, path)


def _is(value, kind):
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _type(value, wanted, _, path):
    kinds = [wanted] if isinstance(wanted, str) else wanted
    return [] if any(_is(value, kind) for kind in kinds) else [f"{path}: no {wanted}"]


def _items(value, wanted, _, path):
    for at, item in enumerate(value if isinstance(value, list) else []):
        yield from faults(item, wanted, f"{path}[{at}]")


def _required(value, wanted, _, path):
    return [f"{path}: {name} is missing" for name in wanted if isinstance(value, dict) and name not in value]


def _members(value, others, schema, path):
    known = schema.get("properties", {})
    for name, item in value.items() if isinstance(value, dict) else []:
        if name not in known and others is False:
            yield f"{path}: {name} is unknown"
        else:
            yield from faults(item, known.get(name, others), f"{path}.{name}")


def _several(least, most):
    def check(value, wanted, _, path):
        fitting = sum(not any(faults(value, each, path)) for each in wanted)
        return [] if least <= fitting <= most else [f"{path}: fits {fitting} of {len(wanted)}"]

    return check


def _for(kind, holds):
    def check(value, wanted, _, path):
        return (
            [] if not _is(value, kind) or holds(value, wanted) else [f"{path}: {value!r} against {wanted!r}"]
        )

    return check


_KEYWORDS = {
    "type": _type,
    "items": _items,
    "required": _required,
    "additionalProperties": _members,
    "anyOf": _several(1, 1000),
    "oneOf": _several(1, 1),
    "enum": lambda value, wanted, _, path: [] if value in wanted else [f"{path}: not one of {wanted}"],
    "const": lambda value, wanted, _, path: [] if value == wanted else [f"{path}: not {wanted}"],
    "pattern": _for("string", lambda value, wanted: re.search(wanted, value)),
    "minLength": _for("string", lambda value, wanted: len(value) >= wanted),
    "maxLength": _for("string", lambda value, wanted: len(value) <= wanted),
    "minimum": _for("number", lambda value, wanted: value >= wanted),
    "maximum": _for("number", lambda value, wanted: value <= wanted),
    "minItems": _for("array", lambda value, wanted: len(value) >= wanted),
}
