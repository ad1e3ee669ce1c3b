"""Jobs as Kubernetes CronJobs, with a note on everything that they cannot say.

Pure. Schedules follow the grammar of Kubernetes (robfig/cron): names, ranges, lists, steps, weekdays 0-6; a
field that is written in another way is resolved to the numbers that it means for this job.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import yaml

from kuber_cron.common.diagnostics import shown
from kuber_cron.common.jobs import Job
from kuber_cron.common.policies import KUBERNETES_CONCURRENCY, OPTIONS
from kuber_cron.common.schedule import Schedule
from kuber_cron.common.values import duration_seconds

# A CronJob's name leaves eleven of 63 characters to its Jobs' suffix.
_LONGEST_NAME = 52
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9-]+")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_PLAIN_FIELD = re.compile(r"(?:\*(?:/\d+)?|\d+(?:-\d+)?(?:/\d+)?)(?:,\d+(?:-\d+)?(?:/\d+)?)*", re.ASCII)
# Kubernetes expands $(NAME) in commands and variables; a doubled $ is one that it leaves alone.
_EXPANDED = re.compile(r"\$(?=[$(])")
_NICKNAMES = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
_CARRIED = {
    *("name", "timezone", "retries", "timeout", "kill_grace", "deadline", "concurrency", "cwd", "memory"),
    *("shell", "suspend", "description"),
}
_CONCURRENCY = {ours: theirs for theirs, ours in KUBERNETES_CONCURRENCY.items()}


def to_kubernetes(jobs: Sequence[Job], image: str = "IMAGE") -> tuple[str, list[str]]:
    """CronJob manifests of batch/v1 in one YAML stream, and notes on what is lost or left out.

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
        schedule = _schedule(job)
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
    return text if manifests else "", notes


def _manifest(job: Job, name: str, schedule: str, image: str) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "schedule": schedule,
        "timeZone": job.timezone,
        "concurrencyPolicy": _CONCURRENCY.get(job.concurrency, "Forbid"),
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
    annotations = {"kuber-cron/name": job.id} if name != job.id else {}
    if job.description is not None:
        annotations["kuber-cron/description"] = job.description
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec}


def _container(job: Job, name: str, image: str) -> dict[str, Any]:
    words = job.command if isinstance(job.command, list) else [job.shell, "-c", job.command]
    container: dict[str, Any] = {"name": name, "image": image, "command": [_literal(word) for word in words]}
    directory = job.cwd or job.env.get("HOME")
    if directory:
        container["workingDir"] = directory
    variables = [
        {"name": key, "value": _literal(value)} for key, value in job.env.items() if _ENV_NAME.fullmatch(key)
    ]
    if variables:
        container["env"] = variables
    if job.memory is not None:
        container["resources"] = {"limits": {"memory": str(job.memory)}}
    return container


def _literal(text: str) -> str:
    """``text`` as Kubernetes takes it to the letter."""
    return _EXPANDED.sub("$$", text)


def _name(wanted: str, taken: Collection[str]) -> str:
    """A name that Kubernetes takes and no other job has."""
    base = _NOT_IN_A_NAME.sub("-", wanted.lower())[:_LONGEST_NAME].strip("-")
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base[: _LONGEST_NAME - 1 - len(str(number))].rstrip('-')}-{number}"
    return name


def _schedule(job: Job) -> str | None:
    """The schedule in Kubernetes' grammar; None where it has none."""
    if job.schedule.startswith("@"):
        if job.schedule == "@every_minute":
            return "* * * * *"
        if job.schedule.startswith("@every "):
            # Go's durations have no days.
            return f"@every {duration_seconds(job.schedule.split()[1]):.0f}s"
        return job.schedule if job.schedule in _NICKNAMES else None
    written = job.schedule.split(" ")
    parsed = Schedule.parse(job.schedule, job.timezone, job_id=job.id)
    resolved = []
    for index, (field, values) in enumerate(zip(written, parsed.fields.values(), strict=True)):
        if field == "?" or (_PLAIN_FIELD.fullmatch(field) and (index < 4 or "7" not in field)):
            resolved.append(field)
            continue
        numbers = sorted(value for value in values if isinstance(value, int))
        if len(numbers) < len(values):
            return None
        resolved.append(",".join(map(str, numbers)))
    return " ".join(resolved)


def _notes(job: Job, name: str, schedule: str) -> Iterator[str]:
    """What the manifest says in another way, or not at all."""
    if name != job.id:
        yield f"is called {name}"
    if schedule != job.schedule:
        yield f"its schedule {job.schedule} is written {schedule}"
    if not job.schedule.startswith("@") and _days_differ(job.schedule):
        yield "Kubernetes joins its two day fields by or, not by and"
    if job.stdin is not None:
        yield "its standard input is lost"
    if job.concurrency not in _CONCURRENCY:
        yield f"concurrency={job.concurrency} became Forbid"
    odd = [key for key in job.env if not _ENV_NAME.fullmatch(key)]
    if odd:
        yield f"variables with such names are lost: {', '.join(map(shown, odd))}"
    if job.deadline is not None and job.deadline < 10:
        yield "Kubernetes may never start it: a startingDeadlineSeconds below 10 is too short"
    lost = [
        key
        for key, option in OPTIONS.items()
        if key not in _CARRIED and key != "stdin" and getattr(job, option.attribute) != option.default
    ]
    if lost:
        yield f"no counterpart for {', '.join(lost)}"


def _days_differ(schedule: str) -> bool:
    """Whether a starred step makes both day fields necessary here, and either one sufficient there."""
    day, weekday = schedule.split(" ")[2], schedule.split(" ")[4]
    stepped = [one for one in (day, weekday) if one.startswith("*/") and not one.startswith("*/1")]
    return bool(stepped) and not {day, weekday} & {"*", "?"}
