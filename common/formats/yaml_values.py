"""The values of a YAML job file: from a node to a string, a command, a variable, an option.

Pure. A node that is not of its type raises :class:`RefusedNodeError`, which carries the fault to the one place that
reports it.
"""

from typing import Any

import yaml

from kuber_cron.common.diagnostics import Fault, shown
from kuber_cron.common.formats import yaml_nodes
from kuber_cron.common.formats.crontab_directives import read_value
from kuber_cron.common.formats.crontab_variables import is_zone
from kuber_cron.common.jobs.option_types import BadValueError
from kuber_cron.common.jobs.options import KUBERNETES_CONCURRENCY, Option
from kuber_cron.common.schedule import ScheduleError, timezones
from kuber_cron.common.suggestions import Suggestions

_TAG = yaml_nodes.TAG


class RefusedNodeError(Exception):
    """A node cannot be read.

    Attributes:
        node: The node.
        fault: What is wrong with it.
    """

    def __init__(self, node: yaml.Node, fault: Fault) -> None:
        super().__init__(fault.message)
        self.node = node
        self.fault = fault


def command(node: yaml.Node) -> str | list[str]:
    """Return a command: a string, or a list of words."""
    if isinstance(node, yaml.SequenceNode):
        words = [string(word, "command") for word in node.value]
        if not words or not words[0]:
            raise RefusedNodeError(node, fault_at(node, "KC111", "missing command", about="command"))
        return words
    text = string(node, "command")
    if not text.strip():
        raise RefusedNodeError(node, fault_at(node, "KC111", "missing command", about="command"))
    return text


def stdin(node: yaml.Node | None) -> str | None:
    """Return the standard input of a command; None where it is closed."""
    if node is None or node.tag == f"{_TAG}null":
        return None
    return string(node, "stdin")


def string(node: yaml.Node, what: str) -> str:
    """Return a string; ``what`` is its name in messages."""
    if not isinstance(node, yaml.ScalarNode) or node.tag != f"{_TAG}str":
        hint = 'write "…" around it' if isinstance(node, yaml.ScalarNode) else None
        raise RefusedNodeError(
            node, fault_at(node, "KC403", f"{what} is {yaml_nodes.kind(node)} and not a string", hint)
        )
    text = text_of(node)
    if "\0" in text:
        raise RefusedNodeError(node, fault_at(node, "KC403", f"{what} holds a NUL"))
    return text


def variable(name: str, node: yaml.Node) -> str:
    """Return the value of a variable."""
    is_number = isinstance(node, yaml.ScalarNode) and node.tag in {f"{_TAG}int", f"{_TAG}float"}
    text = text_of(node) if is_number else string(node, f"variable {name}")
    if is_zone(f"{name}={text}") and name == "CRON_TZ" and text:
        try:
            timezones.find(text)
        except ScheduleError as error:
            raise RefusedNodeError(
                node, fault_at(node, error.code, error.message, error.hint, about="timezone")
            ) from None
    if name == "RANDOM_DELAY" and text and not (text.isascii() and text.isdigit() and len(text) < 7):
        message = f"RANDOM_DELAY={shown(text)} is not a number of minutes"
        raise RefusedNodeError(node, fault_at(node, "KC403", message, about="environment"))
    return text


def option_value(option: Option, node: yaml.Node, suggestions: Suggestions) -> Any:
    """Return the value of an option."""
    text = _option_text(option, node)
    if option.key == "concurrency":
        text = KUBERNETES_CONCURRENCY.get(text, text)
    try:
        return read_value(option, text, suggestions)
    except BadValueError as error:
        if option.key == "timezone":
            fault = fault_at(node, "KC204", f"unknown time zone {shown(text)}", error.hint, about="timezone")
        else:
            fault = fault_at(node, "KC403", f"{option.key}={shown(text)} {error.predicate}", error.hint)
        raise RefusedNodeError(node, fault) from None


def _option_text(option: Option, node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode) and option.type.plural:
        return ",".join(_scalar(option, item) for item in node.value)
    return _scalar(option, node)


def _scalar(option: Option, node: yaml.Node) -> str:
    tag = node.tag.removeprefix(_TAG)
    if not isinstance(node, yaml.ScalarNode) or (tag not in option.type.tags and tag != "str"):
        message = f"{option.key} is {yaml_nodes.kind(node)} and not {option.type.title}"
        hint = 'write "…" around it' if isinstance(node, yaml.ScalarNode) else None
        raise RefusedNodeError(node, fault_at(node, "KC403", message, hint))
    return text_of(node)


def text_of(node: yaml.Node) -> str:
    """Return the text of a scalar as it is written; empty for other nodes."""
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def fault_at(
    node: yaml.Node, code: str, message: str, hint: str | None = None, about: str | None = "yaml"
) -> Fault:
    """Return a fault at the node's place."""
    return Fault(col=node.start_mark.column + 1, code=code, message=message, hint=hint, about=about)
