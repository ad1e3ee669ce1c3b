"""Jobs as Kubernetes CronJobs, with a note on everything that they cannot say.

Pure. A schedule is written in Kubernetes' grammar: what this has not, as ``H``, becomes the numbers that it means for
the job, and a job whose days it cannot say at all is left out. What Kubernetes has no field for stands in annotations,
by which ``kuber-cron import`` gives back the job that it was.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import yaml

from kuber_cron.common.diagnostics import shown
from kuber_cron.common.formats.cronjob import round_trip, schedule_dialect
from kuber_cron.common.formats.writer import WrittenJobs
from kuber_cron.common.jobs.job import Job
from kuber_cron.common.jobs.options import OPTIONS

# A CronJob's name leaves eleven of 63 characters to its Jobs' suffix.
_LONGEST_NAME = 52
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9-]+")
# Kubernetes expands $(NAME) in commands and variables; a doubled $ is one that it leaves alone.
_EXPANDED = re.compile(r"\$(?=[$(])")


def write(jobs: Sequence[Job], image: str = "IMAGE") -> WrittenJobs:
    """Return CronJob manifests of batch/v1 in one YAML stream, with notes on what is lost or left out.

    Args:
        jobs: What to write. A job whose schedule Kubernetes cannot say has a note and no manifest.
        image: The container image of every job; the default is a placeholder.
    """
    manifests: list[dict[str, Any]] = []
    notes: list[str] = []
    if jobs and image == "IMAGE":
        notes.append("put the container image of your commands in the place of IMAGE")
    taken: set[str] = set()
    for job in jobs:
        schedule = schedule_dialect.written(job)
        if schedule is None:
            notes.append(f"job {shown(job.id)}: left out, for Kubernetes has no schedule like {job.schedule}")
            continue
        name = _name(job.id, taken)
        taken.add(name)
        manifests.append(_manifest(job, name, schedule, image))
        notes.extend(f"job {shown(job.id)}: {note}" for note in _notes(job, name, schedule))
    text = yaml.safe_dump_all(
        manifests, sort_keys=False, allow_unicode=False, explicit_start=True, width=2**31
    )
    return WrittenJobs(text=text if manifests else "", notes=notes)


def _manifest(job: Job, name: str, schedule: str, image: str) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "schedule": schedule,
        "timeZone": job.timezone,
        "concurrencyPolicy": round_trip.CONCURRENCY.get(job.concurrency, "Forbid"),
        "suspend": job.suspend,
    }
    if job.deadline is not None:
        spec["startingDeadlineSeconds"] = int(job.deadline)
    # One pod is one attempt: its own deadline is the timeout, and the Job counts the attempts.
    pod: dict[str, Any] = {"restartPolicy": "Never", "terminationGracePeriodSeconds": int(job.kill_grace)}
    if job.timeout is not None:
        pod["activeDeadlineSeconds"] = int(job.timeout)
    pod["containers"] = [_container(job, name, image)]
    spec["jobTemplate"] = {"spec": {"backoffLimit": job.retries, "template": {"spec": pod}}}
    metadata: dict[str, Any] = {"name": name}
    annotations = round_trip.annotations_of(job, name)
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec}


def _container(job: Job, name: str, image: str) -> dict[str, Any]:
    words = job.command if isinstance(job.command, list) else [job.shell, "-c", job.command]
    container: dict[str, Any] = {"name": name, "image": image, "command": [literally(word) for word in words]}
    directory = job.cwd or job.env.get("HOME")
    if directory:
        container["workingDir"] = directory
    variables = [
        {"name": key, "value": literally(value)}
        for key, value in job.env.items()
        if round_trip.VARIABLE_NAME.fullmatch(key)
    ]
    if variables:
        container["env"] = variables
    if job.memory is not None:
        container["resources"] = {"limits": {"memory": str(job.memory)}}
    return container


def literally(text: str) -> str:
    """Return ``text`` as Kubernetes takes it to the letter."""
    return _EXPANDED.sub("$$", text)


def _name(job_id: str, taken: Collection[str]) -> str:
    """Return a name that Kubernetes takes and no other job has."""
    base = _NOT_IN_A_NAME.sub("-", job_id.lower())[:_LONGEST_NAME].strip("-")
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base[: _LONGEST_NAME - 1 - len(str(number))].rstrip('-')}-{number}"
    return name


def _notes(job: Job, name: str, schedule: str) -> Iterator[str]:
    """Yield sentences on what the manifest says in another way, or not at all."""
    if name != job.id:
        yield f"is called {name}"
    if schedule != job.schedule:
        yield f"its schedule {job.schedule} is written {schedule}"
    if job.stdin is not None:
        yield "its standard input is lost"
    if job.concurrency not in round_trip.CONCURRENCY:
        yield f"concurrency={job.concurrency} became Forbid"
    odd = [key for key in job.env if not round_trip.VARIABLE_NAME.fullmatch(key)]
    if odd:
        yield f"variables with such names are lost: {', '.join(map(shown, odd))}"
    if job.deadline is not None and job.deadline < 10:
        yield "Kubernetes may never start it: a startingDeadlineSeconds below 10 is too short"
    if job.memory is not None:
        yield "memory became the container's limit, and bounds what is used rather than the address space"
    noted = {"stdin", "concurrency", "memory"}
    lost = [key for key, option in OPTIONS.items() if key not in noted and round_trip.is_kept(job, option)]
    if lost:
        yield f"no counterpart for {', '.join(lost)}"
