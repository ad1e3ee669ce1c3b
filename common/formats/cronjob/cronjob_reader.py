"""CronJobs: from a manifest to a job, with everything that is lost or means something else on the way.

Pure. What Kubernetes takes for a field that is not there is written out (six retries, no time limit, thirty seconds of
grace), for our defaults are others.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kuber_cron.common.diagnostics import shown
from kuber_cron.common.formats.cronjob import (
    kube_jobs,
    pod_reader,
    round_trip,
    schedule_dialect,
    unsupported_fields,
)
from kuber_cron.common.formats.cronjob.container_env import ConfigMaps
from kuber_cron.common.formats.cronjob.import_report import ImportReport
from kuber_cron.common.formats.cronjob.typed_values import TypedValue, WrongTypeError
from kuber_cron.common.jobs.options import KUBERNETES_CONCURRENCY
from kuber_cron.common.jobs.time_types import LONGEST_SECONDS
from kuber_cron.common.schedule import Schedule, ScheduleError, timezones
from kuber_cron.common.suggestions import closest

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]+", re.ASCII)
_LONGEST_NAME = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedJob:
    """A CronJob that can be taken over; only its name's uniqueness is open.

    Attributes:
        name: The name that it asks for.
        namespace: Its namespace, empty where the manifest says none.
        image: Its container's image; empty where there is none.
        values: The :class:`Job` attributes, its id apart.
        findings: What was found.
        place: Where its name is told.
    """

    name: str
    namespace: str
    image: str
    values: dict[str, Any]
    findings: ImportReport
    place: TypedValue


def title(cronjob: TypedValue) -> tuple[str, str]:
    """Its namespace and name as far as they can be read, for messages; each may be empty."""
    try:
        metadata = cronjob.fields()["metadata"].fields()
    except (KeyError, WrongTypeError):
        return "", ""
    found = []
    for names in (("namespace",), ("name", "generateName")):
        value = next((metadata[name] for name in names if name in metadata), None)
        try:
            found.append(value.text() if value is not None else "")
        except WrongTypeError:
            found.append("")
    return found[0], found[1].rstrip("-")


def read(
    cronjob: TypedValue,
    timezone: str,
    choices: pod_reader.ContainerChoice,
    maps: ConfigMaps,
    findings: ImportReport,
) -> ImportedJob | None:
    """A CronJob as a draft; None where the findings say why it cannot be taken over.

    Args:
        cronjob: The object.
        timezone: The zone of those that name none: kube-controller-manager's.
        choices: What a person said about containers.
        maps: The ConfigMaps that are known.
        findings: What is found is noted there.
    """
    namespace, name = title(cronjob)
    reader = _Reader(findings, timezone)
    reader.attempt(lambda: reader.read_metadata(cronjob, name))
    spec = cronjob.fields().get("spec")
    if spec is None:
        findings.say("KC502", cronjob, "spec is missing")
        return None
    reader.attempt(lambda: reader.read_schedule(spec))
    reader.attempt(lambda: reader.read_policies(spec))
    reader.attempt(lambda: reader.read_job(spec, namespace, choices, maps))
    if findings.is_refused:
        return None
    values = reader.values | reader.options
    return ImportedJob(
        name=reader.name,
        namespace=namespace,
        image=reader.image,
        values=values,
        findings=findings,
        place=reader.place or cronjob,
    )


@dataclass(slots=True)
class _Reader:
    """What is known so far of one CronJob.

    Attributes:
        options: What its annotation says, which beats the fields.
    """

    findings: ImportReport
    timezone: str
    name: str = ""
    place: TypedValue | None = None
    image: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def attempt(self, part: Callable[[], None]) -> None:
        """Go on with the other parts where one is in error."""
        try:
            part()
        except WrongTypeError as error:
            self.findings.refuse(error)

    def read_metadata(self, cronjob: TypedValue, title: str) -> None:
        metadata = cronjob.field("metadata")
        fields = metadata.fields()
        self.place = fields.get("name") or fields.get("generateName") or metadata
        if not title:
            raise WrongTypeError(metadata, "metadata.name is missing")
        notes = round_trip.read(metadata, self.findings)
        self.options = notes.options
        self.name = notes.name or _NOT_IN_A_NAME.sub("-", title)[:_LONGEST_NAME].strip("-_") or "job"
        if notes.name is None and self.name != title:
            self.findings.say("KC609", self.place, f"is called {self.name}")
        if notes.description is not None:
            self.values["description"] = notes.description

    def read_schedule(self, spec: TypedValue) -> None:
        fields = spec.fields()
        value = spec.field("schedule")
        text = value.text()
        zone = fields["timeZone"].text() if "timeZone" in fields else None
        if zone is not None:
            self._check_zone(zone, fields["timeZone"])
        try:
            found = schedule_dialect.read(text)
            Schedule.parse(found.schedule)
        except ScheduleError as error:
            self.findings.say("KC503", value, f"schedule {shown(text)}: {error.message}", error.hint)
            return
        if found.timezone is not None:
            self._check_zone(found.timezone, value)
        if zone is None and found.timezone is None:
            self.findings.say("KC602", value, f"no timeZone: {self.timezone} is written")
        self.values |= {"schedule": found.schedule, "timezone": zone or found.timezone or self.timezone}
        if found.schedule.startswith("@every"):
            self.findings.say("KC608", value, f"{found.schedule} counts from the epoch")
        elif found.schedule != " ".join(text.split()):
            self.findings.say("KC607", value, f"its schedule {text} is written {found.schedule}")

    def _check_zone(self, zone: str, value: TypedValue) -> None:
        try:
            timezones.find(zone)
        except ScheduleError as error:
            self.findings.say("KC504", value, error.message, error.hint)

    def read_policies(self, spec: TypedValue) -> None:
        fields = spec.fields()
        unsupported_fields.tell(fields, unsupported_fields.SPEC, unsupported_fields.KNOWN_SPEC, self.findings)
        policy = fields["concurrencyPolicy"].text() if "concurrencyPolicy" in fields else "Allow"
        if policy not in KUBERNETES_CONCURRENCY:
            near = closest(policy, tuple(KUBERNETES_CONCURRENCY))
            hint = f"did you mean {near}?" if near else f"write {' or '.join(KUBERNETES_CONCURRENCY)}"
            raise WrongTypeError(
                fields["concurrencyPolicy"], f"concurrencyPolicy: there is no {shown(policy)}", hint
            )
        self.values["concurrency"] = KUBERNETES_CONCURRENCY[policy]
        if policy != "Forbid" or self.options.get("concurrency") != "queue":
            self.options.pop("concurrency", None)
            if policy == "Forbid":
                message = "Forbid: an occurrence that is kept back is not made up for"
                self.findings.say("KC604", fields["concurrencyPolicy"], message)
        if "startingDeadlineSeconds" in fields:
            seconds = fields["startingDeadlineSeconds"].integer()
            self.values["deadline"] = float(seconds) if seconds <= LONGEST_SECONDS else None
        if "suspend" in fields:
            self.values["suspend"] = fields["suspend"].boolean()
            if self.values["suspend"]:
                self.findings.say(
                    "KC605", fields["suspend"], "suspended: nothing is made up for when it is resumed"
                )

    def read_job(
        self, spec: TypedValue, namespace: str, choices: pod_reader.ContainerChoice, maps: ConfigMaps
    ) -> None:
        job = spec.field("jobTemplate").field("spec")
        pod = job.field("template").field("spec")
        self.attempt(lambda: self.values.update(kube_jobs.read(job, pod, self.findings)))
        command = pod_reader.read(pod, namespace, choices, maps, self.findings)
        if command is not None:
            self.image = command.image
            env = {**command.env, **self.options.pop("env", {})}
            self.values |= {"command": command.words, "shell": command.shell, "env": env, "cwd": command.cwd}
