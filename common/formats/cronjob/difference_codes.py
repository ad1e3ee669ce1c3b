"""The differences of a CronJob that moves in: a code for each kind of difference, with what follows from it.

Pure. ``KC5xx`` are errors: the CronJob is not taken over. ``KC6xx`` are warnings: it is, and something of it is
lost, or means something else here. docs/moving/kubernetes-cronjob.md holds this table, and a test holds it to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One kind of difference.

    Attributes:
        code: As it stands in diagnostics.
        title: What it is about, in a few words.
        advice: What follows, and what to do.
    """

    code: str
    title: str
    advice: str

    @property
    def is_error(self) -> bool:
        """True if the CronJob is not taken over."""
        return self.code.startswith("KC5")


def _table(*rows: tuple[str, str, str]) -> Mapping[str, Difference]:
    return MappingProxyType(
        {code: Difference(code=code, title=title, advice=advice) for code, title, advice in rows}
    )


DIFFERENCES = _table(
    ("KC501", "no YAML", "The document is not read. A template has to be rendered first: `helm template`, `kubectl kustomize`."),
    ("KC502", "a field is missing or of another type", "The API server would refuse it too."),
    ("KC503", "a schedule that cannot be read", "The API server would refuse it too."),
    ("KC504", "an unknown time zone", "Write its IANA name."),
    (
        "KC505",
        "no command",
        "The image's entry point runs, and it stands in the image: say it with `--entrypoint IMAGE=COMMAND`.",
    ),
    (
        "KC506",
        "several containers",
        "A run is one command. `--container NAME` takes one of them over and leaves the others out; what these did, the command has to do.",
    ),
    ("KC507", "several pods", "A run is one command. Write several jobs, or let the command start several processes."),
    ("KC508", "the same CronJob again", "Only the first is taken over."),
    ("KC509", "not to be written in this form", "A crontab has no commands of several lines. `--to yaml` has."),
    ("KC510", "the annotation kuber-cron/options is broken", "`kuber-cron convert --to kubernetes` wrote it; mend it or delete it."),
    ("KC511", "the job would not load", "What the message says of the job that was made of it."),
    (
        "KC601",
        "image",
        "The command runs on a worker, so this must have the programs: a worker image made `FROM` the image, for a queue of its own (`--queue-by image`). The image's variables, its user and its directory count only there.",
    ),
    (
        "KC602",
        "no time zone",
        "Kubernetes takes the zone of kube-controller-manager, nearly always UTC. `--timezone` says another.",
    ),
    (
        "KC603",
        "no backoffLimit",
        "Kubernetes tries six more times, so `retries: 6` is written. Where a second attempt is no good, write `retries: 0`.",
    ),
    (
        "KC604",
        "Forbid",
        "Kubernetes makes up for the occurrence that it kept back, once the last run has ended; `concurrency: forbid` records it as `overlap`. `concurrency: queue` makes up for it.",
    ),
    (
        "KC605",
        "suspended",
        "What is missed meanwhile is recorded as `suspended`, and never made up for. Kubernetes may start the last one when it is resumed.",
    ),
    (
        "KC606",
        "activeDeadlineSeconds of the Job",
        "It bounds all attempts together; `timeout` bounds each.",
    ),
    (
        "KC607",
        "a schedule in other words",
        "It names the same times: `*/2` in one day field beside a second one means *either* to Kubernetes and *both* to crontab(5).",
    ),
    (
        "KC608",
        "@every",
        "Kubernetes counts from the last run, Kuber-Cron from the Unix epoch in UTC: the rhythm is the same, the instants are others.",
    ),
    ("KC609", "another name", "Names are unique over all jobs, and hold letters, digits, `_` and `-`."),
    (
        "KC610",
        "a variable that is not copied",
        "Set it in the environment of the workers, which commands inherit. Values of Secrets never stand in a job file.",
    ),
    ("KC611", "values of a ConfigMap", "They are copied: later changes of the ConfigMap do not arrive."),
    (
        "KC612",
        "$(NAME) of a variable that is not copied",
        "The shell fills it in when the command runs. Look at the quotes around it.",
    ),
    (
        "KC613",
        "one variable, two meanings",
        "Workers of one queue have one environment: give these jobs queues of their own (`--queue-by namespace`), or the variables two names.",
    ),
    ("KC614", "volume", "Mount it in the workers of its queue."),
    ("KC615", "account", "The command has the worker's service account, user and rights."),
    (
        "KC616",
        "placement",
        "Commands run where workers are: give such jobs a queue, and its workers the selector, the tolerations, the priority.",
    ),
    (
        "KC617",
        "resources",
        "All commands of a worker share its requests and limits. The key `memory` bounds the address space of a command, of which many runtimes reserve far more than they use, so it is not set.",
    ),
    ("KC618", "history", "How many runs are kept is a setting of the installation, not of a job."),
    ("KC619", "a container that is left out", "`--container` asked for another one of the pod."),
    ("KC620", "a field without counterpart", "It is left out."),
    ("KC621", "an unknown field", "It is left out, as the API server does unless it validates strictly."),
    ("KC622", "another kind of object", "Only CronJobs are taken over, and values of ConfigMaps where one asks for them."),
    (
        "KC623",
        "podFailurePolicy",
        "`FailJob` on exit codes became `no_retry_on` or `retry_on`. Lost workers and interruptions never spend a retry here.",
    ),
    ("KC624", "several attempts in the pod", "With `restartPolicy: OnFailure` the kubelet starts the container again in its pod, volumes as they are; here each attempt starts anew."),
)  # fmt: skip


def table() -> str:
    """Return the manual's table, in Markdown."""
    rows = ["| code | about | what follows |", "| --- | --- | --- |"]
    rows += [f"| {each.code} | {each.title} | {each.advice} |" for each in DIFFERENCES.values()]
    return "\n".join(rows)
