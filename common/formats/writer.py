"""Jobs as text again: a crontab, a YAML file, Kubernetes manifests (spec: cron.md §4).

Pure. A crontab and a YAML file that are written here read back as the same jobs, in every attribute but source
and line; what a form cannot say is an error that names the job, never a job that is a little different.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

import yaml

from kuber_cron.common.diagnostics import shown
from kuber_cron.common.errors import KuberCronError
from kuber_cron.common.formats import crontab
from kuber_cron.common.formats.cronjob.exporter import to_kubernetes
from kuber_cron.common.jobs.job import Job
from kuber_cron.common.jobs.option_types import BadValueError
from kuber_cron.common.jobs.options import OPTIONS, Option

__all__ = ["InexpressibleError", "to_crontab", "to_kubernetes", "to_yaml", "yaml_blocks"]

_HEAD = "# kuber-cron:"
_BARE = re.compile(r"[A-Za-z0-9_./:@,+~%=-]+", re.ASCII)
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# Options of one line until it is about so long; a single long value has a line of its own.
_LINE_WIDTH = 100
# A directive with a longer value would exceed a crontab's line; as a variable it may still fit.
_LONG_VALUE = 100_000
# A backslash that stands alone before a % or a line's end would take the percent sign for itself.
_LONE_BACKSLASH = re.compile(r"(?<!\\)(?:\\\\)*+\\(?=[%\n])")
_OTHER_LINE_ENDS = re.compile("[\x85\u2028\u2029]")
_WIDEST = 2**31
_NO_REMARKS: Mapping[str, str] = MappingProxyType({})


class InexpressibleError(KuberCronError):
    """A job has something that the form asked for cannot say."""

    code = "inexpressible"

    def __init__(self, job: Job, why: str, *, form: str = "crontab", hint: str | None = None) -> None:
        super().__init__(f"job {shown(job.id)} cannot be written as a {form}: {why}", hint=hint)
        self.job = job
        self.why = why


def to_crontab(jobs: Sequence[Job], remarks: Mapping[str, str] = _NO_REMARKS) -> str:
    """A crontab that reads back as ``jobs``, ids included; where a job has a user, it declares its format.

    Args:
        jobs: What to write.
        remarks: A comment above a job, by its id.

    Raises:
        InexpressibleError: A crontab cannot say what a job is: a command that is a list or has several lines,
            input without a line end, a shell that is not its ``SHELL``, …
    """
    blocks = []
    if any(job.user is not None for job in jobs):
        # Files of a system directory have a user word, and these lines have none.
        blocks.append([f"{_HEAD} file format=user"])
    variables: dict[str, str] = {}
    for job in jobs:
        _refuse_inexpressible(job)
        settings = [("name", job.id), ("timezone", job.timezone), *_policies(job)]
        lines = []
        for name, value in job.env.items():
            if _is_directive(name, value):
                settings.append((f"env.{name}", value))
            elif variables.get(name) != value:
                variables[name] = value
                lines.append(_variable(job, name, value))
        leftover = next((name for name in variables if name not in job.env), None)
        if leftover is not None:
            why = f"the variable {shown(leftover)} of a job above it cannot be unset"
            raise InexpressibleError(job, why, hint="write the jobs into several files")
        blocks.append([*_remark(job, remarks), *lines, *_directives(job, settings), _job_line(job)])
    text = "\n".join("\n".join(block) + "\n" for block in blocks)
    _prove(jobs, text)
    return text


def to_yaml(jobs: Sequence[Job], remarks: Mapping[str, str] = _NO_REMARKS) -> str:
    """A YAML file that reads back as ``jobs``; keys that say a default are left out, name and zone are not.

    Args:
        jobs: What to write.
        remarks: A comment above a job, by its id.

    Raises:
        InexpressibleError: A value has no text: a duration with a fraction of a second.
    """
    blocks = yaml_blocks(jobs, remarks)
    return "".join(["version: 1\njobs:\n", *blocks]) if blocks else "version: 1\njobs: []\n"


def yaml_blocks(jobs: Sequence[Job], remarks: Mapping[str, str] = _NO_REMARKS) -> list[str]:
    """What stands below ``jobs:`` in a YAML file, job by job."""
    return ["".join(f"{line}\n" for line in _remark(job, remarks)) + _dumped([_mapping(job)]) for job in jobs]


def _dumped(value: Any) -> str:
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDEST)
    # The end of a document, which stands behind a text with empty lines at its end.
    return text.removesuffix("...\n") if text.endswith("\n...\n") else text


def _remark(job: Job, remarks: Mapping[str, str]) -> list[str]:
    words = " ".join(remarks.get(job.id, "").split())
    return [f"# {''.join(char if char.isprintable() else '?' for char in words)}"] if words else []


def _policies(job: Job, form: str = "crontab") -> Iterator[tuple[str, str]]:
    """The keys of both forms whose value is not the default, as text, name and zone apart."""
    for key, option in OPTIONS.items():
        value = getattr(job, option.attribute)
        if key not in {"name", "timezone"} and not option.yaml_only and value != option.default:
            yield key, _written(job, option, value, form)


def _written(job: Job, option: Option, value: Any, form: str) -> str:
    text = option.type.write(value)
    try:
        is_lossless = option.type.parse(text) == value
    except BadValueError:
        is_lossless = False
    if not is_lossless:
        raise InexpressibleError(job, f"{option.key} has no text for {value!r}", form=form)
    return text


# Crontabs


def _refuse_inexpressible(job: Job) -> None:
    if not isinstance(job.command, str):
        why, hint = "its command is a list", "write it as one string, quoted for the shell"
        raise InexpressibleError(job, why, hint=hint)
    if "\n" in job.command:
        why, hint = "its command has several lines", "put them into a script, or join them with ;"
        raise InexpressibleError(job, why, hint=hint)
    if job.stdin and not job.stdin.endswith("\n"):
        raise InexpressibleError(job, "its input does not end a line", hint="end stdin with a line end")
    if job.shell != _implied_shell(job):
        hint = f"set SHELL in its env: SHELL: {shown(job.shell)[1:-1]}"
        raise InexpressibleError(job, f"its shell {shown(job.shell)} is not its variable SHELL", hint=hint)
    if job.random_delay_minutes != _implied_delay(job):
        hint = f"set RANDOM_DELAY in its env: RANDOM_DELAY: '{job.random_delay_minutes}'"
        raise InexpressibleError(job, "its random_delay is not its variable RANDOM_DELAY", hint=hint)


def _implied_shell(job: Job) -> str:
    """The shell that a job with these variables has unless it is said otherwise."""
    default: str = OPTIONS["shell"].default
    return job.env.get("SHELL") or default


def _implied_delay(job: Job) -> int:
    written = job.env.get("RANDOM_DELAY", "")
    return int(written) if written.isascii() and written.isdigit() else 0


def _is_directive(name: str, value: str) -> bool:
    """Whether ``env.NAME`` can say it, which leaves the jobs below alone."""
    if name == "RANDOM_DELAY" and not value:
        return False
    return _ENV_NAME.fullmatch(name) is not None and len(value.encode(errors="replace")) < _LONG_VALUE


def _variable(job: Job, name: str, value: str) -> str:
    """The line that sets a variable for this job and all below."""
    return f"{_in_quotes(job, name) if not _ENV_NAME.fullmatch(name) else name}={_in_quotes(job, value)}"


def _in_quotes(job: Job, text: str) -> str:
    """``text`` in quotes that it has none of; bare where it has both kinds and may be."""
    if '"' not in text and "\n" not in text:
        return f'"{text}"'
    if "'" not in text and "\n" not in text:
        return f"'{text}'"
    if "\n" in text or text[0] in "\"'" or text != text.strip(" \t"):
        raise InexpressibleError(job, f"no quotes of a crontab hold {shown(text)}")
    return text


def _directives(job: Job, settings: Sequence[tuple[str, str]]) -> list[str]:
    """The settings as directive lines of readable width."""
    lines = [_HEAD]
    for key, value in settings:
        if "\n" in value:
            raise InexpressibleError(job, f"{key} has several lines")
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        setting = f" {key}={value}" if _BARE.fullmatch(value) else f' {key}="{escaped}"'
        if lines[-1] != _HEAD and len(lines[-1]) + len(setting) > _LINE_WIDTH:
            lines.append(_HEAD)
        lines[-1] += setting
    return lines


def _job_line(job: Job) -> str:
    text = str(job.command)
    if job.stdin is not None:
        # One line end is added when the line is read; of an empty line or two line ends none is missing.
        body = job.stdin[:-1]
        text += "\n" + (body if body and not body.endswith("\n") else job.stdin)
    if _LONE_BACKSLASH.search(text):
        raise InexpressibleError(job, "a lone backslash before a % or a line end of its input")
    line = f"{'-' if job.quiet else ''}{job.schedule} " + text.replace("%", r"\%").replace("\n", "%")
    # One carriage return at a line's end is dropped.
    return f"{line}\r" if line.endswith("\r") else line


def _prove(jobs: Sequence[Job], text: str) -> None:
    """Returns if ``text`` reads back as ``jobs``; whatever was not thought of above is found here."""
    parsed = crontab.parse(text)
    if len(parsed.jobs) == len(jobs) and all(map(_is_same, parsed.jobs, jobs)):
        return
    found = {job.id: job for job in parsed.jobs}
    for job in jobs:
        read = found.get(job.id)
        if read is None:
            first = next((one for one in parsed.diagnostics if one.severity == "error"), None)
            raise InexpressibleError(job, "its line would not load" if first is None else first.message)
        if not _is_same(read, job):
            differing = sorted(
                field.name
                for field in fields(Job)
                if field.name not in {"source", "line"}
                and getattr(read, field.name) != getattr(job, field.name)
            )
            raise InexpressibleError(job, f"{', '.join(differing)} would read back as something else")


def _is_same(one: Job, other: Job) -> bool:
    return replace(one, source=other.source, line=other.line) == other


# YAML


class _Decimal(float):
    """A number that is written without an exponent."""


class _Dumper(yaml.SafeDumper):
    """Writes texts so that each character comes back, and shares nothing by anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = None
    if _OTHER_LINE_ENDS.search(text):
        # YAML 1.1 would read them as plain line ends.
        style = '"'
    elif "\n" in text:
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_decimal(dumper: _Dumper, number: _Decimal) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:float", OPTIONS["retry_backoff"].type.write(number))


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(_Decimal, _represent_decimal)


def _mapping(job: Job) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": job.id,
        "schedule": job.schedule,
        "timezone": job.timezone,
        "command": job.command,
    }
    if job.stdin is not None:
        document["stdin"] = job.stdin
    if job.shell != _implied_shell(job):
        document["shell"] = job.shell
    if job.quiet:
        document["quiet"] = True
    if job.random_delay_minutes != _implied_delay(job):
        document["random_delay"] = job.random_delay_minutes
    document.update((key, _scalar(OPTIONS[key], text)) for key, text in _policies(job, form="YAML file"))
    if job.env:
        document["env"] = job.env
    return document


def _scalar(option: Option, text: str) -> Any:
    """The YAML scalar that stands for a value: what takes no quoted text is a number or a truth value."""
    if "str" in option.type.tags:
        return text
    if "bool" in option.type.tags:
        return text == "true"
    return _Decimal(text) if "." in text else int(text)
