"""Settings: one ``KUBER_CRON_*`` variable each, read once at start, all bad ones reported together.

The attribute docstrings below are the documentation: docs/settings.md is made from them, and a test holds
the two equal. Flags of the command line win over variables. An empty variable counts as unset.

Never read as settings: the variables that Kubernetes makes of every service (a service ``kuber-cron-metrics``
appears in its pods as ``KUBER_CRON_METRICS_PORT=tcp://10.0.0.1:8000``), and the ones that Kuber-Cron itself
gives to its commands.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, PrivateAttr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from kuber_cron.common.config import environment
from kuber_cron.common.config.environment import (
    DNS_LABEL,
)
from kuber_cron.common.config.host import Host
from kuber_cron.common.config.lease_timing import LeaseTiming
from kuber_cron.common.config.setting_problems import bad_lease_timing, bad_values, unknown_variables
from kuber_cron.common.config.setting_types import (
    LOWER,
    Bytes,
    Channel,
    HttpUrl,
    Instance,
    NamePattern,
    QueueName,
    RedisUrl,
    Seconds,
    Zone,
    allowed,
    one_of,
    split,
)
from kuber_cron.common.errors import SettingsError
from kuber_cron.common.notifications.channels import CHANNELS
from kuber_cron.common.observability.logging_setup import LogFormat, LogLevel

ElectionMode = Literal["kubernetes", "redis"]
JobsFormat = Literal["user", "system"]
WorkerOutput = Literal["json", "raw", "off"]
UserRule = Literal["prefer", "require"]


class Settings(BaseSettings):
    """All settings, valid together. Make one with :meth:`load`; the constructor reads no environment."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=False
    )

    redis_url: RedisUrl | None = Field(
        None,
        repr=False,
        **allowed("`redis://`, `rediss://`, `unix://`, `redis+sentinel://` or `rediss+sentinel://`"),
    )
    """Where Redis is: `redis://user@host:6379/0`, `unix:///path?db=0`, or
    `redis+sentinel://host:26379,host2:26379/mymaster/0`. Unset, `kuber-cron run` starts a Redis of its own and
    everything else refuses to start."""

    redis_password_file: Path | None = Field(None, **allowed("a file"))
    """A file with the password, read again at each connect, so that it can be rotated. Better than a password in
    the URL, which every process listing of the container's environment shows."""

    redis_ca_file: Path | None = Field(None, **allowed("a file"))
    """The certificates (PEM) that a `rediss://` server's is checked against, instead of the system's."""

    redis_allow_volatile: bool = Field(False, **allowed("`0` or `1`"))
    """`1` accepts a Redis with neither append-only file nor snapshots. Each restart of it then loses every
    queued run and the record of what was decided; `on_state_loss` says what follows."""

    jobs: Annotated[tuple[str, ...], split(":")] = Field(
        ("/app/config",), **allowed("paths, separated by `:`")
    )
    """The files and directories that jobs are read from; arguments of the command win."""

    jobs_format: Annotated[JobsFormat, LOWER] = Field("user", **one_of(get_args(JobsFormat)))
    """`system` for crontabs with a user's name before the command, as `/etc/crontab` has."""

    empty_jobs_seconds: float = Field(3600.0, ge=0, allow_inf_nan=False, **allowed("seconds, `0` for never"))
    """For how long a scheduler keeps the last good jobs where a file or directory of jobs holds nothing any more, or
    all files no job where there were ten or more: the mount may have failed. A file `.no-jobs` beside the job files
    says that it is meant."""

    instance: Instance = Field(
        "kuber-cron",
        **allowed("lower-case letters, digits and `-`, at most 63; not `rq`"),
    )
    """The name of this installation. Two installations on one Redis need two names: the default one uses RQ's
    own key prefix `rq`, any other its name."""

    timezone: Zone = Field("UTC", **allowed("an IANA name, `Europe/Berlin`"))
    """The zone of schedules that name none."""

    election: Annotated[ElectionMode, LOWER] = Field("redis", **one_of(get_args(ElectionMode)))
    """How the leader is found: by a Lease object, or by a key in Redis. The default is `kubernetes` in a pod
    that has a service account token, else `redis`."""

    lease_name: str = Field("", pattern=rf"{DNS_LABEL}|^$", **allowed("a DNS label"))
    """The Lease object's name. The default is the instance."""

    namespace: str = Field("", pattern=rf"{DNS_LABEL}|^$", **allowed("a DNS label"))
    """The Lease object's namespace. The default is the pod's own, outside a pod `default`."""

    lease_seconds: Seconds = Field(
        15.0, **allowed("seconds; RENEW_SECONDS + max(1, a tenth of this) or more")
    )
    """How long a leader may be silent before another takes over. Shorter means quicker takeover after a crash,
    and a leader that steps down at shorter hiccups of the API server."""

    renew_seconds: Seconds = Field(10.0, **allowed("seconds; request timeout + twice RETRY_SECONDS or more"))
    """How long a leader goes on deciding without a successful renewal. It must end before the lease does."""

    retry_seconds: Seconds = Field(2.0, **allowed("seconds"))
    """The pause between two attempts to get or renew the lease: each replica's load on the API server."""

    failsafe_seconds: float = Field(3600.0, ge=0, allow_inf_nan=False, **allowed("seconds, `0` for never"))
    """How long a leader stays one while the API server is down and Redis answers. Safe, for any successor has to
    fence it in Redis first; bounded, so that a cut-off cluster does not schedule for ever."""

    metrics_port: int = Field(8000, ge=0, le=65535, **allowed("a port, `0` for any free one (logged)"))
    """The port of `/metrics`, `/livez` and `/readyz`."""

    metrics_host: str = Field("", **allowed("an address"))
    """The address that port is bound to. Unset: all, IPv4 and IPv6; `kuber-cron run` binds 127.0.0.1."""

    metrics_max_jobs: int = Field(2000, ge=0, **allowed("a number"))
    """Above this many jobs, per-job series collapse into `job="_other"`, so that a scrape stays below a second."""

    signing_key_file: Path | None = Field(None, **allowed("a file"))
    """The key that runs are signed with, so that writing to Redis does not mean running code on workers. Its
    first line signs; the following ones are accepted too, for rotation."""

    insecure: bool = Field(False, **allowed("`0` or `1`"))
    """`1` goes without a signing key: whoever can write to Redis can then run commands on the workers."""

    worker_slots: int = Field(4, ge=1, le=10000, **allowed("1 to 10000"))
    """How many commands a worker runs at once. The default is the control group's CPU quota (else the CPUs),
    rounded up, and at least 4, for most scheduled commands wait more than they compute."""

    worker_queues: Annotated[tuple[QueueName, ...], split(",")] = Field(
        ("default",), min_length=1, **allowed("names of letters, digits, `_` `.` `-`, separated by commas")
    )
    """The queues that a worker takes from."""

    worker_ttl_seconds: float = Field(15.0, ge=4, allow_inf_nan=False, **allowed("seconds, 4 or more"))
    """How long after a worker's last heartbeat its runs are given to another. A worker that is cut off kills its
    commands 2 s before that. Shorter re-runs a lost worker's runs earlier and forgives shorter outages."""

    worker_output: Annotated[WorkerOutput, LOWER] = Field("json", **one_of(get_args(WorkerOutput)))
    """What a worker writes of its commands' output to its own: a JSON object a line with job and run, the bare
    lines, or nothing. The log files have it in each case."""

    history_runs: int = Field(100, ge=1, le=100000, **allowed("1 to 100000"))
    """So many ended runs of each job stay readable in Redis, with their attempts and both ends of their output. Of the
    scheduler that leads: workers and the command line need none of these three."""

    history_days: float = Field(30.0, gt=0, le=3650, allow_inf_nan=False, **allowed("days, at most 3650"))
    """An ended run stays no longer than this. What a scheduler's restart changes holds for runs that end later."""

    history_bytes: Bytes = Field(4 * 1024 * 1024, ge=65536, **allowed("a size (`4MiB`), 64KiB or more"))
    """The ended runs of each job take no more of Redis' memory together, by Redis' own count; the newest one stays
    whatever it takes."""

    log_dir: Path = Field(Path("/var/log/kuber-cron"), **allowed("a directory"))
    """Where each run's output is kept. Under `kuber-cron run` the default is `.kuber-cron/logs`."""

    log_keep_runs: int = Field(100, ge=0, **allowed("a number, `0` for no limit"))
    """So many log files of each job are kept, give or take a tenth. A job's newest one always stays."""

    log_keep_days: float = Field(30.0, ge=0, allow_inf_nan=False, **allowed("days, `0` for no limit"))
    """A job's log files that are older are deleted, whether it still runs or not."""

    log_keep_bytes: Bytes = Field(256 * 1024 * 1024, **allowed("a size (`256MiB`), `0` for no limit"))
    """The log files of each job together are no larger, give or take a tenth and one file. How large one may grow is
    the job's `log_limit`."""

    redact: Annotated[tuple[NamePattern, ...], split(",")] = Field(
        ("*TOKEN", "*SECRET", "*PASSWORD", "*PASSWD", "*_PWD", "*_KEY"),
        **allowed("names of variables, `*` and `?` in them for anything, separated by commas; `none`"),
    )
    """The values of these variables of a command (six characters or more) are `***` in what Redis and the worker's
    own output have of what it writes. In log files they stand as they are."""

    user: Annotated[UserRule, LOWER] = Field("prefer", **one_of(get_args(UserRule)))
    """What becomes of a job that names a user whom the worker may not become: it runs as the worker's own, with a
    warning, or it is left to a worker that may, and fails where there is none."""

    notify_url: HttpUrl | None = Field(None, repr=False, **allowed("`https://` or `http://`"))
    """The webhook that gets the notifications which each job's `notify` asks for: docs/notifications.md. Unset, there
    are none; a job's `ping` does not need it."""

    notify_url_file: Path | None = Field(None, **allowed("a file"))
    """A file with that address, read again at each try. It wins over NOTIFY_URL, and is better for addresses that
    are secrets, as Slack's are."""

    notify_form: Channel = Field("json", **one_of(CHANNELS))
    """What the webhook is sent: a JSON document of our own, or one that Slack, Mattermost and the like show."""

    notify_key_file: Path | None = Field(None, **allowed("a file"))
    """The key that what is sent to the webhook is signed with, so that it can tell us from others. Each further
    line signs too, for rotation. Not the key of SIGNING_KEY_FILE: the receiver has to know it."""

    grace_seconds: Seconds = Field(25.0, **allowed("seconds"))
    """How long after SIGTERM everything has ended: commands may finish until this less their kill time. Keep it
    below the pod's `terminationGracePeriodSeconds`, whose own default is 30 s."""

    log_format: Annotated[LogFormat, LOWER] = Field("auto", **one_of(get_args(LogFormat)))
    """`auto` writes text to a terminal and JSON elsewhere."""

    log_level: Annotated[LogLevel, LOWER] = Field("info", **one_of(get_args(LogLevel)))
    """The least severity that is logged, to standard error."""

    _warnings: tuple[str, ...] = PrivateAttr(())

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each ``KUBER_CRON_*`` variable that is no setting: to be logged."""
        return self._warnings

    @property
    def lease_timing(self) -> LeaseTiming:
        """Return the durations of leader election."""
        return LeaseTiming(
            lease=self.lease_seconds,
            renew=self.renew_seconds,
            retry=self.retry_seconds,
            failsafe=self.failsafe_seconds,
        )

    @classmethod
    def load(cls, environ: Mapping[str, str], host: Host | None = None, **overrides: Any) -> Self:
        """Return the settings of ``environ``; ``overrides`` (flags; None means not given) win.

        Args:
            environ: The process' environment.
            host: The facts that defaults are made from; read from this machine when None.
            overrides: Values by attribute name.

        Raises:
            SettingsError: One or more are bad; the message has a line for each.
        """
        host = host or Host.read(environ)
        fields = cls.model_fields
        given = {field: text for field in fields if (text := environment.read(environ, field))}
        given |= {field: value for field, value in overrides.items() if value is not None}
        problems = bad_lease_timing(given, fields)
        loaded = None
        try:
            loaded = cls(**{**_defaults_of(host, given), **given})
        except ValidationError as error:
            problems = bad_values(error, given, fields) + problems
        if loaded is None or problems:
            raise SettingsError("\n".join(problems), hint="docs/settings.md has all of them")
        loaded._warnings = tuple(unknown_variables(environ, fields))
        return loaded

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings' signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what the constructor is given: :meth:`load` sorts the service links out before."""
        return (init_settings,)


def _defaults_of(host: Host, given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "election": "kubernetes" if host.pod else "redis",
        "lease_name": given.get("instance", Settings.model_fields["instance"].default),
        "namespace": host.namespace or "default",
        "worker_slots": max(4, math.ceil(host.cpus)),
    }
