"""The options of a job: the one table from which everything about an option comes.

A row is an annotated attribute of one of three classes, each of which extends the one before it:

* :class:`RetryPolicy`: whether an attempt is followed by another;
* :class:`AttemptOptions`: what else a worker acts on. The payload of a run is made of these;
* :class:`JobOptions`: what only the scheduler, and those who read job files, act on. A :class:`Job` has them all.

A row says the attribute's type, the type of its text, its sentence in the manual, and its default. The readers and
writers of job files, the JSON Schema, the manual, ``Job`` and ``Payload`` follow from it. So a new option that a
worker acts on is a row of ``AttemptOptions``, an attribute of ``worker.execution.launch.Launch``, and the code that
acts; one that the deciding script acts on is a row of ``JobOptions``, an argument in the dispatcher, and the script.
Where a default is needed elsewhere, it is ``OPTIONS["kill_grace"].default``, never a literal (spec: cron.md §3).
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

from kuber_cron.common.jobs import number_types, option_types, text_types, time_types
from kuber_cron.common.jobs.option_types import ValueType

Catchup = Literal["none", "last", "all"]
Concurrency = Literal["allow", "forbid", "replace", "queue"]
Execution = Literal["at_least_once", "at_most_once"]
Interrupt = Literal["requeue", "fail"]
LostHeartbeat = Literal["kill", "continue"]
StateLoss = Literal["replay", "skip"]
Removal = Literal["run", "cancel"]
Priority = Literal["high", "normal", "low"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """The part of an option that its attribute's annotation holds; see :class:`Option`."""

    type: ValueType
    doc: str
    key: str | None = None
    yaml_only: bool = False
    default_allowed: bool = True


def _row(type_: ValueType, doc: str, **rest: Any) -> _Row:
    return _Row(type=type_, doc=doc, **rest)


def _one_of(words: Any) -> ValueType:
    return option_types.choice(*get_args(words))


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The options that decide whether an attempt is followed by another. Durations are seconds."""

    retries: Annotated[
        int, _row(number_types.integer(0), "attempts after the first that the command's own faults may cost")
    ] = 0
    retry_delay: Annotated[float, _row(time_types.duration, "the wait before the first retry")] = 10.0
    retry_backoff: Annotated[
        float, _row(number_types.number(1, 1000), "each further wait is this many times as long")
    ] = 2.0
    retry_max_delay: Annotated[float, _row(time_types.duration, "no wait is longer")] = 600.0
    retry_jitter: Annotated[
        float, _row(number_types.number(0, 1), "each wait varies by this share, up and down")
    ] = 0.1
    retry_on: Annotated[
        list[int | str] | None, _row(number_types.failures, "which failures are tried again; unset means any")
    ] = None
    no_retry_on: Annotated[
        list[int | str], _row(number_types.exceptions, "which failures are not tried again")
    ] = field(default_factory=list)
    execution: Annotated[
        Execution,
        _row(_one_of(Execution), "under at_most_once no attempt is ever repeated, whatever ended the first"),
    ] = "at_least_once"
    max_lost: Annotated[
        int, _row(number_types.integer(0), "attempts that lost workers may cost; a budget of its own")
    ] = 3
    on_interrupt: Annotated[
        Interrupt, _row(_one_of(Interrupt), "what becomes of a run whose worker is drained")
    ] = "requeue"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptOptions(RetryPolicy):
    """The options that a worker acts on. Durations are seconds, sizes are bytes, instants are aware UTC."""

    success_codes: Annotated[list[int], _row(number_types.codes, "exit codes that count as success")] = field(
        default_factory=lambda: [0]
    )
    on_lost_heartbeat: Annotated[
        LostHeartbeat, _row(_one_of(LostHeartbeat), "what a worker cut off from Redis does to it")
    ] = "kill"
    timeout: Annotated[float | None, _row(time_types.limit, "TERM to the process group after this time")] = (
        86400.0
    )
    kill_grace: Annotated[float, _row(time_types.duration, "KILL this long after TERM")] = 10.0
    not_after: Annotated[datetime | None, _row(time_types.instant, "no instants after")] = None
    cwd: Annotated[
        str | None, _row(text_types.path, "working directory; unset means `HOME` if the file sets it")
    ] = None
    user: Annotated[str | None, _row(text_types.word, "who runs it; unset means the worker's own user")] = (
        None
    )
    umask: Annotated[str | None, _row(number_types.umask, "file mode mask")] = None
    memory: Annotated[int | None, _row(number_types.size, "address space of one attempt")] = None
    cpu_time: Annotated[float | None, _row(time_types.limit, "CPU time of one attempt")] = None
    nice: Annotated[int | None, _row(number_types.integer(-20, 19), "niceness")] = None
    log_limit: Annotated[int, _row(number_types.size, "output kept of one attempt")] = 10 * 1024 * 1024
    description: Annotated[str | None, _row(text_types.text, "for people")] = None
    team: Annotated[str | None, _row(text_types.text, "a label for alerts and dashboards")] = None
    notify: Annotated[str, _row(text_types.notify, "what is told")] = "failure,recovery"
    ping: Annotated[
        str | None, _row(text_types.url, "told start, success and failure, healthchecks-style")
    ] = None
    stdin: Annotated[
        str | None,
        _row(text_types.text, "the command's standard input", yaml_only=True, default_allowed=False),
    ] = None
    shell: Annotated[str, _row(text_types.path, "runs a command that is a string", yaml_only=True)] = (
        "/bin/sh"
    )
    quiet: Annotated[bool, _row(option_types.boolean, "its runs are not announced", yaml_only=True)] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions(AttemptOptions):
    """All options of a job: those of its attempts, and what decides when and where these are queued."""

    id: Annotated[
        str, _row(text_types.name, "the job's id, unique over all sources", key="name", default_allowed=False)
    ]
    timezone: Annotated[
        str, _row(time_types.zone, "beats `CRON_TZ`, which beats defaults, which beat the scheduler's")
    ] = "UTC"
    on_state_loss: Annotated[
        StateLoss, _row(_one_of(StateLoss), "instants whose decisions Redis has lost")
    ] = "replay"
    on_remove: Annotated[Removal, _row(_one_of(Removal), "queued runs of a job that left the files")] = "run"
    deadline: Annotated[
        float | None,
        _row(time_types.window, "a run not queued this long after its instant is counted as missed"),
    ] = None
    catchup: Annotated[Catchup, _row(_one_of(Catchup), "what is queued of instants decided late")] = "last"
    max_catchup: Annotated[int, _row(number_types.integer(1), "at most so many under `catchup=all`")] = 100
    concurrency: Annotated[Concurrency, _row(_one_of(Concurrency), "when the job's last run still runs")] = (
        "allow"
    )
    max_running: Annotated[
        int,
        _row(number_types.integer(1), "under queue, at most so many wait; the rest is recorded as overlap"),
    ] = 1
    group: Annotated[
        str | None,
        _row(text_types.group, "at most N (1) runs at once over all jobs of the group; the others wait"),
    ] = None
    jitter: Annotated[
        float,
        _row(
            time_types.duration, "spread by hash(job id) over this time; the identity keeps the nominal time"
        ),
    ] = 0.0
    not_before: Annotated[
        datetime | None,
        _row(time_types.instant, "no instants before; without an offset: in the job's zone"),
    ] = None
    queue: Annotated[str, _row(text_types.name, "the queue that workers take it from")] = "default"
    priority: Annotated[
        Priority, _row(_one_of(Priority), "head of the queue, tail, or tail of `<queue>-low`")
    ] = "normal"
    after: Annotated[
        list[str], _row(text_types.names, "the run waits for these jobs' latest occurrence to succeed")
    ] = field(default_factory=list)
    suspend: Annotated[bool, _row(option_types.boolean, "its instants are recorded as suspended")] = False
    random_delay_minutes: Annotated[
        int,
        _row(
            number_types.integer(0, 999_999),
            "delay of hash(job id) mod (N+1) minutes",
            key="random_delay",
            yaml_only=True,
        ),
    ] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option, as those see it who read and write job files.

    Attributes:
        key: Its name in a job file.
        type: The type of its values.
        doc: Its sentence in the manual.
        attribute: The :class:`Job` attribute that it sets.
        default: The value of a job that does not set it; None also where there is none.
        yaml_only: A crontab says it in another way, or not at all.
        default_allowed: It may stand in ``defaults``.
    """

    key: str
    type: ValueType
    doc: str
    attribute: str
    default: Any
    yaml_only: bool
    default_allowed: bool


# As in the manual, in the JSON Schema and in what `convert` writes; an option that is not named here follows behind.
_ORDER = (
    *("name", "timezone"),
    *(
        "retries",
        "retry_delay",
        "retry_backoff",
        "retry_max_delay",
        "retry_jitter",
        "retry_on",
        "no_retry_on",
    ),
    *("success_codes", "execution", "max_lost", "on_interrupt", "on_lost_heartbeat"),
    *("on_state_loss", "on_remove", "timeout", "kill_grace", "deadline", "catchup", "max_catchup"),
    *(
        "concurrency",
        "max_running",
        "group",
        "jitter",
        "not_before",
        "not_after",
        "queue",
        "priority",
        "after",
    ),
    *("cwd", "user", "umask", "memory", "cpu_time", "nice", "log_limit"),
    *("suspend", "description", "team", "notify", "ping"),
    *("stdin", "shell", "quiet", "random_delay"),
)


def _rows() -> Iterator[Option]:
    for attribute in dataclasses.fields(JobOptions):
        (row,) = attribute.type.__metadata__  # type: ignore[union-attr] # each is Annotated
        default = attribute.default
        if attribute.default_factory is not dataclasses.MISSING:
            default = attribute.default_factory()
        yield Option(
            key=row.key or attribute.name,
            type=row.type,
            doc=row.doc,
            attribute=attribute.name,
            default=None if default is dataclasses.MISSING else default,
            yaml_only=row.yaml_only,
            default_allowed=row.default_allowed,
        )


def _table() -> Mapping[str, Option]:
    rows = {option.key: option for option in _rows()}
    return MappingProxyType({key: rows.pop(key) for key in _ORDER} | rows)


OPTIONS: Mapping[str, Option] = _table()
"""Every option by its key, in the manual's order. ``env.NAME`` is read apart."""

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
"""The keys that a directive may set."""

YAML_KEYS = (*OPTIONS, *ALIASES, *KUBERNETES_KEYS)
"""The keys that a YAML job may set beyond ``schedule``, ``command`` and ``env``."""
