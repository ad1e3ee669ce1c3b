"""The Job within a CronJob: how often it is attempted, for how long, and by how many pods.

Pure.
"""

from collections.abc import Mapping
from typing import Any

from kuber_cron.common.formats.cronjob import unsupported_fields
from kuber_cron.common.formats.cronjob.import_report import ImportReport
from kuber_cron.common.formats.cronjob.typed_values import TypedValue, WrongTypeError
from kuber_cron.common.jobs.time_types import LONGEST_SECONDS

_RETRIES = 6  # Kubernetes' own backoffLimit
_MOST_RETRIES = 999_999_999
_GRACE_SECONDS = 30  # Kubernetes' own terminationGracePeriodSeconds


def read(job: TypedValue, pod: TypedValue, findings: ImportReport) -> dict[str, Any]:
    """The :class:`Job` attributes that a Job's spec and its pod's spec say.

    Raises:
        WrongTypeError: A field is of a wrong type.
    """
    fields, of_pod = job.fields(), pod.fields()
    unsupported_fields.tell(fields, unsupported_fields.JOB, unsupported_fields.KNOWN_JOB, findings)
    _refuse_several_pods(fields, findings)
    values: dict[str, Any] = {
        "retries": _retries(job, fields, findings),
        "timeout": _timeout(fields, of_pod, findings),
        "kill_grace": min(_number(of_pod, "terminationGracePeriodSeconds", _GRACE_SECONDS), LONGEST_SECONDS),
    }
    if "podFailurePolicy" in fields:
        values |= _failure_policy(fields["podFailurePolicy"], findings)
    policy = of_pod.get("restartPolicy")
    if policy is not None and policy.text() == "OnFailure":
        findings.say("KC624", policy, "restartPolicy OnFailure: each attempt starts anew")
    return values


def _refuse_several_pods(fields: Mapping[str, TypedValue], findings: ImportReport) -> None:
    for name in ("parallelism", "completions"):
        if name in fields and (number := fields[name].integer()) != 1:
            findings.say("KC507", fields[name], f"{name} is {number}, and a run is one command")


def _retries(job: TypedValue, fields: Mapping[str, TypedValue], findings: ImportReport) -> int:
    if "backoffLimit" in fields:
        return min(fields["backoffLimit"].integer(), _MOST_RETRIES)
    if "backoffLimitPerIndex" not in fields:
        findings.say("KC603", job, f"no backoffLimit: Kubernetes' own is written, retries: {_RETRIES}")
    return _RETRIES


def _timeout(
    fields: Mapping[str, TypedValue], of_pod: Mapping[str, TypedValue], findings: ImportReport
) -> float | None:
    limits = []
    if "activeDeadlineSeconds" in of_pod:
        limits.append(of_pod["activeDeadlineSeconds"].integer())
    if "activeDeadlineSeconds" in fields:
        value = fields["activeDeadlineSeconds"]
        limits.append(value.integer())
        findings.say(
            "KC606", value, f"activeDeadlineSeconds: {limits[-1]} bounds each attempt, not all of them"
        )
    bounded = [limit for limit in limits if limit <= LONGEST_SECONDS]
    return float(max(1, min(bounded))) if bounded else None


def _number(fields: Mapping[str, TypedValue], name: str, default: int) -> float:
    return float(fields[name].integer() if name in fields else default)


def _failure_policy(policy: TypedValue, findings: ImportReport) -> dict[str, Any]:
    """``FailJob`` on exit codes; what other rules say is told.

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
            findings.say("KC623", rule, f"podFailurePolicy: a rule of {action or 'no action'} is left out")
            break
        numbers = [each.integer() for each in codes.field("values").items()]
        if not numbers or max(numbers) > 255:
            raise WrongTypeError(codes, f"{codes.path}.values are no exit codes")
        values[key] = list(dict.fromkeys(numbers))
        findings.say("KC623", rule, f"podFailurePolicy: FailJob on exit codes became {key}")
    return values
