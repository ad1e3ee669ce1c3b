"""CronJobs: from a manifest to a job, with everything that is lost or means something else on the way.

Pure. What Kubernetes takes for a field that is not there is written out (six retries, no time limit, thirty seconds of
grace), for our defaults are others.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kuber_cron.common.diagnostics import shown
from kuber_cron.common.formats.cronjob import (
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
_RETRIES = 6  # Kubernetes' own backoffLimit
_MOST_RETRIES = 999_999_999
_GRACE_SECONDS = 30  # Kubernetes' own terminationGracePeriodSeconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedJob:
    """A CronJob that can be taken over; only whether its name is unique is open.

    Attributes:
        name: The name that it asks for.
        namespace: Its namespace, empty where the manifest says none.
        image: Its container's image; empty where there is none.
        values: The :class:`Job` attributes, its id apart.
        report: Everything found in it.
        anchor: The value that messages about the whole of it point at: its name.
    """

    name: str
    namespace: str
    image: str
    values: dict[str, Any]
    report: ImportReport
    anchor: TypedValue


def title(cronjob: TypedValue) -> tuple[str, str]:
    """Return namespace and name as far as they can be read, for messages; each may be empty."""
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
    choice: pod_reader.ContainerChoice,
    maps: ConfigMaps,
    report: ImportReport,
) -> ImportedJob | None:
    """Return the job that a CronJob becomes; None where the report says why it cannot be taken over.

    Args:
        cronjob: The object.
        timezone: The zone of those that name none: kube-controller-manager's.
        choice: The operator's choice of containers and entry points.
        maps: The ConfigMaps that are known.
        report: Takes what is found.
    """
    namespace, name = title(cronjob)
    reader = _Reader(report, timezone)
    reader.attempt(lambda: reader.read_metadata(cronjob, name))
    spec = cronjob.fields().get("spec")
    if spec is None:
        report.add("KC502", cronjob, "spec is missing")
        return None
    reader.attempt(lambda: reader.read_schedule(spec))
    reader.attempt(lambda: reader.read_policies(spec))
    reader.attempt(lambda: reader.read_job(spec, namespace, choice, maps))
    if report.is_refused:
        return None
    values = reader.values | reader.options
    return ImportedJob(
        name=reader.name,
        namespace=namespace,
        image=reader.image,
        values=values,
        report=report,
        anchor=reader.anchor or cronjob,
    )


@dataclass(slots=True)
class _Reader:
    """The state of a CronJob from part to part.

    Attributes:
        options: What its annotation says, which beats the fields.
    """

    report: ImportReport
    timezone: str
    name: str = ""
    anchor: TypedValue | None = None
    image: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def attempt(self, part: Callable[[], None]) -> None:
        """Go on with the other parts where one is in error."""
        try:
            part()
        except WrongTypeError as error:
            self.report.refuse(error)

    def read_metadata(self, cronjob: TypedValue, title: str) -> None:
        metadata = cronjob.field("metadata")
        fields = metadata.fields()
        self.anchor = fields.get("name") or fields.get("generateName") or metadata
        if not title:
            raise WrongTypeError(metadata, "metadata.name is missing")
        notes = round_trip.read(metadata, self.report)
        self.options = notes.options
        self.name = notes.name or _NOT_IN_A_NAME.sub("-", title)[:_LONGEST_NAME].strip("-_") or "job"
        if notes.name is None and self.name != title:
            self.report.add("KC609", self.anchor, f"is called {self.name}")
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
            self.report.add("KC503", value, f"schedule {shown(text)}: {error.message}", error.hint)
            return
        if found.timezone is not None:
            self._check_zone(found.timezone, value)
        if zone is None and found.timezone is None:
            self.report.add("KC602", value, f"no timeZone: {self.timezone} is written")
        self.values |= {"schedule": found.schedule, "timezone": zone or found.timezone or self.timezone}
        if found.schedule.startswith("@every"):
            self.report.add("KC608", value, f"{found.schedule} counts from the epoch")
        elif found.schedule != " ".join(text.split()):
            self.report.add("KC607", value, f"its schedule {text} is written {found.schedule}")

    def _check_zone(self, zone: str, value: TypedValue) -> None:
        try:
            timezones.find(zone)
        except ScheduleError as error:
            self.report.add("KC504", value, error.message, error.hint)

    def read_policies(self, spec: TypedValue) -> None:
        fields = spec.fields()
        unsupported_fields.report_all(
            fields, unsupported_fields.SPEC, unsupported_fields.KNOWN_SPEC, self.report
        )
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
                self.report.add("KC604", fields["concurrencyPolicy"], message)
        if "startingDeadlineSeconds" in fields:
            seconds = fields["startingDeadlineSeconds"].integer()
            self.values["deadline"] = float(seconds) if seconds <= LONGEST_SECONDS else None
        if "suspend" in fields:
            self.values["suspend"] = fields["suspend"].boolean()
            if self.values["suspend"]:
                self.report.add(
                    "KC605", fields["suspend"], "suspended: nothing is made up for when it is resumed"
                )

    def read_job(
        self, spec: TypedValue, namespace: str, choice: pod_reader.ContainerChoice, maps: ConfigMaps
    ) -> None:
        job = spec.field("jobTemplate").field("spec")
        pod = job.field("template").field("spec")
        self.attempt(lambda: self.values.update(_job_values(job, pod, self.report)))
        command = pod_reader.read(pod, namespace, choice, maps, self.report)
        if command is not None:
            self.image = command.image
            env = {**command.env, **self.options.pop("env", {})}
            self.values |= {"command": command.words, "shell": command.shell, "env": env, "cwd": command.cwd}


def _job_values(job: TypedValue, pod: TypedValue, report: ImportReport) -> dict[str, Any]:
    """Return the attributes that the Job within a CronJob sets: how often it is attempted, and for how long."""
    fields, of_pod = job.fields(), pod.fields()
    unsupported_fields.report_all(fields, unsupported_fields.JOB, unsupported_fields.KNOWN_JOB, report)
    _refuse_several_pods(fields, report)
    values: dict[str, Any] = {
        "retries": _retries(job, fields, report),
        "timeout": _timeout(fields, of_pod, report),
        "kill_grace": min(_number(of_pod, "terminationGracePeriodSeconds", _GRACE_SECONDS), LONGEST_SECONDS),
    }
    if "podFailurePolicy" in fields:
        values |= _failure_policy(fields["podFailurePolicy"], report)
    policy = of_pod.get("restartPolicy")
    if policy is not None and policy.text() == "OnFailure":
        report.add("KC624", policy, "restartPolicy OnFailure: each attempt starts anew")
    return values


def _refuse_several_pods(fields: Mapping[str, TypedValue], report: ImportReport) -> None:
    for name in ("parallelism", "completions"):
        if name in fields and (number := fields[name].integer()) != 1:
            report.add("KC507", fields[name], f"{name} is {number}, and a run is one command")


def _retries(job: TypedValue, fields: Mapping[str, TypedValue], report: ImportReport) -> int:
    if "backoffLimit" in fields:
        return min(fields["backoffLimit"].integer(), _MOST_RETRIES)
    if "backoffLimitPerIndex" not in fields:
        report.add("KC603", job, f"no backoffLimit: Kubernetes' own is written, retries: {_RETRIES}")
    return _RETRIES


def _timeout(
    fields: Mapping[str, TypedValue], of_pod: Mapping[str, TypedValue], report: ImportReport
) -> float | None:
    limits = []
    if "activeDeadlineSeconds" in of_pod:
        limits.append(of_pod["activeDeadlineSeconds"].integer())
    if "activeDeadlineSeconds" in fields:
        value = fields["activeDeadlineSeconds"]
        limits.append(value.integer())
        report.add(
            "KC606", value, f"activeDeadlineSeconds: {limits[-1]} bounds each attempt, not all of them"
        )
    bounded = [limit for limit in limits if limit <= LONGEST_SECONDS]
    return float(max(1, min(bounded))) if bounded else None


def _number(fields: Mapping[str, TypedValue], name: str, default: int) -> float:
    return float(fields[name].integer() if name in fields else default)


def _failure_policy(policy: TypedValue, report: ImportReport) -> dict[str, Any]:
    """Return what ``FailJob`` on exit codes sets; other rules are reported.

    Rules are tried in order, so one that is not understood ends what can be taken over.
    """
    values: dict[str, Any] = {}
    for rule in policy.field("rules").items():
        parts = rule.fields()
        action = parts["action"].text() if "action" in parts else ""
        if "onPodConditions" in parts and action == "Ignore":
            continue  # a disruption of the pod: no retry is spent on one here
        codes = parts.get("onExitCodes")
        operator = codes.field("operator").text() if codes is not None else ""
        key = {"In": "no_retry_on", "NotIn": "retry_on"}.get(operator)
        if codes is None or key is None or action != "FailJob" or key in values:
            report.add("KC623", rule, f"podFailurePolicy: a rule of {action or 'no action'} is left out")
            break
        numbers = [each.integer() for each in codes.field("values").items()]
        if not numbers or max(numbers) > 255:
            raise WrongTypeError(codes, f"{codes.path}.values are no exit codes")
        values[key] = list(dict.fromkeys(numbers))
        report.add("KC623", rule, f"podFailurePolicy: FailJob on exit codes became {key}")
    return values
