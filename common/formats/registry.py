"""The formats of jobs: the rows by which the loader, ``convert``, ``check`` and ``import`` know them.

Another format is one module with a ``read``, a ``write`` or both, and one row of :data:`FORMATS`. The module is
imported when it is used, because PyYAML costs more to import than a crontab costs to read.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from kuber_cron.common.formats.resolver import ParsedFile
    from kuber_cron.common.formats.writer import WrittenJobs
    from kuber_cron.common.jobs.job import Job

_NO_REMARKS: Mapping[str, str] = MappingProxyType({})

# The first line that is neither blank nor a comment: a key, the begin of a document, or of a flow mapping. No line
# of a crontab looks so; what nearly does is in error there too.
_YAML_LINE = re.compile(rb"""[ \t]*(?:---(?:[ \t]|$)|%YAML[ \t]|\{|["']?[A-Za-z_]+["']?[ \t]*:(?:[ \t]|$))""")


class Reader(Protocol):
    """The reader of a format."""

    def __call__(self, content: bytes, source: str, *, system: bool, timezone: str) -> "ParsedFile":
        """Return the jobs of a file, to be linked with those of others.

        Args:
            content: The file.
            source: Its name in diagnostics.
            system: A user's name stands before the command, in formats that know one there.
            timezone: The zone of jobs that name none.

        Raises:
            ScheduleError: There is no such ``timezone``.
        """


class Writer(Protocol):
    """The writer of a format."""

    def __call__(
        self, jobs: "Sequence[Job]", *, remarks: Mapping[str, str] = _NO_REMARKS, image: str = ""
    ) -> "WrittenJobs":
        """Return ``jobs`` in a format.

        Args:
            jobs: What to write.
            remarks: A comment above a job, by its id, in formats that have comments.
            image: The container image, in formats that name one.

        Raises:
            InexpressibleError: The format cannot say what a job is.
        """


def _unchanged(job: "Job") -> "Job":
    return job


def _is_none_of_it(content: bytes) -> bool:
    del content
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFormat:
    """One format of jobs.

    Attributes:
        name: Its name on the command line.
        suffixes: The suffixes of its files, in lower case.
        sniff: Return True if a file without a name begins like this format; the first format that says so is taken.
        read: Its reader; None where it is no job file, and another command reads it.
        write: Its writer.
        adapted: Return a job that is not of this installation in words that the format has.
    """

    name: str
    suffixes: tuple[str, ...] = ()
    sniff: Callable[[bytes], bool] = _is_none_of_it
    read: Reader | None = None
    write: Writer
    adapted: "Callable[[Job], Job]" = _unchanged


def _begins_like_yaml(content: bytes) -> bool:
    """Return True if it begins with a key, and with no line that a crontab could have."""
    for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        bare = line.strip()
        if bare and not bare.startswith(b"#"):
            return _YAML_LINE.match(line.rstrip(b"\r")) is not None
    return False


def _read_yaml(content: bytes, source: str, *, system: bool, timezone: str) -> "ParsedFile":
    from kuber_cron.common.formats import yaml_jobs

    del system
    return yaml_jobs.read(content, source, timezone=timezone)


def _write_yaml(
    jobs: "Sequence[Job]", *, remarks: Mapping[str, str] = _NO_REMARKS, image: str = ""
) -> "WrittenJobs":
    from kuber_cron.common.formats import yaml_writer

    del image
    return yaml_writer.write(jobs, remarks)


def _read_crontab(content: bytes, source: str, *, system: bool, timezone: str) -> "ParsedFile":
    from kuber_cron.common.formats import crontab

    return crontab.read(content, source, system=system, timezone=timezone)


def _write_crontab(
    jobs: "Sequence[Job]", *, remarks: Mapping[str, str] = _NO_REMARKS, image: str = ""
) -> "WrittenJobs":
    from kuber_cron.common.formats import crontab_writer

    del image
    return crontab_writer.write(jobs, remarks)


def _adapted_to_crontab(job: "Job") -> "Job":
    from kuber_cron.common.formats import crontab_writer

    return crontab_writer.adapted(job)


def _write_kubernetes(
    jobs: "Sequence[Job]", *, remarks: Mapping[str, str] = _NO_REMARKS, image: str = ""
) -> "WrittenJobs":
    from kuber_cron.common.formats.cronjob import exporter

    del remarks
    return exporter.write(jobs, image)


FORMATS: Mapping[str, JobFormat] = MappingProxyType(
    {
        row.name: row
        for row in (
            JobFormat(
                name="yaml",
                suffixes=(".yaml", ".yml"),
                sniff=_begins_like_yaml,
                read=_read_yaml,
                write=_write_yaml,
            ),
            # The format of every file that is of no other one.
            JobFormat(
                name="crontab",
                sniff=lambda _: True,
                read=_read_crontab,
                write=_write_crontab,
                adapted=_adapted_to_crontab,
            ),
            # CronJob manifests: `import` reads them, because what they lose on the way wants a report.
            JobFormat(name="kubernetes", suffixes=(".yaml", ".yml", ".json"), write=_write_kubernetes),
        )
    }
)
"""Every format by its name."""

JOB_FILES: Mapping[str, JobFormat] = MappingProxyType(
    {name: row for name, row in FORMATS.items() if row.read is not None}
)
"""The formats that job files are in."""


def reader_of_suffix(suffix: str) -> Reader:
    """Return the reader of job files whose names end so; a crontab's name ends anyhow."""
    for row in JOB_FILES.values():
        if row.read is not None and suffix.lower() in row.suffixes:
            return row.read
    return _read_crontab


def reader_of_content(content: bytes) -> Reader:
    """Return the reader of a job file that has no name to tell its format by."""
    for row in JOB_FILES.values():
        if row.read is not None and row.sniff(content):
            return row.read
    return _read_crontab
