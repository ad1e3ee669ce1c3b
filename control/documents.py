"""Documents: records as JSON has them, and the schema that says so. Pure.

A record is a frozen dataclass. Its attributes' names are the names in JSON, and what its docstring says of them under
``Attributes:`` is their description, so that the documentation cannot say something else than the code. Instants are ISO
8601 in UTC with Z; what is not known is null, never left out.
"""

import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from kuber_cron.common.time_format import iso

VERSION = 1
"""Of all documents together. Adding an attribute leaves it; renaming or removing one would not."""

Convert = Callable[[Any], Any]


def plain(record: Any) -> dict[str, Any]:
    """The record as JSON has it, in the order of its attributes."""
    kind: Any = type(record)
    names, get, converters = _plan(kind)
    values = list(get(record))
    for place, convert in converters:
        values[place] = convert(values[place])
    return dict(zip(names, values, strict=True))


def document(record: Any) -> dict[str, Any]:
    """The record as a whole document: with the version first."""
    return {"version": VERSION, **plain(record)}


@cache
def _plan(kind: type) -> tuple[list[str], Callable[[Any], Iterable[Any]], list[tuple[int, Convert]]]:
    """How a record becomes a dict, worked out once a class: ten thousand jobs are one document."""
    hints = get_type_hints(kind)
    names = [each.name for each in fields(kind)]
    found = [(place, _converter(hints[name])) for place, name in enumerate(names)]
    get = attrgetter(*names) if len(names) > 1 else lambda record: (getattr(record, names[0]),)
    return names, get, [(place, convert) for place, convert in found if convert is not None]


def _converter(hint: Any) -> Convert | None:
    convert = _converter_of_one(_alternatives(hint)[0])
    if convert is None or type(None) not in get_args(hint):
        return convert
    return lambda value: None if value is None else convert(value)


def _converter_of_one(kind: Any) -> Convert | None:
    origin = get_origin(kind)
    if kind is datetime:
        return iso
    if origin is tuple:
        inner = _converter(get_args(kind)[0])
        return list if inner is None else lambda value: [inner(each) for each in value]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return dict
    return plain if is_dataclass(kind) else None


def _alternatives(hint: Any) -> list[Any]:
    """What a value may be, None aside."""
    is_union = get_origin(hint) in (Union, types.UnionType)
    return [kind for kind in (get_args(hint) if is_union else (hint,)) if kind is not types.NoneType]


# --- the schema ----------------------------------------------------------------------------------------


def schema(kind: type) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a record's class; records in it are named by ``$ref`` and stand in `definitions`."""
    hints, said = get_type_hints(kind), descriptions(kind)
    properties = {}
    for each in fields(kind):
        described = {"description": said[each.name]} if each.name in said else {}
        properties[each.name] = {**described, **_schema_of(hints[each.name])}
    return {"type": "object", "required": list(properties), "properties": properties}


def document_schema(kind: type) -> dict[str, Any]:
    """The schema of a whole document."""
    inner = schema(kind)
    return {
        **inner,
        "required": ["version", *inner["required"]],
        "properties": {"version": {"const": VERSION}, **inner["properties"]},
    }


def definitions(kinds: Iterable[type]) -> dict[str, dict[str, Any]]:
    """The schemas of all records within these, by their classes' names."""
    found: dict[str, type] = {}
    waiting = [inner for kind in kinds for inner in records_in(kind)]
    while waiting:
        kind = waiting.pop(0)
        if found.setdefault(kind.__name__, kind) is not kind:
            raise ValueError(f"two records are called {kind.__name__}")
        waiting += [inner for inner in records_in(kind) if inner.__name__ not in found]
    return {name: schema(kind) for name, kind in sorted(found.items())}


def records_in(kind: type) -> list[type]:
    """The classes of the records that its attributes hold."""
    found: list[type] = []
    for hint in get_type_hints(kind).values():
        for one in _alternatives(hint):
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
    found = [_schema_of_one(kind) for kind in _alternatives(hint)]
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
    """What the class says of its attributes in its docstring."""
    text = (kind.__doc__ or "").partition("Attributes:\n")[2]
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        begun = re.match(r"        (\w+): (.*)", line)
        if begun:
            name = begun[1]
            found[name] = begun[2].strip()
        elif name and line.startswith(" " * 12):
            found[name] += " " + line.strip()
        elif line.strip():
            break
    return {name: said.replace("``", "`") for name, said in found.items()}
