"""YAML job files: the same model as a crontab's, with the line of every mistake (spec: cron.md §4).

Read from the node graph, for its marks: no tag constructs anything, depth is bounded before anything recurses,
and a job in error costs itself alone. The schema is closed: the misspelt key may have been ``concurrency``.
"""

import re
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import yaml

from kuber_cron.common.diagnostics import Fault, shown
from kuber_cron.common.formats import lint, yaml_nodes
from kuber_cron.common.formats.crontab_directives import read_value
from kuber_cron.common.formats.crontab_variables import is_zone
from kuber_cron.common.formats.resolver import MAX_JOBS, ParsedFile, ParsedJob, complete, link
from kuber_cron.common.jobs import job_ids
from kuber_cron.common.jobs.job import Parsed
from kuber_cron.common.jobs.option_types import BadValueError
from kuber_cron.common.jobs.options import (
    ALIASES,
    KUBERNETES_CONCURRENCY,
    KUBERNETES_KEYS,
    OPTIONS,
    YAML_KEYS,
    Option,
)
from kuber_cron.common.schedule import Schedule, ScheduleError, timezones

_TAG = yaml_nodes.TAG
# version, jobs, a job, its env: more levels mean something else.
_MAX_DEPTH = 12
_JOB_KEYS = ("schedule", "command", "env", *YAML_KEYS)
_TOP_KEYS = ("version", "defaults", "jobs")
_VERSION = "1"
# No job file has such a key at its top, whatever else is wrong with it.
_MANIFEST = re.compile(r"""^(?:\{\s*"|["']?)apiVersion["']?[ \t]*:""", re.MULTILINE)


class _Refused(Exception):  # noqa: N818 - carries a fault to the one place that reports it
    """A part cannot be read."""

    def __init__(self, node: yaml.Node, fault: Fault) -> None:
        super().__init__(fault.message)
        self.node = node
        self.fault = fault


def parse(text: str | bytes, source: str = "jobs.yaml", timezone: str = "UTC") -> Parsed:
    """The jobs of one YAML file, and everything wrong by line and column. Never raises on content.

    Args:
        text: The file.
        source: Its name in diagnostics.
        timezone: The zone of jobs that name none.

    Raises:
        ScheduleError: There is no such ``timezone``.
    """
    return link([read(text, source, timezone=timezone)])


def read(text: str | bytes, source: str, *, timezone: str) -> ParsedFile:
    """One YAML file as drafts, to be linked with those of other files.

    Raises:
        ScheduleError: There is no such ``timezone``.
    """
    timezones.find(timezone)
    file = ParsedFile(source=source)
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    reader = _Reader(file, text.split("\n"), timezone)
    manifest = _MANIFEST.search(text)
    if manifest is not None:
        number = text.count("\n", 0, manifest.start()) + 1
        message, hint = "a Kubernetes manifest, and no job file", "kuber-cron import reads CronJob manifests"
        file.report(
            Fault(code="KC408", message=message, hint=hint, about="yaml"), number, reader.line(number)
        )
        return file
    try:
        root = yaml_nodes.compose(text, max_depth=_MAX_DEPTH)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        _report_syntax(reader, error)
        return file
    if root is not None:
        reader.read_root(root)
    return file


def _report_syntax(reader: "_Reader", error: Exception) -> None:
    line, col, problem, hint = yaml_nodes.problem(error, reader.lines)
    fault = Fault(col=col, code="KC401", message=f"not YAML: {problem}", hint=hint, about="yaml")
    reader.file.report(fault, line, reader.line(line))


@dataclass(slots=True)
class _Reader:
    """The state of a file from node to node."""

    file: ParsedFile
    lines: list[str]
    zone: str
    defaults: dict[str, Any] = field(default_factory=dict)
    defaults_env: dict[str, str] = field(default_factory=dict)
    defaults_are_bad: bool = False

    def line(self, number: int) -> str:
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def report(self, node: yaml.Node, fault: Fault) -> None:
        number = node.start_mark.line + 1
        self.file.report(fault, number, self.line(number))

    def read_root(self, root: yaml.Node) -> None:
        """Take in the document."""
        try:
            parts = self.mapping(root, _TOP_KEYS, "key of the file")
        except _Refused as refused:
            self.report(refused.node, refused.fault)
            return
        version = parts.get("version")
        if version is None or _text(version) != _VERSION:
            message = (
                "version is missing" if version is None else f"version={shown(_text(version))} is not known"
            )
            self.report(version or root, _fault(version or root, "KC407", message, "write version: 1"))
        if "defaults" in parts:
            self._read_defaults(parts["defaults"])
        jobs = parts.get("jobs")
        if jobs is None:
            self.report(root, _fault(root, "KC405", "jobs is missing", "write jobs: and a list of jobs"))
        elif not isinstance(jobs, yaml.SequenceNode):
            self.report(jobs, _fault(jobs, "KC403", "jobs is not a list", "begin each job with -"))
        else:
            self._read_jobs(jobs)

    def mapping(self, node: yaml.Node, known: tuple[str, ...], kind: str) -> dict[str, yaml.Node]:
        """A mapping's values by key; unknown and repeated keys are reported, and then it is refused."""
        if not isinstance(node, yaml.MappingNode):
            raise _Refused(
                node, _fault(node, "KC403", f"{yaml_nodes.kind(node)} where keys and values belong")
            )
        found: dict[str, yaml.Node] = {}
        bad: _Refused | None = None
        for key, value in node.value:
            name = _text(key) if isinstance(key, yaml.ScalarNode) else ""
            name = ALIASES.get(name, KUBERNETES_KEYS.get(name, name)) if name in known else name
            if known and name not in known:
                hint = self.file.suggestions.hint(name, known, kind)
                fault = _fault(key, "KC402", f"unknown key {shown(_text(key))}", hint)
            elif name in found:
                fault = _fault(key, "KC404", f"key {shown(name)} given twice", "keep one of them")
            else:
                found[name] = value
                continue
            if bad is not None:
                self.report(bad.node, bad.fault)
            bad = _Refused(key, fault)
        if bad is not None:
            raise bad
        return found

    def _read_defaults(self, node: yaml.Node) -> None:
        known = ("env", *(key for key in YAML_KEYS if _may_default(key)))
        try:
            parts = self.mapping(node, known, "default")
            self.defaults_env = self._env(parts.pop("env", None))
            self.defaults = self._values(parts)
        except _Refused as refused:
            self.report(refused.node, refused.fault)
            self.defaults_are_bad = True

    def _read_jobs(self, jobs: yaml.SequenceNode) -> None:
        for count, node in enumerate(jobs.value, start=1):
            if count > MAX_JOBS:
                message = f"more than {MAX_JOBS:,} jobs in a file: this one and those below are not loaded"
                self.report(node, _fault(node, "KC114", message, "spread them over several files"))
                return
            try:
                draft = self._draft(node)
            except _Refused as refused:
                self.report(refused.node, refused.fault)
                self._lose(node)
                continue
            self.file.drafts.append(draft)

    def _lose(self, node: yaml.Node) -> None:
        """Remember the name of a job that is not loaded, for those that wait for it."""
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            if _text(key) == "name" and isinstance(value, yaml.ScalarNode):
                self.file.lost.setdefault(_text(value), node.start_mark.line + 1)

    def _draft(self, node: yaml.Node) -> ParsedJob:
        parts = self.mapping(node, _JOB_KEYS, "key of a job")
        for key in ("schedule", "command"):
            if key not in parts:
                raise _Refused(node, _fault(node, "KC405", f"{key} is missing", f"write {key}: …"))
        if self.defaults_are_bad:
            message = "job not loaded: the defaults of this file are invalid"
            raise _Refused(node, _fault(node, "KC310", message))
        schedule_node = parts.pop("schedule")
        schedule, never = self._schedule(schedule_node)
        command = self._command(parts.pop("command"))
        env = self._env(parts.pop("env", None))
        has_stdin, stdin = "stdin" in parts, self._stdin(parts.pop("stdin", None))
        own = self._values(parts)
        values = {**self.defaults, **own}
        values |= {"schedule": schedule, "command": command, "env": {**self.defaults_env, **env}}
        if has_stdin:
            values["stdin"] = stdin
        values["timezone"] = (
            own.get("timezone") or values["env"].get("CRON_TZ") or self.defaults.get("timezone") or self.zone
        )
        complete(values)
        if schedule == "@after" and not values.get("after"):
            message = "@after names no job to run after"
            raise _Refused(schedule_node, _fault(schedule_node, "KC313", message, "write after: [NAME]"))
        number = schedule_node.start_mark.line + 1
        for warning in lint.steps(schedule, schedule_node.start_mark.column):
            self.file.report(warning, number, self.line(number))
        name = values.pop("id", None)
        return ParsedJob(
            line=number,
            text=self.line(number),
            name=name,
            label=name or job_ids.of_command(command),
            about="yaml",
            values=values,
            never=never,
        )

    def _schedule(self, node: yaml.Node) -> tuple[str, bool | None]:
        text = self._string(node, "schedule")
        try:
            schedule = Schedule.parse(text)
        except ScheduleError as error:
            hint = self.file.suggestions.ask(text, "schedule", partial(getattr, error, "hint"))
            fault = _fault(node, error.code, error.message, hint, about=error.about)
            raise _Refused(node, fault) from None
        return schedule.text, None if "H" in text or "~" in text else schedule.never

    def _command(self, node: yaml.Node) -> str | list[str]:
        if isinstance(node, yaml.SequenceNode):
            words = [self._string(word, "command") for word in node.value]
            if not words or not words[0]:
                raise _Refused(node, _fault(node, "KC111", "missing command", about="command"))
            return words
        text = self._string(node, "command")
        if not text.strip():
            raise _Refused(node, _fault(node, "KC111", "missing command", about="command"))
        return text

    def _stdin(self, node: yaml.Node | None) -> str | None:
        if node is None or node.tag == f"{_TAG}null":
            return None
        return self._string(node, "stdin")

    def _string(self, node: yaml.Node, what: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or node.tag != f"{_TAG}str":
            hint = 'write "…" around it' if isinstance(node, yaml.ScalarNode) else None
            raise _Refused(
                node, _fault(node, "KC403", f"{what} is {yaml_nodes.kind(node)} and not a string", hint)
            )
        text = _text(node)
        if "\0" in text:
            raise _Refused(node, _fault(node, "KC403", f"{what} holds a NUL"))
        return text

    def _env(self, node: yaml.Node | None) -> dict[str, str]:
        if node is None:
            return {}
        env = {}
        for name, value in self.mapping(node, (), "variable").items():
            if not name or "=" in name or "\0" in name:
                raise _Refused(value, _fault(value, "KC403", f"{shown(name)} is not a variable's name"))
            env[name] = self._variable(name, value)
        return env

    def _variable(self, name: str, node: yaml.Node) -> str:
        is_number = isinstance(node, yaml.ScalarNode) and node.tag in {f"{_TAG}int", f"{_TAG}float"}
        text = _text(node) if is_number else self._string(node, f"variable {name}")
        if is_zone(f"{name}={text}") and name == "CRON_TZ" and text:
            try:
                timezones.find(text)
            except ScheduleError as error:
                raise _Refused(
                    node, _fault(node, error.code, error.message, error.hint, about="timezone")
                ) from None
        if name == "RANDOM_DELAY" and text and not (text.isascii() and text.isdigit() and len(text) < 7):
            message = f"RANDOM_DELAY={shown(text)} is not a number of minutes"
            raise _Refused(node, _fault(node, "KC403", message, about="environment"))
        return text

    def _values(self, parts: dict[str, yaml.Node]) -> dict[str, Any]:
        values = {}
        for key, node in parts.items():
            option = OPTIONS[key]
            text = self._option_text(option, node)
            if key == "concurrency":
                text = KUBERNETES_CONCURRENCY.get(text, text)
            try:
                values[option.attribute] = read_value(option, text, self.file.suggestions)
            except BadValueError as error:
                is_zone_key = key == "timezone"
                fault = _fault(
                    node,
                    "KC204" if is_zone_key else "KC403",
                    f"unknown time zone {shown(text)}"
                    if is_zone_key
                    else f"{key}={shown(text)} {error.predicate}",
                    error.hint,
                    about="timezone" if is_zone_key else "yaml",
                )
                raise _Refused(node, fault) from None
        return values

    def _option_text(self, option: Option, node: yaml.Node) -> str:
        if isinstance(node, yaml.SequenceNode) and option.type.plural:
            return ",".join(self._scalar(option, item) for item in node.value)
        return self._scalar(option, node)

    def _scalar(self, option: Option, node: yaml.Node) -> str:
        tag = node.tag.removeprefix(_TAG)
        if not isinstance(node, yaml.ScalarNode) or (tag not in option.type.tags and tag != "str"):
            message = f"{option.key} is {yaml_nodes.kind(node)} and not {option.type.title}"
            hint = 'write "…" around it' if isinstance(node, yaml.ScalarNode) else None
            raise _Refused(node, _fault(node, "KC403", message, hint))
        return _text(node)


def _may_default(key: str) -> bool:
    canonical = ALIASES.get(key, KUBERNETES_KEYS.get(key, key))
    return OPTIONS[canonical].default_allowed


def _text(node: yaml.Node) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def _fault(
    node: yaml.Node, code: str, message: str, hint: str | None = None, about: str | None = "yaml"
) -> Fault:
    return Fault(col=node.start_mark.column + 1, code=code, message=message, hint=hint, about=about)
