"""Requests: what somebody asks of the leader, as it travels through Redis. Pure.

A request is JSON with sorted keys. It may be signed, HMAC-SHA256 over its exact bytes under the key that signs runs: only
so may it bring variables, which can make a command run anything (``PATH``, ``LD_PRELOAD``). Its id gives the ids of the
runs that are made for it, so that making them twice makes them once; and it names the instant until which it counts, so
that one which somebody has kept cannot be brought again.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal

from kuber_cron.common.errors import KuberCronError
from kuber_cron.common.runs import payload

VERSION = 1
MAX_BYTES = 64 * 1024
"""A larger one is refused before the leader reads it."""

MOST_RUNS = 1000
"""What one backfill may make."""

RequestAction = Literal["trigger", "backfill"]

_ID = re.compile(r"[0-9a-f]{32}")
_JOB = re.compile(r"[A-Za-z0-9_-]{1,128}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_RESERVED = "KUBER_CRON_"
_DOMAIN = b"kuber-cron request\n"  # a signature of a request is none of a run, whatever their bytes
_LONGEST_WHO = 128


class RequestError(KuberCronError):
    """A request that cannot be heard: ``code`` and message are the answer to whoever asked."""

    def __init__(self, code: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualRequest:
    """One request. Instants are aware UTC; ``asked_at`` is Redis' time.

    Attributes:
        id: 32 hexadecimal digits, random.
        job: The job whose runs are wanted.
        until_at: It may be decided up to here.
        who: ``user@host``, by the asker's own word.
        env: Variables over the job's own; they need a signature.
        force: Neither overlap nor a pause holds the runs up; a backfill makes also what has succeeded.
        chain: The jobs that come after this one follow.
        from_at, to_at: Of a backfill: the instants from the first on and before the second.
        most: Of a backfill: how many runs at most; if there are more, none is made.
        dry: What would be done is told, and nothing is.
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
    most: int = MOST_RUNS
    dry: bool = False

    def to_bytes(self) -> bytes:
        """The request as it is signed and sent."""
        values = asdict(self)
        for name in _INSTANTS:
            if values[name] is not None:
                values[name] = values[name].astimezone(UTC).isoformat().replace("+00:00", "Z")
        return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> "ManualRequest":
        """The request in these bytes, each value of its kind.

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
                    values[name] = _instant(values[name])
            made = cls(**values)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise RequestError("bad-request", f"the request cannot be read: {error}") from error
        made.check()
        return made

    def check(self) -> None:
        """Each value is of its kind and within its bounds.

        Raises:
            RequestError: ``bad-request``: one is not; ``bad-variable`` where it is a variable.
        """
        told: dict[str, Any] = {name: getattr(self, name) for name in _NAMES}
        is_span = told["from_at"] is not None and told["to_at"] is not None
        rules = (
            (_matches(_ID, told["id"]), "its id is no 32 hexadecimal digits"),
            (told["action"] in ("trigger", "backfill"), "its action is neither trigger nor backfill"),
            (_matches(_JOB, told["job"]), "its job is no job's name"),
            (isinstance(told["who"], str) and len(told["who"]) <= _LONGEST_WHO, "it does not say who asks"),
            (all(isinstance(told[flag], bool) for flag in ("force", "chain", "dry")), "a flag is no flag"),
            (type(told["most"]) is int and 1 <= told["most"] <= MOST_RUNS, f"more than {MOST_RUNS} runs"),
            (isinstance(told["env"], dict), "its variables are none"),
            (told["asked_at"] is not None and told["until_at"] is not None, "it does not say when it counts"),
            (is_span == (told["action"] == "backfill"), "its span is none"),
        )
        for holds, sentence in rules:
            if not holds:
                raise RequestError("bad-request", f"the request cannot be read: {sentence}")
        for name, value in told["env"].items():
            _check_variable(name, value)

    def run_id(self, job: str, at: datetime) -> str:
        """The id of the run that is made for it."""
        return payload.manual_run_id(job, at, self.id)


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


def _instant(text: object) -> datetime:
    found = datetime.fromisoformat(text) if isinstance(text, str) else None
    if found is None or found.tzinfo is None:
        raise ValueError(f"{text!r} is no instant")
    return found.astimezone(UTC)


def _check_variable(name: object, value: object) -> None:
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
        raise RequestError("bad-variable", f"{str(name)[:40]!r} is not the name of a variable")
    if name.startswith(_RESERVED):
        raise RequestError("bad-variable", f"the variable {name} is Kuber-Cron's own")
    if not isinstance(value, str) or "\0" in value:
        raise RequestError("bad-variable", f"the variable {name} has a value that none can have")


def sign(body: bytes, key: bytes) -> str:
    """The request's signature, in hexadecimal."""
    return payload.sign(_DOMAIN + body, key)


def is_signed(body: bytes, signature: str, keys: Sequence[bytes]) -> bool:
    """Whether one of the keys made it."""
    return payload.is_signed(_DOMAIN + body, signature, keys)
