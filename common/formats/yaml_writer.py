"""Jobs as a YAML job file.

Pure. Each text comes back to the letter, and nothing is shared by anchors.
"""

import re
from collections.abc import Sequence
from typing import Any

import yaml

from kuber_cron.common.formats.writer import (
    NO_REMARKS,
    Remarks,
    WrittenJobs,
    implied_delay,
    implied_shell,
    line_starts,
    options_as_text,
    remark_lines,
)
from kuber_cron.common.jobs.job import Job
from kuber_cron.common.jobs.options import OPTIONS, Option

_HEAD = "version: 1\njobs:\n"
_OTHER_LINE_ENDS = re.compile("[\x85\u2028\u2029]")
_WIDEST = 2**31


def write(jobs: Sequence[Job], remarks: Remarks = NO_REMARKS) -> WrittenJobs:
    """Return a YAML file that reads back as ``jobs``; keys that say a default are left out, name and zone are not.

    Raises:
        InexpressibleError: A value has no text: a duration with a fraction of a second.
    """
    if not jobs:
        return WrittenJobs(text="version: 1\njobs: []\n")
    blocks = [
        "".join(f"{line}\n" for line in remark_lines(job, remarks)) + _dumped([_mapping(job)]) for job in jobs
    ]
    return WrittenJobs(text="".join([_HEAD, *blocks]), starts=line_starts(blocks, 1 + _HEAD.count("\n")))


def _dumped(value: Any) -> str:
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDEST)
    # The end of a document, which stands behind a text with empty lines at its end.
    return text.removesuffix("...\n") if text.endswith("\n...\n") else text


class _Decimal(float):
    """A number that is written without an exponent."""


class _Dumper(yaml.SafeDumper):
    """The dumper of job files: each character comes back, and nothing is shared by anchors."""

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
    if job.shell != implied_shell(job):
        document["shell"] = job.shell
    if job.quiet:
        document["quiet"] = True
    if job.random_delay_minutes != implied_delay(job):
        document["random_delay"] = job.random_delay_minutes
    document.update((key, _scalar(OPTIONS[key], text)) for key, text in options_as_text(job, "YAML file"))
    if job.env:
        document["env"] = job.env
    return document


def _scalar(option: Option, text: str) -> Any:
    """Return the YAML scalar that stands for a value: what takes no quoted text is a number or a truth value."""
    if "str" in option.type.tags:
        return text
    if "bool" in option.type.tags:
        return text == "true"
    return _Decimal(text) if "." in text else int(text)
