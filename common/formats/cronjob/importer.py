"""Taking over: from files of manifests to a job file, and the report of what became of each CronJob.

Pure. What is written is proven: it is read back, and a job that would not load is reported at its CronJob instead.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from kuber_cron.common.diagnostics import Diagnostic
from kuber_cron.common.formats.cronjob import cronjob_reader, pod_reader
from kuber_cron.common.formats.cronjob.cronjob_reader import ImportedJob
from kuber_cron.common.formats.cronjob.import_report import ImportReport, Need
from kuber_cron.common.formats.cronjob.manifest_stream import ManifestObjects, name_of
from kuber_cron.common.formats.registry import JOB_FILES, JobFormat
from kuber_cron.common.formats.resolver import link
from kuber_cron.common.formats.writer import InexpressibleError, WrittenJobs
from kuber_cron.common.jobs import job_ids
from kuber_cron.common.jobs.job import Job

QueueBy = Literal["none", "image", "namespace"]
_LONGEST_NAME = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """The operator's options for taking CronJobs over.

    Attributes:
        form: The name of the format to write.
        timezone: The zone of CronJobs that name none.
        queue_by: What gives a job its queue: nothing, its image, or its namespace.
        with_namespace: Names begin with the namespace, and not only where two would be equal.
        choice: The operator's choice of containers and entry points.
    """

    form: str = "yaml"
    timezone: str = "UTC"
    queue_by: QueueBy = "none"
    with_namespace: bool = False
    choice: pod_reader.ContainerChoice = field(default_factory=pod_reader.ContainerChoice)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """The outcome of an import.

    Attributes:
        text: The job file; empty where no job is in it.
        jobs: Its jobs.
        cronjobs: How many CronJobs were found.
        diagnostics: Everything that differs or is in error, by file, line and column.
        needs: What the workers of each queue must have, with the jobs that do.
    """

    text: str
    jobs: list[Job]
    cronjobs: int
    diagnostics: list[Diagnostic]
    needs: dict[str, dict[Need, list[str]]]


def import_cronjobs(files: Iterable[tuple[str, bytes]], options: ImportOptions) -> ImportResult:
    """Return the jobs that the CronJobs in files of manifests become, with everything that differs.

    Args:
        files: Names and contents.
        options: How.
    """
    objects = ManifestObjects()
    order: dict[str, int] = {}
    for source, content in files:
        order.setdefault(source, len(order))
        objects.read(content, source)
    objects.end()
    reports, imported_jobs = _read(objects, options)
    named = _named(imported_jobs, with_namespace=options.with_namespace)
    jobs = {name: _job(name, imported) for name, imported in named.items()}
    jobs = _with_queues(jobs, named, options.queue_by)
    kept, text = _written(jobs, named, JOB_FILES[options.form])
    needs = _needs(kept, named)
    diagnostics = [*objects.diagnostics, *(each for report in reports for each in report.diagnostics)]
    return ImportResult(
        text=text,
        jobs=kept,
        cronjobs=len(objects.cronjobs),
        diagnostics=sorted(diagnostics, key=lambda each: (order[each.source], each.line, each.col)),
        needs=needs,
    )


def _read(objects: ManifestObjects, options: ImportOptions) -> tuple[list[ImportReport], list[ImportedJob]]:
    reports: list[ImportReport] = []
    imported_jobs: list[ImportedJob] = []
    first: dict[tuple[str, str], str] = {}
    for position, value in objects.cronjobs:
        namespace, name = cronjob_reader.title(value)
        report = ImportReport(
            position, "/".join(filter(None, (namespace, name))) or "a CronJob without a name"
        )
        reports.append(report)
        if name and (namespace, name) in first:
            report.add("KC508", value, f"stands at {first[namespace, name]} already")
            continue
        first[namespace, name] = name_of(position, value)
        imported = cronjob_reader.read(value, options.timezone, options.choice, objects.maps, report)
        if imported is not None:
            imported_jobs.append(imported)
    return reports, imported_jobs


def _named(imported_jobs: Sequence[ImportedJob], *, with_namespace: bool) -> dict[str, ImportedJob]:
    """Return the imported jobs by names of their own, in their order."""
    counts = Counter(imported.name for imported in imported_jobs)
    named: dict[str, ImportedJob] = {}
    numbers: dict[str, int] = {}
    for imported in imported_jobs:
        wanted = imported.name
        if imported.namespace and (with_namespace or counts[imported.name] > 1):
            wanted = f"{imported.namespace}-{imported.name}"[:_LONGEST_NAME].strip("-_")
        name = job_ids.numbered(wanted, named, numbers)
        if name != imported.name and not (with_namespace and name == wanted):
            imported.report.add(
                "KC609", imported.anchor, f"is called {name}, for another one is called {imported.name}"
            )
        named[name] = imported
    return named


def _job(name: str, imported: ImportedJob) -> Job:
    position = imported.report.position
    line = position.before + imported.anchor.line + 1
    return Job(id=name, source=position.source, line=line, **imported.values)


def _with_queues(jobs: Mapping[str, Job], named: Mapping[str, ImportedJob], by: QueueBy) -> dict[str, Job]:
    """Return the jobs with the queues that they are to have; one that its annotation says stays."""
    if by == "none":
        return dict(jobs)
    wanted = {
        name: imported.image if by == "image" else imported.namespace for name, imported in named.items()
    }
    queues = _queue_names(list(wanted.values()), by)
    return {
        name: replace(job, queue=queues[wanted[name]])
        if wanted[name] and "queue" not in named[name].values
        else job
        for name, job in jobs.items()
    }


def _queue_names(wanted: Sequence[str], by: QueueBy) -> dict[str, str]:
    """Return a queue's name for each image or namespace: an image's last word, with its tag if two were equal."""
    if by == "namespace":
        return {each: job_ids.slug(each) for each in wanted if each}
    short = {each: job_ids.slug(pod_reader.repository(each).rpartition("/")[2]) for each in wanted if each}
    counts = Counter(short.values())
    names: dict[str, str] = {}
    numbers: dict[str, int] = {}
    taken: set[str] = set()
    for each, name in short.items():
        long = job_ids.slug(each.rpartition("/")[2])
        names[each] = job_ids.numbered(name if counts[name] == 1 else long, taken, numbers)
        taken.add(names[each])
    return names


def _written(
    jobs: Mapping[str, Job], named: Mapping[str, ImportedJob], form: JobFormat
) -> tuple[list[Job], str]:
    """Return the jobs that can be written and loaded, and their text; the others' reports say why not."""
    left = {name: form.adapted(job) for name, job in jobs.items()}
    remarks = {name: _remark(imported) for name, imported in named.items()}
    while left:
        try:
            written = form.write(list(left.values()), remarks=remarks)
        except InexpressibleError as error:
            refused = named[error.job.id]
            refused.report.add(
                "KC509", refused.anchor, f"{error.why}, which no {form.name} can say", error.hint
            )
            del left[error.job.id]
            continue
        failed = _failed(written, list(left), form)
        if not failed:
            return list(left.values()), written.text
        for name, found in failed.items():
            named[name].report.add("KC511", named[name].anchor, found.message, found.hint)
            del left[name]
    return [], ""


def _failed(written: WrittenJobs, names: Sequence[str], form: JobFormat) -> dict[str, Diagnostic]:
    """Return why some of the jobs would not load, by name."""
    if form.read is None:
        return {}
    parsed = link([form.read(written.text.encode(), form.name, system=False, timezone="UTC")])
    failed: dict[str, Diagnostic] = {}
    for each in parsed.diagnostics:
        if each.severity == "error":
            failed.setdefault(names[max(0, bisect_right(written.starts, each.line) - 1)], each)
    return failed


def _remark(imported: ImportedJob) -> str:
    return f"CronJob {imported.report.label}" + (f", image {imported.image}" if imported.image else "")


def _needs(jobs: Sequence[Job], named: Mapping[str, ImportedJob]) -> dict[str, dict[Need, list[str]]]:
    """Return what the workers of each queue must have; one variable with two sources is reported."""
    needs: dict[str, dict[Need, list[str]]] = defaultdict(dict)
    sources: dict[tuple[str, str], tuple[Need, str]] = {}
    for job in jobs:
        imported = named[job.id]
        for need, value in imported.report.needs:
            users = needs[job.queue].setdefault(need, [])
            if job.id not in users:
                users.append(job.id)
            if need.kind != "variable" or need.name.endswith("*"):
                continue
            source = replace(need, source=f"{imported.namespace}: {need.source}")
            first, holder = sources.setdefault((job.queue, need.name), (source, job.id))
            if first != source:
                message = f"variable {need.name} is another one than that of {holder}, on the same workers"
                imported.report.add("KC613", value, message)
    return dict(needs)
