"""Manual requests: what an operator asks of the leader, as it travels through Redis. Pure.

A request is JSON with sorted keys. It may be signed under the key that signs runs (:mod:`.signing`); variables are taken
from signed requests alone, because they can make a command run anything (``PATH``, ``LD_PRELOAD``). The ids of its runs
follow from its own id, so that making them twice makes them once. It names the instant until which it is valid, so that
a copy that somebody kept cannot be sent again.
"""

import json
import re
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

from kuber_cron.common import time_format
from kuber_cron.common.errors import KuberCronError
from kuber_cron.common.runs.run_id import manual_run_id

VERSION = 1
MAX_BYTES = 64 * 1024
"""A larger one is refused before the leader reads it."""

MAX_RUNS = 1000
"""One backfill makes at most so many."""

RequestAction = Literal["trigger", "backfill"]

_ID = re.compile(r"[0-9a-f]{32}")
_JOB = re.compile(r"[A-Za-z0-9_-]{1,128}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_RESERVED = "KUBER_CRON_"
_MAX_WHO_LENGTH = 128


class RequestError(KuberCronError):
    """A request that is refused; code, message and hint are the reply to the operator."""

    def __init__(self, code: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualRequest:
    """One request; the attributes are the names on the wire. Instants are aware UTC.

    Attributes:
        id: 32 hexadecimal digits, random.
        job: The job whose runs are to be made.
        asked_at: Redis' time when it was sent.
        until_at: The leader may decide it until then.
        who: The operator, ``user@host``, unverified.
        env: Variables over the job's own; they need a signature.
        force: Neither overlap nor a pause holds the runs back; a backfill repeats what has succeeded too.
        chain: Runs of the jobs that come after this one are made too.
        from_at, to_at: The span of a backfill, the end excluded.
        most: A backfill makes at most so many runs; if there are more, none is made.
        dry: Nothing is made; the reply holds what would be.
    """

    version: int = VERSION
    id: str
    action: RequestAction
    job: str
    asked_at: datetime
    until_at: datetime
    who: str
    env: dict[str, str] = field(default_factory=dict)
    force: bool = False
    chain: bool = False
    from_at: datetime | None = None
    to_at: datetime | None = None
    most: int = MAX_RUNS
    dry: bool = False

    def to_bytes(self) -> bytes:
        """Return the request as it is signed and sent."""
        values = asdict(self)
        for name in _INSTANTS:
            if values[name] is not None:
                values[name] = time_format.iso(values[name])
        return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> "ManualRequest":
        """Return the request in these bytes, each value checked.

        Raises:
            RequestError: ``bad-request``, or ``newer-request`` for one that a newer release has made.
        """
        if len(raw) > MAX_BYTES:
            raise RequestError("bad-request", f"the request is larger than {MAX_BYTES} bytes")
        try:
            values: Any = json.loads(raw)
            if isinstance(values, dict) and (values.get("version") != VERSION or values.keys() - _NAMES):
                raise _newer()
            for name in _INSTANTS:
                if values.get(name) is not None:
                    values[name] = time_format.parse(values[name])
            made = cls(**values)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise RequestError("bad-request", f"the request cannot be read: {error}") from error
        made.check()
        return made

    def check(self) -> None:
        """Check that each value is of its type and within its bounds.

        Raises:
            RequestError: One is not: ``bad-request``, or ``bad-variable`` where it is a variable.
        """
        values: dict[str, Any] = {name: getattr(self, name) for name in _NAMES}
        is_span = values["from_at"] is not None and values["to_at"] is not None
        rules = (
            (_matches(_ID, values["id"]), "its id is no 32 hexadecimal digits"),
            (values["action"] in ("trigger", "backfill"), "its action is neither trigger nor backfill"),
            (_matches(_JOB, values["job"]), "its job is no job's name"),
            (
                isinstance(values["who"], str) and len(values["who"]) <= _MAX_WHO_LENGTH,
                "it does not say who asks",
            ),
            (all(isinstance(values[flag], bool) for flag in ("force", "chain", "dry")), "a flag is no flag"),
            (type(values["most"]) is int and 1 <= values["most"] <= MAX_RUNS, f"more than {MAX_RUNS} runs"),
            (isinstance(values["env"], dict), "its variables are none"),
            (
                values["asked_at"] is not None and values["until_at"] is not None,
                "it does not say when it counts",
            ),
            (is_span == (values["action"] == "backfill"), "its span is none"),
        )
        for holds, sentence in rules:
            if not holds:
                raise RequestError("bad-request", f"the request cannot be read: {sentence}")
        for name, value in values["env"].items():
            _check_variable(name, value)

    def run_id(self, job: str, at: datetime) -> str:
        """Return the id of the run that is made for this request."""
        return manual_run_id(job, at, self.id)


_NAMES = frozenset(each.name for each in fields(ManualRequest))
_INSTANTS = ("asked_at", "until_at", "from_at", "to_at")


def _newer() -> RequestError:
    return RequestError(
        "newer-request",
        "the scheduler does not know this form of request: the command is newer than it",
        hint="update the schedulers, or use their version of kuber-cron",
    )


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _check_variable(name: object, value: object) -> None:
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
        raise RequestError("bad-variable", f"{str(name)[:40]!r} is not the name of a variable")
    if name.startswith(_RESERVED):
        raise RequestError("bad-variable", f"the variable {name} is Kuber-Cron's own")
    if not isinstance(value, str) or "\0" in value:
        raise RequestError("bad-variable", f"the variable {name} has a value that none can have")
