"""The parts that writers of job files share (spec: cron.md §4).

Pure. A job file that is written here reads back as the same jobs, in every attribute but source and line; what a
format cannot say is an error that names the job, never a job that is a little different.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from kuber_cron.common.diagnostics import shown
from kuber_cron.common.errors import KuberCronError
from kuber_cron.common.jobs.job import Job
from kuber_cron.common.jobs.option_types import BadValueError
from kuber_cron.common.jobs.options import OPTIONS, Option

Remarks = Mapping[str, str]
"""A comment above a job, by its id."""

NO_REMARKS: Remarks = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenJobs:
    """Jobs in one format.

    Attributes:
        text: What is to be written.
        starts: 1-based line at which each job begins, its comment included, in the order of the jobs; empty where
            the format cannot be read as a job file.
        notes: Sentences on what the format says in another way, or not at all.
    """

    text: str
    starts: Sequence[int] = ()
    notes: Sequence[str] = ()


class InexpressibleError(KuberCronError):
    """A job has something that the format asked for cannot say.

    Attributes:
        job: The job.
        why: What it has.
    """

    code = "inexpressible"

    def __init__(self, job: Job, why: str, *, form: str = "crontab", hint: str | None = None) -> None:
        super().__init__(f"job {shown(job.id)} cannot be written as a {form}: {why}", hint=hint)
        self.job = job
        self.why = why


def line_starts(blocks: Sequence[str], first: int = 1) -> list[int]:
    """Return the line at which each block of text begins, the first one at line ``first``."""
    starts = [first]
    for block in blocks[:-1]:
        starts.append(starts[-1] + block.count("\n"))
    return starts


def remark_lines(job: Job, remarks: Remarks) -> list[str]:
    """Return the comment above a job: one line, or none."""
    words = " ".join(remarks.get(job.id, "").split())
    return [f"# {''.join(char if char.isprintable() else '?' for char in words)}"] if words else []


def options_as_text(job: Job, form: str) -> Iterator[tuple[str, str]]:
    """Yield key and text of each option whose value is not the default; name, zone and what is YAML's alone apart.

    Raises:
        InexpressibleError: A value has no text: a duration with a fraction of a second.
    """
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


def implied_shell(job: Job) -> str:
    """Return the shell that the variables of a job give it."""
    default: str = OPTIONS["shell"].default
    return job.env.get("SHELL") or default


def implied_delay(job: Job) -> int:
    """Return the minutes of random delay that the variables of a job give it."""
    written = job.env.get("RANDOM_DELAY", "")
    return int(written) if written.isascii() and written.isdigit() else 0
