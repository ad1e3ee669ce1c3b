"""The scope of a crontab's job: what stands above its line and holds for it (spec: cron.md §2 and §3).

Pure. A directive binds to the next job; variables and defaults hold for all jobs below. What is in error up there
costs the jobs that it was meant for, because no job may run under a policy or in a zone that was guessed.
"""

from dataclasses import dataclass, field
from typing import Any

from kuber_cron.common.diagnostics import Fault
from kuber_cron.common.formats.crontab_directives import Directive
from kuber_cron.common.formats.crontab_lines import JobLine
from kuber_cron.common.formats.resolver import complete


@dataclass(slots=True)
class PendingDirectives:
    """The directives that wait for the next job.

    Attributes:
        values: The :class:`Job` attributes that they set.
        env: The variables that they set.
        keys: The options that they name, to find repetitions.
        lines: Their lines, to complain where no job follows.
        is_bad: One of them is in error, which costs the job.
    """

    values: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    lines: list[tuple[int, str]] = field(default_factory=list)
    is_bad: bool = False

    def add(self, directive: Directive, number: int, line: str) -> None:
        """Add a directive without faults."""
        self.values.update(directive.values)
        self.env.update(directive.env)
        self.keys.update(directive.keys)
        self.lines.append((number, line))

    def lose(self, directive: Directive, number: int, line: str) -> None:
        """Add a directive in error, of which only the job's name is kept: others may wait for it."""
        self.is_bad = True
        self.lines.append((number, line))
        if "id" in directive.values:
            self.values["id"] = directive.values["id"]


@dataclass(slots=True)
class Scope:
    """The variables, defaults and zone that hold for the jobs below the line that was read last.

    Attributes:
        file_zone: The zone of jobs for which nothing else says one.
        spoiled_by: Scope and line of the first directive in error that was meant for all jobs below, or None.
        bad_zone_line: Line of the ``CRON_TZ`` in force if it is invalid, or None.
    """

    file_zone: str
    spoiled_by: tuple[str, int] | None = None
    bad_zone_line: int | None = None
    _cron_tz: str = ""
    _defaults: dict[str, Any] = field(default_factory=dict)
    _defaults_env: dict[str, str] = field(default_factory=dict)
    _env: dict[str, str] = field(default_factory=dict)
    _env_is_shared: bool = False

    @property
    def sets_cron_tz(self) -> bool:
        """True if a ``CRON_TZ`` is in force."""
        return bool(self._cron_tz)

    def add_defaults(self, directive: Directive) -> None:
        """Let a directive's options be those of the jobs below."""
        self._defaults.update(directive.values)
        self._defaults_env.update(directive.env)

    def assign(self, name: str, value: str, *, is_zone: bool) -> None:
        """Set a variable of the jobs below."""
        if self._env_is_shared:
            # An optimisation: jobs between two assignments share one dict.
            self._env = dict(self._env)
            self._env_is_shared = False
        self._env[name] = value
        if is_zone:
            self._cron_tz = value

    def refusal(self, job: JobLine, pending: PendingDirectives) -> Fault | None:
        """Return the fault for which a job is not loaded though its own line is in order, or None."""
        if pending.is_bad:
            message = "job not loaded: its kuber-cron directive above is invalid"
            return Fault(col=job.start + 1, code="KC310", message=message, about="directive")
        if self.spoiled_by is not None:
            scope, number = self.spoiled_by
            message = f"job not loaded: the {scope} directive on line {number} is invalid"
            return Fault(col=job.start + 1, code="KC310", message=message, about="directive")
        if self.bad_zone_line is not None:
            message = f"job not loaded: CRON_TZ on line {self.bad_zone_line} is invalid"
            return Fault(col=job.start + 1, code="KC311", message=message, about="directive")
        return None

    def values(self, job: JobLine, pending: PendingDirectives) -> dict[str, Any]:
        """Return the attributes of a job: its line's beat the defaults, and its own directives' beat both."""
        values = {**self._defaults, **job.values, **pending.values}
        values["schedule"] = job.schedule
        values["timezone"] = (
            pending.values.get("timezone")
            or self._cron_tz
            or self._defaults.get("timezone")
            or self.file_zone
        )
        if self._defaults_env or pending.env:
            values["env"] = {**self._env, **self._defaults_env, **pending.env}
        else:
            values["env"] = self._env
            self._env_is_shared = True
        complete(values)
        return values
