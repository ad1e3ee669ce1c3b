"""Values of a Kubernetes object, each with its path and its place in the file.

Pure. Types are Kubernetes' own: a number where a string belongs is refused, as the API server does; ``22:30`` and
``2026-01-01`` are strings to it, whatever YAML 1.1 says. ``null`` counts as absent, ``<<`` is followed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from kuber_cron.common.formats import yaml_nodes
from kuber_cron.common.formats.yaml_nodes import TAG

_STRINGS = {f"{TAG}str", f"{TAG}timestamp", f"{TAG}value"}


class WrongTypeError(Exception):
    """A value is missing or of another type than Kubernetes says.

    Attributes:
        value: Where.
        message: What is wrong, naming the path.
        hint: What to write instead, or None.
    """

    def __init__(self, value: "TypedValue", message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.value = value
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class TypedValue:
    """One value of an object, with its path.

    Attributes:
        node: What stands there.
        path: Its fields' names, joined by dots; the empty string for the object itself.
        key: The key that it belongs to, or the node itself: the place that diagnostics name.
    """

    node: yaml.Node
    path: str
    key: yaml.Node

    @property
    def line(self) -> int:
        """0-based line of its key."""
        return self.key.start_mark.line

    @property
    def column(self) -> int:
        """0-based column of its key."""
        return self.key.start_mark.column

    def fields(self) -> dict[str, "TypedValue"]:
        """Return a mapping's values by name, without those that are null; the later of two equal keys counts.

        Raises:
            WrongTypeError: It is no mapping.
        """
        if not isinstance(self.node, yaml.MappingNode):
            raise self._wrong("a mapping")
        found: dict[str, TypedValue] = {}
        for key, value in _pairs(self.node):
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            found.pop(name, None)
            if value.tag != f"{TAG}null":
                path = f"{self.path}.{name}" if self.path else name
                found[name] = TypedValue(value, path, key)
        return found

    def field(self, name: str) -> "TypedValue":
        """Return a mapping's value that has to be there.

        Raises:
            WrongTypeError: It is missing, or this is no mapping.
        """
        found = self.fields().get(name)
        if found is None:
            raise WrongTypeError(self, f"{self.path + '.' if self.path else ''}{name} is missing")
        return found

    def items(self) -> list["TypedValue"]:
        """Return a list's values.

        Raises:
            WrongTypeError: It is no list.
        """
        if not isinstance(self.node, yaml.SequenceNode):
            raise self._wrong("a list")
        return [TypedValue(node, f"{self.path}[{at}]", node) for at, node in enumerate(self.node.value)]

    def text(self) -> str:
        """Return a string.

        Raises:
            WrongTypeError: It is none.
        """
        node = self.node
        if not isinstance(node, yaml.ScalarNode) or not (node.tag in _STRINGS or _is_sexagesimal(node)):
            hint = 'write "…" around it' if isinstance(node, yaml.ScalarNode) else None
            raise self._wrong("a string", hint)
        if "\0" in node.value:
            raise WrongTypeError(self, f"{self.path} holds a NUL")
        return str(node.value)

    def integer(self) -> int:
        """Return a whole number of at least 0.

        Raises:
            WrongTypeError: It is none.
        """
        node = self.node
        if not isinstance(node, yaml.ScalarNode) or node.tag != f"{TAG}int" or _is_sexagesimal(node):
            raise self._wrong("a whole number")
        if not (node.value.isascii() and node.value.isdigit() and len(node.value) < 19):
            raise WrongTypeError(
                self, f"{self.path} is {node.value[:40]} and not a whole number of at least 0"
            )
        return int(node.value)

    def boolean(self) -> bool:
        """Return a truth value.

        Raises:
            WrongTypeError: It is none.
        """
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag != f"{TAG}bool":
            raise self._wrong("true or false")
        return self.node.value.lower() in {"true", "yes", "on"}

    def plain(self) -> Any:
        """Return the value without its places, for comparisons with defaults."""
        if isinstance(self.node, yaml.MappingNode):
            return {name: value.plain() for name, value in self.fields().items()}
        if isinstance(self.node, yaml.SequenceNode):
            return [value.plain() for value in self.items()]
        tag = self.node.tag.removeprefix(TAG)
        text = str(self.node.value)
        if tag == "bool":
            return self.boolean()
        return int(text) if tag == "int" and text.isascii() and text.isdigit() else text

    def _wrong(self, wanted: str, hint: str | None = None) -> WrongTypeError:
        what = self.path or "the document"
        return WrongTypeError(self, f"{what} is {yaml_nodes.kind(self.node)} and not {wanted}", hint)


def _pairs(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """Return a mapping's keys and values, those that ``<<`` brings first, so that its own win."""
    own = []
    for key, value in node.value:
        if key.tag != f"{TAG}merge":
            own.append((key, value))
            continue
        # The first of several wins, so it comes last.
        for merged in reversed(value.value) if isinstance(value, yaml.SequenceNode) else [value]:
            if isinstance(merged, yaml.MappingNode):
                yield from _pairs(merged)
    yield from own


def _is_sexagesimal(node: yaml.ScalarNode) -> bool:
    """Return True if YAML 1.1 alone takes it for a number: ``22:30``."""
    return node.tag in {f"{TAG}int", f"{TAG}float"} and ":" in node.value
