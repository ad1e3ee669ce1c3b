"""Every policy of a job: one table from which directives, the YAML model, its JSON Schema and the manual come.

A key's default is the :class:`Job` attribute's own (spec: cron.md §3).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from kuber_cron.common.jobs import option_types
from kuber_cron.common.jobs.job import Job
from kuber_cron.common.jobs.option_types import ValueType


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One key.

    Attributes:
        key: As it is written.
        type: Its values.
        doc: One line for the manual.
        attribute: The :class:`Job` attribute that it sets.
        yaml_only: A crontab says it in another way, or not at all.
        default_allowed: It may stand in ``defaults``.
    """

    key: str
    type: ValueType
    doc: str
    attribute: str
    yaml_only: bool = False
    default_allowed: bool = True

    @property
    def default(self) -> Any:
        """The value of a job that does not set the key; None where there is none."""
        return defaults().get(self.attribute)


def _option(
    key: str,
    kind: ValueType,
    doc: str,
    *,
    attribute: str = "",
    yaml_only: bool = False,
    default_allowed: bool = True,
) -> Option:
    return Option(
        key=key,
        type=kind,
        doc=doc,
        attribute=attribute or key,
        yaml_only=yaml_only,
        default_allowed=default_allowed,
    )


_TABLE = (
    _option(
        "name",
        option_types.name,
        "the job's id, unique over all sources",
        attribute="id",
        default_allowed=False,
    ),
    _option(
        "timezone", option_types.zone, "beats `CRON_TZ`, which beats defaults, which beat the scheduler's"
    ),
    _option(
        "retries", option_types.integer(0), "attempts after the first that the command's own faults may cost"
    ),
    _option("retry_delay", option_types.duration, "the wait before the first retry"),
    _option("retry_backoff", option_types.number(1, 1000), "each further wait is this many times as long"),
    _option("retry_max_delay", option_types.duration, "no wait is longer"),
    _option("retry_jitter", option_types.number(0, 1), "each wait varies by this share, up and down"),
    _option("retry_on", option_types.failures, "which failures are tried again; unset means any"),
    _option("no_retry_on", option_types.exceptions, "which failures are not tried again"),
    _option("success_codes", option_types.codes, "exit codes that count as success"),
    _option(
        "execution",
        option_types.choice("at_least_once", "at_most_once"),
        "under at_most_once no attempt is ever repeated, whatever ended the first",
    ),
    _option("max_lost", option_types.integer(0), "attempts that lost workers may cost; a budget of its own"),
    _option(
        "on_interrupt",
        option_types.choice("requeue", "fail"),
        "what becomes of a run whose worker is drained",
    ),
    _option(
        "on_lost_heartbeat",
        option_types.choice("kill", "continue"),
        "what a worker cut off from Redis does to it",
    ),
    _option(
        "on_state_loss", option_types.choice("replay", "skip"), "instants whose decisions Redis has lost"
    ),
    _option("on_remove", option_types.choice("run", "cancel"), "queued runs of a job that left the files"),
    _option("timeout", option_types.limit, "TERM to the process group after this time"),
    _option("kill_grace", option_types.duration, "KILL this long after TERM"),
    _option(
        "deadline", option_types.window, "a run not queued this long after its instant is counted as missed"
    ),
    _option("catchup", option_types.choice("none", "last", "all"), "what is queued of instants decided late"),
    _option("max_catchup", option_types.integer(1), "at most so many under `catchup=all`"),
    _option(
        "concurrency",
        option_types.choice("allow", "forbid", "replace", "queue"),
        "when the job's last run still runs",
    ),
    _option(
        "max_running",
        option_types.integer(1),
        "under queue, at most so many wait; the rest is recorded as overlap",
    ),
    _option(
        "group", option_types.group, "at most N (1) runs at once over all jobs of the group; the others wait"
    ),
    _option(
        "jitter",
        option_types.duration,
        "spread by hash(job id) over this time; the identity keeps the nominal time",
    ),
    _option("not_before", option_types.instant, "no instants before; without an offset: in the job's zone"),
    _option("not_after", option_types.instant, "no instants after"),
    _option("queue", option_types.name, "the queue that workers take it from"),
    _option(
        "priority",
        option_types.choice("high", "normal", "low"),
        "head of the queue, tail, or tail of `<queue>-low`",
    ),
    _option("after", option_types.names, "the run waits for these jobs' latest occurrence to succeed"),
    _option("cwd", option_types.path, "working directory; unset means `HOME` if the file sets it"),
    _option("user", option_types.word, "who runs it; unset means the worker's own user"),
    _option("umask", option_types.umask, "file mode mask"),
    _option("memory", option_types.size, "address space of one attempt"),
    _option("cpu_time", option_types.limit, "CPU time of one attempt"),
    _option("nice", option_types.integer(-20, 19), "niceness"),
    _option("log_limit", option_types.size, "output kept of one attempt"),
    _option("suspend", option_types.boolean, "its instants are recorded as suspended"),
    _option("description", option_types.text, "for people"),
    _option("team", option_types.text, "a label for alerts and dashboards"),
    _option("notify", option_types.notify, "what is told"),
    _option("ping", option_types.url, "told start, success and failure, healthchecks-style"),
    _option(
        "stdin", option_types.text, "the command's standard input", yaml_only=True, default_allowed=False
    ),
    _option("shell", option_types.path, "runs a command that is a string", yaml_only=True),
    _option("quiet", option_types.boolean, "its runs are not announced", yaml_only=True),
    _option(
        "random_delay",
        option_types.integer(0, 999_999),
        "delay of hash(job id) mod (N+1) minutes",
        attribute="random_delay_minutes",
        yaml_only=True,
    ),
)

OPTIONS: Mapping[str, Option] = MappingProxyType({option.key: option for option in _TABLE})
"""Every key by its canonical spelling, in the manual's order. ``env.NAME`` is read apart."""

ALIASES: Mapping[str, str] = MappingProxyType({"tz": "timezone"})
"""Short spellings, valid everywhere."""

KUBERNETES_KEYS: Mapping[str, str] = MappingProxyType(
    {"timeZone": "timezone", "concurrencyPolicy": "concurrency", "startingDeadlineSeconds": "deadline"}
)
"""Kubernetes' spellings, valid in YAML."""

KUBERNETES_CONCURRENCY: Mapping[str, str] = MappingProxyType(
    {"Allow": "allow", "Forbid": "forbid", "Replace": "replace"}
)
"""The values of ``concurrencyPolicy``."""

DIRECTIVE_KEYS = (*(key for key, option in OPTIONS.items() if not option.yaml_only), *ALIASES)
"""What a directive may set."""

YAML_KEYS = (*OPTIONS, *ALIASES, *KUBERNETES_KEYS)
"""What a YAML job may set beyond ``schedule``, ``command`` and ``env``."""


@cache
def defaults() -> Mapping[str, Any]:
    """Each :class:`Job` attribute's default; attributes without one are left out."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(Job):
        if field.default is not dataclasses.MISSING:
            found[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
    return MappingProxyType(found)
