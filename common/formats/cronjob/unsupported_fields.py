"""The fields of a CronJob, its Job and its pod that have no counterpart here, and the report on each.

Pure. Three kinds of fields are not reported: those that are read elsewhere, those that say how a container
is made and watched rather than what it does, and defaults, which the API server writes into every object.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from kuber_cron.common.formats.cronjob.import_report import ImportReport
from kuber_cron.common.formats.cronjob.typed_values import TypedValue
from kuber_cron.common.suggestions import closest

_WORDS = {
    "KC615": "it runs as its workers do",
    "KC616": "it runs where its workers do",
    "KC617": "it shares what its workers have",
    "KC618": "how much is kept is a setting",
    "KC620": "no counterpart",
}

_NOTHING: tuple[Any, ...] = ({}, [], "")

UnsupportedFields = Mapping[str, tuple[str, tuple[Any, ...]]]
"""A field's code, and the values that are not reported."""

SPEC: UnsupportedFields = {
    "successfulJobsHistoryLimit": ("KC618", (3,)),
    "failedJobsHistoryLimit": ("KC618", (1,)),
}
JOB: UnsupportedFields = {
    "ttlSecondsAfterFinished": ("KC618", ()),
    "successPolicy": ("KC620", ()),
    "backoffLimitPerIndex": ("KC620", ()),
    "maxFailedIndexes": ("KC620", ()),
    "completionMode": ("KC620", ("NonIndexed",)),
    "suspend": ("KC620", (False,)),
    "managedBy": ("KC620", ("kubernetes.io/job-controller",)),
}
POD: UnsupportedFields = {
    "serviceAccountName": ("KC615", ("default", "")),
    "automountServiceAccountToken": ("KC615", (False,)),
    "securityContext": ("KC615", _NOTHING),
    "hostUsers": ("KC615", (True,)),
    "nodeSelector": ("KC616", _NOTHING),
    "nodeName": ("KC616", _NOTHING),
    "affinity": ("KC616", _NOTHING),
    "tolerations": ("KC616", _NOTHING),
    "topologySpreadConstraints": ("KC616", _NOTHING),
    "priorityClassName": ("KC616", _NOTHING),
    "schedulerName": ("KC616", ("default-scheduler",)),
    "runtimeClassName": ("KC616", _NOTHING),
    "os": ("KC616", ({"name": "linux"},)),
    "schedulingGates": ("KC616", _NOTHING),
    "hostNetwork": ("KC616", (False,)),
    "hostPID": ("KC616", (False,)),
    "hostIPC": ("KC616", (False,)),
    "hostAliases": ("KC616", _NOTHING),
    "dnsPolicy": ("KC616", ("ClusterFirst",)),
    "dnsConfig": ("KC616", _NOTHING),
    "resources": ("KC617", _NOTHING),
    "resourceClaims": ("KC617", _NOTHING),
    "overhead": ("KC617", _NOTHING),
    "hostname": ("KC620", _NOTHING),
    "subdomain": ("KC620", _NOTHING),
    "hostnameOverride": ("KC620", _NOTHING),
    "shareProcessNamespace": ("KC620", (False,)),
    "ephemeralContainers": ("KC620", _NOTHING),
    "workloadRef": ("KC620", ()),
    "schedulingGroup": ("KC620", ()),
}
CONTAINER: UnsupportedFields = {
    "securityContext": ("KC615", _NOTHING),
    "resources": ("KC617", _NOTHING),
    "resizePolicy": ("KC617", _NOTHING),
    "volumeDevices": ("KC620", _NOTHING),
    "livenessProbe": ("KC620", ()),
    "startupProbe": ("KC620", ()),
    "lifecycle": ("KC620", _NOTHING),
    "stdin": ("KC620", (False,)),
    "restartPolicy": ("KC620", ()),
    "restartPolicyRules": ("KC620", _NOTHING),
}

# Read elsewhere, or without a meaning for what the command does.
KNOWN_SPEC = (
    *("schedule", "timeZone", "startingDeadlineSeconds", "concurrencyPolicy", "suspend", "jobTemplate"),
    *SPEC,
)
KNOWN_JOB = (
    *("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "podFailurePolicy", "template"),
    *("selector", "manualSelector", "podReplacementPolicy"),
    *JOB,
)
KNOWN_POD = (
    *("containers", "initContainers", "volumes", "restartPolicy", "activeDeadlineSeconds"),
    *(
        "terminationGracePeriodSeconds",
        "serviceAccount",
        "imagePullSecrets",
        "enableServiceLinks",
        "priority",
    ),
    *("preemptionPolicy", "readinessGates", "setHostnameAsFQDN"),
    *POD,
)
KNOWN_CONTAINER = (
    *("name", "image", "command", "args", "workingDir", "env", "envFrom", "volumeMounts", "imagePullPolicy"),
    *("ports", "readinessProbe", "terminationMessagePath", "terminationMessagePolicy", "stdinOnce", "tty"),
    *CONTAINER,
)


def report_all(
    fields: Mapping[str, TypedValue], lost: UnsupportedFields, known: Iterable[str], report: ImportReport
) -> None:
    """Report the fields without counterpart, and those that nobody knows."""
    names = tuple(known)
    for name, value in fields.items():
        if name in lost:
            code, silent = lost[name]
            if value.plain() not in silent:
                report.add(code, value, f"{name}: {_WORDS[code]}")
        elif name not in names:
            near = closest(name, names)
            hint = f"did you mean {near}?" if near is not None else None
            report.add("KC621", value, f"{name} is no field that is known here", hint)
