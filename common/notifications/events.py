"""Notices: what people and monitors are told about runs, and in which form. Pure.

Two things are told. A *notice* goes to the installation's webhook, as JSON of our own or in the form that Slack and
its kin accept; which ones a job wants is its ``notify``. A *ping* goes to the job's own URL in the manner of
healthchecks.io: start, success, failure. Both are made of values that are fit to be shown; nothing here knows a
command, and the output that is given must have its secrets redacted already.

Times are told as ISO 8601 UTC with Z, durations in seconds.
"""

import hashlib
import hmac
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

VERSION = 1
"""Of the JSON form: raised when a field changes its meaning or goes away, not when one is added."""

NotificationForm = Literal["json", "slack"]
EventKind = Literal["failure", "recovery", "success", "ended", "missed"]
"""``success`` and ``ended`` (replaced by a newer run) are told to ``always`` alone."""
Sign = Literal["start", "success", "fail"] | int
"""What a ping says; a number is the exit code of a failure."""

SIGNATURE_HEADER = "Kuber-Cron-Signature"
OUTPUT_LIMIT = 4000  # characters: what a person reads before opening the log
_SLACK_OUTPUT_LIMIT = 2500  # Slack cuts an attachment's text at 3000, the code block's end with it
_NAMESPACE = uuid.UUID("6f0cba3d-9e0b-5d5c-8f0e-7a3f6b0d7c11")

_WANTED_BY: dict[EventKind, frozenset[str]] = {
    "failure": frozenset({"failure", "always"}),
    "recovery": frozenset({"recovery", "always"}),
    "success": frozenset({"always"}),
    "ended": frozenset({"always"}),
    "missed": frozenset({"missed"}),
}
_COLOURS: dict[EventKind, str] = {
    "failure": "danger",
    "recovery": "good",
    "success": "good",
    "ended": "#888888",
    "missed": "warning",
}
_FAILURES = {
    "timed_out": "ran into its time limit",
    "lost": "was lost with its worker",
    "stopped": "was stopped",
    "interrupted": "was interrupted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """A run is over for good.

    Attributes:
        outcome: As interface.md has it; ``replaced`` too.
        recovered: It is a success, and the job's last run was none.
        exit_code, signal: Of the last attempt's command, where it had one.
        worker: Who ran the last attempt.
        leader: Who found it lost; None where its worker told the end itself.
        output: The end of the last attempt's output.
    """

    job: str
    team: str | None = None
    description: str | None = None
    run: str
    attempt: int
    outcome: str
    recovered: bool = False
    exit_code: int | None = None
    signal: int | None = None
    scheduled_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration_seconds: float | None = None
    worker: str | None = None
    leader: str | None = None
    output: str = ""

    @property
    def kind(self) -> EventKind:
        """Which word of ``notify`` it answers to."""
        if self.outcome == "success":
            return "recovery" if self.recovered else "success"
        return "ended" if self.outcome == "replaced" else "failure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """Instants of a job that were not run, all for one reason.

    Attributes:
        reason: As interface.md has it (``missed``).
        first_at, last_at: The first and the last of them.
        count: How many they are.
    """

    job: str
    team: str | None = None
    description: str | None = None
    reason: str
    first_at: datetime
    last_at: datetime
    count: int
    leader: str

    @property
    def kind(self) -> EventKind:
        """Which word of ``notify`` it answers to."""
        return "missed"


Notice = RunEnded | Missed


def wants(words: str, kind: EventKind) -> bool:
    """Whether a job whose ``notify`` is ``words`` wants this told."""
    return not _WANTED_BY[kind].isdisjoint(words.split(","))


def end_of(output: str, limit: int = OUTPUT_LIMIT) -> str:
    """The last ``limit`` characters, with a mark where something is cut off."""
    return output if len(output) <= limit else "…" + output[1 - limit :]


# --- the webhook ------------------------------------------------------------------------------------


def body(notice: Notice, form: NotificationForm, *, instance: str) -> bytes:
    """The request's body, JSON in ASCII in both forms; the same for every try."""
    document = to_json(notice, instance=instance) if form == "json" else to_slack(notice, instance=instance)
    return json.dumps(document, separators=(",", ":")).encode()


def to_json(notice: Notice, *, instance: str) -> dict[str, Any]:
    """The notice in our own form: every key is always there, null where nobody knows."""
    head = {
        "version": VERSION,
        "id": _id(notice, instance),
        "kind": notice.kind,
        "instance": instance,
        "job": notice.job,
        "team": notice.team,
        "description": notice.description,
    }
    if isinstance(notice, Missed):
        return head | {
            "reason": notice.reason,
            "first_at": _iso(notice.first_at),
            "last_at": _iso(notice.last_at),
            "count": notice.count,
            "leader": notice.leader,
        }
    duration = notice.duration_seconds
    return head | {
        "run": notice.run,
        "attempt": notice.attempt,
        "outcome": notice.outcome,
        "exit_code": notice.exit_code,
        "signal": notice.signal,
        "scheduled_at": _iso(notice.scheduled_at),
        "started_at": _iso(notice.started_at),
        "ended_at": _iso(notice.ended_at),
        "duration_seconds": None if duration is None else round(duration, 3),
        "worker": notice.worker,
        "leader": notice.leader,
        "output": end_of(notice.output),
    }


def to_slack(notice: Notice, *, instance: str) -> dict[str, Any]:
    """The notice as Slack's incoming webhooks take it; Mattermost, Rocket.Chat and Discord's ``/slack`` do too."""
    sentence = summary(notice)
    attachment: dict[str, Any] = {
        "color": _COLOURS[notice.kind],
        "fallback": _escaped(sentence),
        "fields": [
            {"title": title, "value": _escaped(value), "short": True}
            for title, value in _fields(notice, instance)
        ],
        "mrkdwn_in": ["text"],
    }
    if isinstance(notice, RunEnded) and notice.output.strip():
        shown = end_of(notice.output.strip("\n"), _SLACK_OUTPUT_LIMIT).replace("```", "'''")
        attachment["text"] = f"```\n{_escaped(shown)}\n```"
    return {"text": _escaped(sentence), "attachments": [attachment]}


def summary(notice: Notice) -> str:
    """The notice as one sentence for people."""
    if isinstance(notice, Missed):
        runs = "a run" if notice.count == 1 else f"{notice.count} runs"
        return f"{notice.job} missed {runs}: {notice.reason}"
    if notice.kind == "recovery":
        return f"{notice.job} works again"
    if notice.kind == "success":
        return f"{notice.job} succeeded"
    if notice.kind == "ended":
        return f"{notice.job} was replaced by a newer run"
    if notice.outcome in _FAILURES:
        return f"{notice.job} {_FAILURES[notice.outcome]}"
    if notice.signal is not None:
        return f"{notice.job} was ended by signal {notice.signal}"
    return f"{notice.job} failed" + (f" with exit code {notice.exit_code}" if notice.exit_code else "")


def signature(content: bytes, timestamp: int, keys: Sequence[bytes]) -> str:
    """The signature header's value: ``t=<unix seconds>,v1=<hex>``, one ``v1`` for each key (two in a rotation).

    Each is the HMAC-SHA256 of the timestamp, a full stop and the body. The timestamp is the try's own, so that a
    receiver can refuse what is old without refusing our retries.
    """
    signed = f"{timestamp}.".encode() + content
    made = [hmac.new(key, signed, hashlib.sha256).hexdigest() for key in keys]
    return ",".join([f"t={timestamp}", *(f"v1={one}" for one in made)])


def _id(notice: Notice, instance: str) -> str:
    """The same for every try and every sender of this notice, so that receivers can drop what they have."""
    if isinstance(notice, Missed):
        about = f"{notice.job}|{notice.reason}|{_iso(notice.first_at)}"
    else:
        about = f"{notice.run}|{notice.attempt}"
    return str(uuid.uuid5(_NAMESPACE, f"{instance}|{notice.kind}|{about}"))


def _fields(notice: Notice, instance: str) -> list[tuple[str, str]]:
    if isinstance(notice, Missed):
        told = [("First", _iso(notice.first_at)), ("Last", _iso(notice.last_at))]
    else:
        seconds = notice.duration_seconds
        told = [
            ("Run", notice.run),
            ("Attempt", str(notice.attempt)),
            ("Duration", None if seconds is None else f"{seconds:.1f} s"),
            ("Worker", notice.worker),
        ]
    told += [("Team", notice.team), ("Instance", instance), ("Description", notice.description)]
    return [(title, value) for title, value in told if value]


def _escaped(text: str) -> str:
    """Slack's three: everything else is text, so no output can make a link or call a channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _iso(instant: datetime | None) -> str | None:
    if instant is None:
        return None
    timespec = "milliseconds" if instant.microsecond else "seconds"
    return instant.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


# --- pings ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """One sign of life for the job's own URL.

    Attributes:
        url: The job's ``ping``.
        sign: What is said.
        output: What goes with it; the end of the command's output.
    """

    url: str
    job: str
    run: str
    sign: Sign
    output: str = ""

    @property
    def target(self) -> str:
        """Where it is sent: the sign is the path's last part, the run a UUID, both as healthchecks.io has it."""
        base, _, query = self.url.partition("#")[0].partition("?")
        suffix = "" if self.sign == "success" else f"/{self.sign}"
        run = f"rid={uuid.uuid5(_NAMESPACE, self.run)}"
        return f"{base.rstrip('/')}{suffix}?{query + '&' if query else ''}{run}"

    @property
    def content(self) -> bytes:
        """The request's body."""
        return end_of(self.output).encode("utf-8", "replace")


def sign_of(ended: RunEnded) -> Sign | None:
    """What the job's URL is told of this end; None for nothing: the newer run that replaced it pings itself."""
    match ended.kind:
        case "success" | "recovery":
            return "success"
        case "failure":
            # Its process may have answered our TERM with a neat 0, which would be read as success.
            told = ended.outcome == "failed" and ended.exit_code is not None and 1 <= ended.exit_code <= 255
            return ended.exit_code if told else "fail"
        case _:
            return None
