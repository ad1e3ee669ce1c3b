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
from kuber_cron.common.formats import lint, yaml_nodes, yaml_values
from kuber_cron.common.formats.resolver import MAX_JOBS, ParsedFile, ParsedJob, complete, link
from kuber_cron.common.formats.yaml_values import (
    RefusedNodeError,
    fault_at,
    option_value,
    string,
    text_of,
    variable,
)
from kuber_cron.common.jobs import job_ids
from kuber_cron.common.jobs.job import Parsed
from kuber_cron.common.jobs.options import (
    ALIASES,
    KUBERNETES_KEYS,
    OPTIONS,
    YAML_KEYS,
)
from kuber_cron.common.schedule import Schedule, ScheduleError, timezones

# version, jobs, a job, its env: more levels mean something else.
_MAX_DEPTH = 12
_JOB_KEYS = ("schedule", "command", "env", *YAML_KEYS)
_TOP_KEYS = ("version", "defaults", "jobs")
_VERSION = "1"
# No job file has such a key at its top, whatever else is wrong with it.
_MANIFEST = re.compile(r"""^(?:\{\s*"|["']?)apiVersion["']?[ \t]*:""", re.MULTILINE)


def parse(text: str | bytes, source: str = "jobs.yaml", timezone: str = "UTC") -> Parsed:
    """Return the jobs of one YAML file, and everything wrong by line and column; never raise on content.

    Args:
        text: The file.
        source: Its name in diagnostics.
        timezone: The zone of jobs that name none.

    Raises:
        ScheduleError: There is no such ``timezone``.
    """
    return link([read(text, source, timezone=timezone)])


def read(text: str | bytes, source: str, *, timezone: str) -> ParsedFile:
    """Return the jobs of one YAML file, to be linked with those of other files.

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
        except RefusedNodeError as refused:
            self.report(refused.node, refused.fault)
            return
        version = parts.get("version")
        if version is None or text_of(version) != _VERSION:
            message = (
                "version is missing" if version is None else f"version={shown(text_of(version))} is not known"
            )
            self.report(version or root, fault_at(version or root, "KC407", message, "write version: 1"))
        if "defaults" in parts:
            self._read_defaults(parts["defaults"])
        jobs = parts.get("jobs")
        if jobs is None:
            self.report(root, fault_at(root, "KC405", "jobs is missing", "write jobs: and a list of jobs"))
        elif not isinstance(jobs, yaml.SequenceNode):
            self.report(jobs, fault_at(jobs, "KC403", "jobs is not a list", "begin each job with -"))
        else:
            self._read_jobs(jobs)

    def mapping(self, node: yaml.Node, known: tuple[str, ...], kind: str) -> dict[str, yaml.Node]:
        """Return a mapping's values by key; unknown and repeated keys are reported, and then it is refused."""
        if not isinstance(node, yaml.MappingNode):
            raise RefusedNodeError(
                node, fault_at(node, "KC403", f"{yaml_nodes.kind(node)} where keys and values belong")
            )
        found: dict[str, yaml.Node] = {}
        bad: RefusedNodeError | None = None
        for key, value in node.value:
            name = text_of(key) if isinstance(key, yaml.ScalarNode) else ""
            name = ALIASES.get(name, KUBERNETES_KEYS.get(name, name)) if name in known else name
            if known and name not in known:
                hint = self.file.suggestions.hint(name, known, kind)
                fault = fault_at(key, "KC402", f"unknown key {shown(text_of(key))}", hint)
            elif name in found:
                fault = fault_at(key, "KC404", f"key {shown(name)} given twice", "keep one of them")
            else:
                found[name] = value
                continue
            if bad is not None:
                self.report(bad.node, bad.fault)
            bad = RefusedNodeError(key, fault)
        if bad is not None:
            raise bad
        return found

    def _read_defaults(self, node: yaml.Node) -> None:
        known = ("env", *(key for key in YAML_KEYS if _may_default(key)))
        try:
            parts = self.mapping(node, known, "default")
            self.defaults_env = self._env(parts.pop("env", None))
            self.defaults = self._options(parts)
        except RefusedNodeError as refused:
            self.report(refused.node, refused.fault)
            self.defaults_are_bad = True

    def _read_jobs(self, jobs: yaml.SequenceNode) -> None:
        for count, node in enumerate(jobs.value, start=1):
            if count > MAX_JOBS:
                message = f"more than {MAX_JOBS:,} jobs in a file: this one and those below are not loaded"
                self.report(node, fault_at(node, "KC114", message, "spread them over several files"))
                return
            try:
                job = self._job(node)
            except RefusedNodeError as refused:
                self.report(refused.node, refused.fault)
                self._lose(node)
                continue
            self.file.jobs.append(job)

    def _lose(self, node: yaml.Node) -> None:
        """Remember the name of a job that is not loaded, for those that wait for it."""
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            if text_of(key) == "name" and isinstance(value, yaml.ScalarNode):
                self.file.lost.setdefault(text_of(value), node.start_mark.line + 1)

    def _job(self, node: yaml.Node) -> ParsedJob:
        parts = self.mapping(node, _JOB_KEYS, "key of a job")
        for key in ("schedule", "command"):
            if key not in parts:
                raise RefusedNodeError(node, fault_at(node, "KC405", f"{key} is missing", f"write {key}: …"))
        if self.defaults_are_bad:
            message = "job not loaded: the defaults of this file are invalid"
            raise RefusedNodeError(node, fault_at(node, "KC310", message))
        schedule_node = parts.pop("schedule")
        schedule, never = self._schedule(schedule_node)
        command = yaml_values.command(parts.pop("command"))
        env = self._env(parts.pop("env", None))
        has_stdin, stdin = "stdin" in parts, yaml_values.stdin(parts.pop("stdin", None))
        own = self._options(parts)
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
            raise RefusedNodeError(
                schedule_node, fault_at(schedule_node, "KC313", message, "write after: [NAME]")
            )
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
        text = string(node, "schedule")
        try:
            schedule = Schedule.parse(text)
        except ScheduleError as error:
            hint = self.file.suggestions.ask(text, "schedule", partial(getattr, error, "hint"))
            fault = fault_at(node, error.code, error.message, hint, about=error.about)
            raise RefusedNodeError(node, fault) from None
        return schedule.text, None if "H" in text or "~" in text else schedule.never

    def _options(self, parts: dict[str, yaml.Node]) -> dict[str, Any]:
        return {
            OPTIONS[key].attribute: option_value(OPTIONS[key], node, self.file.suggestions)
            for key, node in parts.items()
        }

    def _env(self, node: yaml.Node | None) -> dict[str, str]:
        if node is None:
            return {}
        env = {}
        for name, value in self.mapping(node, (), "variable").items():
            if not name or "=" in name or "\0" in name:
                raise RefusedNodeError(
                    value, fault_at(value, "KC403", f"{shown(name)} is not a variable's name")
                )
            env[name] = variable(name, value)
        return env


def _may_default(key: str) -> bool:
    canonical = ALIASES.get(key, KUBERNETES_KEYS.get(key, key))
    return OPTIONS[canonical].default_allowed
