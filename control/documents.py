"""Results as JSON documents. Pure.

A result is a frozen dataclass, and so is each record in it. The names of its attributes are the names in JSON, in their
order. Instants are ISO 8601 in UTC with Z. What is not known is null, and never left out. ``cli.reference.json_page``
makes the schema of the documents from the same classes.
"""

import json
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any, Union, get_args, get_origin, get_type_hints

from kuber_cron.common.time_format import iso

VERSION = 1
"""The version of all documents together. Adding an attribute leaves it; renaming or removing one would not."""

_INDENTED_ROWS = 100  # of a list, at most; each row of a longer one is written on one line

Convert = Callable[[Any], Any]


def plain(record: Any) -> dict[str, Any]:
    """Return the record as JSON has it, in the order of its attributes."""
    kind: Any = type(record)
    names, get, converters = _plan(kind)
    values = list(get(record))
    for place, convert in converters:
        values[place] = convert(values[place])
    return dict(zip(names, values, strict=True))


def document(record: Any) -> dict[str, Any]:
    """Return the record as a whole document: with the version first."""
    return {"version": VERSION, **plain(record)}


def error_document(code: str, message: str, hint: str | None) -> dict[str, Any]:
    """Return the document that stands in the place of a result where an error prevented it."""
    return {"version": VERSION, "error": {"code": code, "message": message, "hint": hint}}


def indented(document: Mapping[str, Any]) -> str:
    """Return the document as indented text, in ASCII: bad UTF-8 in a job file must not make it invalid."""
    return json.dumps(document, indent=2) + "\n"


def in_rows(document: Mapping[str, Any]) -> str:
    """Return the document as text, indented, with each row of a long list on one line.

    An optimisation: Python's own indenting takes a second for ten thousand jobs.
    """
    if not any(isinstance(value, list) and len(value) > _INDENTED_ROWS for value in document.values()):
        return indented(document)
    parts = [f"  {json.dumps(name)}: {_rows(value)}" for name, value in document.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _rows(value: Any) -> str:
    if not isinstance(value, list):
        return json.dumps(value)
    return "[\n" + ",\n".join(f"    {json.dumps(each)}" for each in value) + "\n  ]"


@cache
def _plan(kind: type) -> tuple[list[str], Callable[[Any], Iterable[Any]], list[tuple[int, Convert]]]:
    """Work out how a record becomes a dict, once for each class: ten thousand jobs are one document."""
    hints = get_type_hints(kind)
    names = [each.name for each in fields(kind)]
    found = [(place, _converter(hints[name])) for place, name in enumerate(names)]
    get = attrgetter(*names) if len(names) > 1 else lambda record: (getattr(record, names[0]),)
    return names, get, [(place, convert) for place, convert in found if convert is not None]


def _converter(hint: Any) -> Convert | None:
    convert = _converter_of_one(alternatives(hint)[0])
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


def alternatives(hint: Any) -> list[Any]:
    """Return the types that a hint allows, None aside."""
    is_union = get_origin(hint) in (Union, types.UnionType)
    return [kind for kind in (get_args(hint) if is_union else (hint,)) if kind is not types.NoneType]
